"""Files of W&B that are damaged, cut off, foreign or hostile."""

import json
import random
import time
import tracemalloc
from pathlib import Path

import pytest
import wandb_files as w

from eckart.tracking.items import DEPTH, NAMES, TEXT
from eckart.tracking.offline import OfflineRun, read_offline_run

ROWS = {step: {"loss": 1 / (step + 1), "acc": step} for step in range(0, 20, 5)}


def _whole() -> list[bytes]:
    return [w.run({"rank": 2}, display_name="one"), *(w.row(step, values) for step, values in ROWS.items()), w.end(0)]


def _read(path: Path, content: bytes) -> OfflineRun:
    path.write_bytes(content)
    return read_offline_run(path)


def _is_part_of_the_truth(found: OfflineRun) -> None:
    assert set(found.history) <= {"loss", "acc"}
    for name, (steps, values) in found.history.items():
        assert values == [ROWS[int(step)][name] for step in steps]
        assert steps == sorted(set(steps))
    assert found.config in ({}, {"rank": 2})
    assert found.exit_code in (None, 0)
    if found.problem is not None:
        assert found.problem.endswith(".") and "\n" not in found.problem


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    content = w.log_file(_whole())
    ends = [len(w.log_file(_whole()[:count])) for count in range(len(_whole()) + 1)]
    for length in range(len(content) + 1):
        found = _read(tmp_path / "run-a.wandb", content[:length])
        _is_part_of_the_truth(found)
        records = sum(end <= length for end in ends) - 1
        rows = max(0, min(len(ROWS), records - 1))
        assert list(found.history.get("loss", ([], []))[0]) == list(ROWS)[:rows]
        assert (found.problem is None) == (length in ends), length
        assert found.exit_code == (0 if length == len(content) else None)


@pytest.mark.parametrize("width", [1, 4, 7])
def test_bytes_flipped_anywhere(tmp_path: Path, width: int) -> None:
    content = w.log_file(_whole())
    noise = random.Random(width)
    for place in range(0, len(content), 1 if width == 1 else 5):
        damaged = bytearray(content)
        for offset in range(place, min(place + width, len(content))):
            damaged[offset] ^= noise.randrange(1, 256)
        found = _read(tmp_path / "run-a.wandb", bytes(damaged))
        _is_part_of_the_truth(found)
        assert found.problem is not None, place


def test_reading_goes_on_at_the_next_block(tmp_path: Path) -> None:
    filler = [w.record(alert={"text": "x" * 1000}).SerializeToString()] * 100
    records = [w.row(0, {"a": 0}), *filler, w.row(1, {"a": 1}), *filler, w.row(2, {"a": 2}), w.end(0)]
    content = bytearray(w.log_file(records))
    for place in (100, 50_000, 120_000):
        content[place] ^= 1
    found = _read(tmp_path / "run-a.wandb", bytes(content))
    # The first row comes before the first damage, the last one in a block after the last damage.
    assert found.history["a"][0][0] == 0 and found.history["a"][0][-1] == 2
    assert (found.exit_code, found.problem) == (0, "3 damaged parts were skipped.")
    content[100:40_000] = bytes(39_900)
    found = _read(tmp_path / "run-a.wandb", bytes(content))
    assert found.history["a"][0][-1] == 2


def test_a_damaged_signature_is_no_reason_to_read_nothing(tmp_path: Path) -> None:
    content = w.log_file(_whole())
    found = _read(tmp_path / "run-a.wandb", b"\0" + content[1:])
    assert len(found.history["loss"][0]) == len(ROWS)
    assert found.problem == "A damaged part was skipped."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "It is empty."),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300, "It is no file of W&B."),
        (b"{}", "It is no file of W&B."),
        (bytes(100_000), "It is no file of W&B."),
        (w.HEADER, None),
        (w.HEADER + bytes(100_000), "Its end is cut off or damaged."),
        (w.log_file(_whole()) + bytes(5), "Its end is cut off or damaged."),
        (w.log_file(_whole()) + bytes(70_000), "Its end is cut off or damaged."),
        (w.HEADER + b"\xff" * 40_000, "Its end is cut off or damaged."),
        (w.log_file([b"\xff\xff\xff", *_whole()]), "A record or value could not be decoded."),
        (w.log_file([*_whole(), w.config(update={"a": b"{"})]), "A record or value could not be decoded."),
        (w.log_file([*_whole(), bytes(100_000)])[:65_536], "Its end is cut off or damaged."),
        (w.log_file(_whole()[:-1]), None),
    ],
)
def test_what_a_file_may_be(tmp_path: Path, content: bytes, problem: str | None) -> None:
    found = _read(tmp_path / "run-a.wandb", content)
    _is_part_of_the_truth(found)
    assert found.problem == problem
    assert found.identity["id"] in ("a", "abc")


def test_noise_in_whole_records(tmp_path: Path) -> None:
    """Records whose checksums hold, and whose content is anything."""
    noise = random.Random(0)
    records = _whole()
    for _ in range(200):
        record = bytearray(noise.choice(records))
        for _ in range(noise.randrange(1, 6)):
            record[noise.randrange(len(record))] = noise.randrange(256)
        found = _read(tmp_path / "run-a.wandb", w.log_file([*records[:3], bytes(record), *records[3:]]))
        assert set(ROWS) - set(found.history["loss"][0]) == set()
        # All that is read can be shown: texts can be encoded.
        json.dumps(
            [found.config, found.summary, dict(found.identity), list(found.history)], ensure_ascii=False
        ).encode()


def test_hostile_values_are_bounded(tmp_path: Path) -> None:
    names = {f"n{place}": place for place in range(21_000)}
    deep = b"[" * 100_000 + b"]" * 100_000
    nested = b'{"a":' * 400 + b"1" + b"}" * 400
    records = [
        w.run({"long": "x" * 500_000, "deep": deep, "nested": nested, "k" * 100_000: 1, "list": [0] * 100_000}),
        w.row(0, names | {"long": "x" * 500_000, "digits": b"1" * 1_000_000, "deep": deep}),
        w.summary(update=names | {"long": "x" * 500_000, "nested": nested}),
        w.summary(update={tuple("abc" * 1000): 1}),
        w.run({}, display_name="\x1b]0;\u202e" * 100_000, tags=["t" * 10_000] * 3),
    ]
    content = w.log_file(records)
    start = time.process_time()
    found = _read(tmp_path / "run-a.wandb", content)
    assert time.process_time() - start < 5
    assert len(found.config["long"]) == TEXT and len(found.config["list"]) == TEXT
    assert "deep" not in found.config
    assert max(map(len, found.config)) == 500 and max(map(len, found.tags)) == 500
    assert len(found.identity["name"]) == TEXT
    assert len(found.history) == NAMES and len(found.summary) == NAMES
    assert found.problem is not None and f"only the first {NAMES} names" in found.problem
    # What shows it may call itself for each level.
    inner, levels = found.config["nested"], 0
    while isinstance(inner, dict):
        inner, levels = inner["a"], levels + 1
    assert (inner, levels) == ("...", DEPTH)


def test_many_names_that_change_take_linear_time(tmp_path: Path) -> None:
    rows = [w.row(step, {f"n{step}-{place}": 1 for place in range(10)}) for step in range(500)]
    removes = [w.summary(update={f"n{step}": 1}, remove={f"n{step - 1}": None}) for step in range(3_000)]
    start = time.process_time()
    found = _read(tmp_path / "run-a.wandb", w.log_file(rows + removes))
    assert time.process_time() - start < 3
    assert len(found.history) == 5_000 and found.summary == {"n2999": 1}


def test_names_and_images_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(b"picture")
    many = {"_type": "images/separated", "filenames": ["a.png"] * 6_000}
    path = ("n" * 400,) * 1_000
    found = _read(
        tmp_path / "run-a.wandb", w.log_file([w.row(0, {"many": many, path: 1}), w.summary(update={path: 2})])
    )
    assert len(found.media) == 5_000
    assert found.problem == "Only the first 5000 images are kept."
    assert [len(name) for name in (*found.history, *found.summary)] == [500, 500]


def test_a_long_history_is_not_held_twice(tmp_path: Path) -> None:
    filler = w.record(alert={"text": "x" * 30_000}).SerializeToString()
    path = tmp_path / "run-a.wandb"
    path.write_bytes(w.log_file([w.row(0, {"a": 1}), *[filler] * 1000, w.row(1, {"a": 2})]))
    tracemalloc.start()
    found = read_offline_run(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.history == {"a": ([0, 1], [1, 2])}
    assert path.stat().st_size > 30e6 and peak < 5e6
