"""Offline runs of W&B: what their files say."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb_files as w
from wandb.proto import wandb_internal_pb2

from eckart.tracking.messages import FIELDS
from eckart.tracking.offline import Media, OfflineRun, find_offline_runs, read_offline_run

Read = Callable[..., OfflineRun]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(*records: bytes) -> OfflineRun:
        path = tmp_path / "run-abc.wandb"
        path.write_bytes(w.log_file(records))
        return read_offline_run(path)

    return read


def test_the_messages_are_those_of_the_client() -> None:
    kinds = {9: "bytes", 3: "int64", 5: "int32", 8: "bool"}
    for name, fields in FIELDS.items():
        for own, (number, kind) in fields.items():
            if name == "Timestamp":
                theirs = wandb_internal_pb2.RunRecord.DESCRIPTOR.fields_by_name["start_time"].message_type  # type: ignore[attr-defined]
            else:
                theirs = wandb_internal_pb2.DESCRIPTOR.message_types_by_name[name]  # type: ignore[attr-defined]
            field = theirs.fields_by_name[own]
            assert field.number == number, (name, own)
            if field.message_type and kind in FIELDS:
                assert field.message_type.name == kind
            elif field.message_type:
                # Taken as bytes: all three have the fields of an item of a history.
                assert field.message_type.name in ("HistoryItem", "SummaryItem", "ConfigItem")
                for item, (place, _) in FIELDS["HistoryItem"].items():
                    assert field.message_type.fields_by_name[item].number == place
            else:
                assert kinds[field.type] == kind.removeprefix("repeated ")
            # Older releases of protobuf have the label, newer ones this property.
            repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
            assert repeated == kind.startswith("repeated"), (name, own)


def test_a_run(read: Read) -> None:
    found = read(
        w.run(
            {"rank": 2, "method": {"name": "svd"}},
            display_name="one",
            run_group="g",
            job_type="svd",
            notes="two\nlines",
            entity="e",
            host="here",
            tags=["a", "b"],
            start_time={"seconds": 1_700_000_000},
        ),
        w.row(0, {"train/loss": 1.5, ("deep", "er"): 1, "text": "no", "truth": True, "nothing": None, "list": [1]}),
        w.row(10, {"train/loss": b"NaN", "late": b"Infinity", "low": b"-Infinity", "tiny": 1e-300}),
        w.config(update={"method": {"name": "als"}, ("data", "rows"): 5}),
        w.summary(update={("train/loss",): {"min": 1}, "gone": 1, ("n", "a"): 1, ("n", "b"): 2}),
        w.summary(remove={"gone": None, ("n", "a"): None}),
        w.end(3),
    )
    assert found.identity == {
        "id": "abc",
        "name": "one",
        "project": "p",
        "entity": "e",
        "group": "g",
        "job_type": "svd",
        "notes": "two\nlines",
        "host": "here",
        "started": "2023-11-14T22:13:20+00:00",
    }
    assert found.tags == ("a", "b")
    assert found.config == {"rank": 2, "method": {"name": "als"}, "data": {"rows": 5}}
    steps, losses = found.history["train/loss"]
    assert steps == [0, 10]
    assert losses[0] == 1.5 and math.isnan(losses[1])
    others = {name: column for name, column in found.history.items() if name != "train/loss"}
    assert others == {
        "deep/er": ([0], [1]),
        "late": ([10], [math.inf]),
        "low": ([10], [-math.inf]),
        "tiny": ([10], [1e-300]),
    }
    assert found.summary == {"train/loss/min": 1, "n/b": 2}
    assert (found.exit_code, found.problem, found.media) == (3, None, ())


def test_a_time_that_is_none(read: Read) -> None:
    assert "started" not in read(w.run({}, start_time={"seconds": 10**18})).identity


def test_an_unfinished_run_has_no_exit_code(read: Read) -> None:
    found = read(w.run({}), w.row(0, {"a": 1}))
    assert (found.exit_code, found.problem) == (None, None)


def test_the_last_value_of_a_name_stays(read: Read) -> None:
    inner, outer = ("n", "a"), "n"
    assert read(w.summary(update={inner: 1}), w.summary(update={outer: {"b": 2}})).summary == {"n/b": 2}
    assert read(w.summary(update={outer: {"b": 2}}), w.summary(update={inner: 1})).summary == {"n/b": 2, "n/a": 1}
    replaced = [w.summary(update=values) for values in ({inner: 1}, {outer: 5}, {inner: 3})]
    assert read(*replaced).summary == {"n/a": 3}


def test_names_of_every_length(read: Read) -> None:
    # The bytes of the length 130 are those that announce a value.
    names = ["n" * length for length in (1, 127, 128, 129, 130, 131, 258, 400)] + ["\u0082\x01", "ü" * 65]
    numbers = {name: float(place) for place, name in enumerate(names)}
    nested = {("a", name): value for name, value in numbers.items()}
    found = read(w.row(0, numbers | nested), w.row(1, numbers), w.summary(update=numbers), w.summary(update=nested))
    assert {name: column[1] for name, column in found.history.items() if name in numbers} == {
        name: [value, value] for name, value in numbers.items()
    }
    expected = numbers | {f"a/{name}": value for name, value in numbers.items()}
    assert found.summary == expected
    assert set(found.history) == set(expected)


@pytest.mark.parametrize("digits", [126, 127, 128, 130, 300])
def test_numbers_of_every_length(read: Read, digits: int) -> None:
    text = f"0.{'3' * (digits - 2)}"
    assert read(w.row(0, {"a": text.encode()})).history == {"a": ([0], [float(text)])}


def test_what_has_no_name_is_left_out(read: Read) -> None:
    bare = w.record(history={"item": w.items({"": 1})}).SerializeToString()
    found = read(bare, w.row(1, {"": 1, "a": 2}), w.summary(update={"": 1, ("",): 2, "b": 3}))
    assert (found.history, found.summary) == ({"a": ([1], [2])}, {"b": 3})


def test_a_number_that_takes_long_is_none(read: Read) -> None:
    # The second byte of the first length is a digit.
    for digits in (6200, 1_000_000):
        assert read(w.row(0, {"a": b"1" * digits, "b": 1})).history == {"b": ([0], [1])}


def test_every_metric_on_an_axis_but_the_axis_itself(read: Read) -> None:
    rows = [w.row(step, {"epoch": b"NaN" if step == 2 else step / 2, "loss": step}) for step in range(4)]
    found = read(w.metric(glob_name="*", step_metric="epoch"), *rows)
    assert found.history["epoch"][0] == [0, 1, 2, 3]
    # A place on an axis is a number.
    assert found.history["loss"] == ([0, 0.5, 1.5], [0, 1, 3])
    assert found.axes == {"loss": "epoch"}


def test_a_metric_on_its_own_axis(read: Read) -> None:
    found = read(
        w.metric(name="epoch"),
        w.metric(name="count", options={"hidden": True}),
        w.metric(name="counted", step_metric="count"),
        w.metric(glob_name="val/*", step_metric="epoch"),
        w.metric(name="val/plain", summary={"min": True}),
        w.metric(name="n.a", step_metric="epoch"),
        w.metric(name="lost", step_metric="never logged"),
        w.metric(name="timed", step_metric="_runtime"),
        w.row(0, {"epoch": 0, "val/loss": 9}),
        w.row(5, {"val/plain": 1, "lost": 2, "timed": 3}),
        w.row(10, {"epoch": 1, "val/loss": 8, ("n", "a"): 7}),
        w.row(11, {"val/loss": 6, "count": 4, "counted": 5}),
    )
    assert found.history == {
        "epoch": ([0, 10], [0, 1]),
        "val/loss": ([0, 1, 1], [9, 8, 6]),
        "val/plain": ([5], [1]),
        "lost": ([5], [2]),
        "timed": ([2.5], [3]),
        "n/a": ([1], [7]),
        "counted": ([4], [5]),
    }
    assert found.axes == {"counted": "count", "val/loss": "epoch", "timed": "_runtime", "n/a": "epoch"}


def test_rows_in_parts(read: Read) -> None:
    def part(values: dict[Any, Any], step: int | None, flush: bool | None = None) -> bytes:
        fields: dict[str, Any] = {"item": w.items(values)}
        if step is not None:
            fields["step"] = {"num": step}
        if flush is not None:
            fields["action"] = {"flush": flush}
        return w.record(request={"partial_history": fields}).SerializeToString()

    found = read(
        part({"a": 1}, 3),
        part({"b": 2}, 3),
        part({"b": 3}, 7),
        part({"a": 5}, None, flush=True),
        part({"a": 6}, None, flush=False),
        part({"b": 7}, None),
        part({"a": 8}, None),
    )
    assert found.history == {"a": ([3, 7, 8, 9], [1, 5, 6, 8]), "b": ([3, 7, 8], [2, 3, 7])}


def test_a_step_that_only_an_item_says(read: Read) -> None:
    rows = [w.record(history={"item": w.items({"_step": step, "a": step})}).SerializeToString() for step in (4, 9)]
    assert read(*rows, w.record(history={"item": w.items({"a": 1})}).SerializeToString()).history == {
        "a": ([4, 9, 10], [4, 9, 1])
    }


def test_images(read: Read, tmp_path: Path) -> None:
    pictures = tmp_path / "files" / "media" / "images"
    pictures.mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (pictures / name).write_bytes(b"picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (pictures / "out.png").symlink_to(tmp_path / "secret.png")

    def image(key: str, path: str, caption: Any = None) -> dict[Any, Any]:
        fields = {"_type": "image-file", "path": path, "width": 4, "caption": caption}
        return {(key, name): value for name, value in fields.items()}

    several = {
        "_type": "images/separated",
        "filenames": ["media/images/b.png", "media/images/c.png"],
        "captions": ["B"],
    }
    outside = [
        "media/images/out.png",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "media/images",
        "a\0b",
        "x" * 5000,
    ]
    found = read(
        w.row(1, image("one", "media/images/a.png", "A") | {"one/loss": 2.5}),
        w.row(2, {"several": several, "loss": 1}),
        w.row(
            3,
            {
                (f"bad{place}", name): value
                for place, path in enumerate(outside)
                for (_, name), value in image("", path).items()
            },
        ),
        w.row(4, {("h", "_type"): "histogram", ("h", "bins"): [1, 2], ("t", "_type"): "table-file", ("t", "nrows"): 3}),
        w.summary(
            update={
                "last": {"_type": "image-file", "path": "media/images/d.png"},
                ("one", "_type"): "image-file",
                ("one", "path"): "media/images/a.png",
                ("h", "_type"): "histogram",
                "best": 1,
            }
        ),
    )
    assert found.media == (
        Media("one", 1, pictures / "a.png", "A"),
        Media("several", 2, pictures / "b.png", "B"),
        Media("several", 2, pictures / "c.png"),
        Media("last", None, pictures / "d.png"),
    )
    # What an image or a table is made of is no measurement, but what shares a part of its name is.
    assert found.history == {"one/loss": ([1], [2.5]), "loss": ([2], [1])}
    assert found.summary == {"best": 1}


def test_images_through_a_link_are_refused(read: Read, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"secret")
    (tmp_path / "files").symlink_to(elsewhere)
    assert read(w.row(0, {"a": {"_type": "image-file", "path": "a.png"}})).media == ()


def test_a_record_longer_than_blocks(read: Read) -> None:
    # Lengths at which a chunk ends just before, at and after the end of a block.
    for length in [*range(32_690, 32_770), 200_000]:
        found = read(w.run({"text": "x" * min(length, 20_000)}, notes="n" * length), w.row(0, {"a": 1}), w.end(0))
        assert (found.history, found.exit_code, found.problem) == ({"a": ([0], [1])}, 0, None), length


def test_config_and_summary_of_a_run_that_was_online(read: Read, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "config.yaml").write_text(
        "wandb_version: 1\n_wandb:\n  value: {t: 1}\nrank:\n  value: 3\nd:\n  value: {e: [1]}\n"
    )
    (files / "wandb-summary.json").write_text('{"_wandb": {}, "loss": NaN, "n": {"a": 1}}')
    found = read(w.end(0))
    assert found.config == {"rank": 3, "d": {"e": [1]}}
    assert math.isnan(found.summary["loss"]) and found.summary["n/a"] == 1
    assert read(w.run({"rank": 5}), w.summary(update={"b": 1})).config == {"rank": 5}
    bomb = "a: &a {value: [1, 1]}\nb: &b {value: [*a, *a]}\n"
    deep = f"a: {{value: {'[' * 60}{']' * 60}}}"
    for text in (bomb, deep, "[" * 100_000, "a: [", "!!python/object/apply:os.getcwd []", "\0"):
        (files / "config.yaml").write_text(text)
        (files / "wandb-summary.json").write_text(text)
        assert (read(w.end(0)).config, read(w.end(0)).summary) == ({}, {})


def test_runs_below_a_folder(tmp_path: Path) -> None:
    def make(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(w.HEADER)
        return path

    expected = [
        make("sweep", ".wandb", "offline-run-1", "run-1.wandb"),
        make("sweep", "job2", "wandb", "offline-run-2", "run-x.wandb"),
        make("sweep", "job10", "wandb", "run-3", "run-x.wandb"),
    ]
    make(".hidden", "run-1.wandb")
    make("sweep", "job2", "wandb", "offline-run-2", "run-x.wandb.synced")
    (tmp_path / "sweep" / "run-folder.wandb").mkdir()
    os.mkfifo(tmp_path / "sweep" / "run-pipe.wandb")
    (tmp_path / "sweep" / "latest-run").symlink_to(expected[1].parent)
    (tmp_path / "sweep" / "run-link.wandb").symlink_to(expected[1])
    assert find_offline_runs(tmp_path) == expected
    with pytest.raises(NotADirectoryError, match=r"looked for in a folder\. Found .*run-1\.wandb"):
        find_offline_runs(expected[0])


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes of a name")
def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run-pipe.wandb")
    for path in (tmp_path / "run-pipe.wandb", tmp_path):
        with pytest.raises(ValueError, match=r"must be a regular file\. Found .*\.$"):
            read_offline_run(path)
    with pytest.raises(FileNotFoundError):
        read_offline_run(tmp_path / "run-none.wandb")


def test_json_of_the_page(read: Read) -> None:
    """What is read can be written as JSON and encoded, whatever the file held."""
    found = read(w.run({"a": b'"\\ud800"', "n": b"1" + b"0" * 400, "s": "\x1b[31m\u202e\0"}), w.end(0))
    assert found.config == {"a": "?", "n": math.inf, "s": "\x1b[31m\u202e\0"}
    json.dumps(found.config, ensure_ascii=False).encode()
