"""The table of runs, and the pictures beside it, hold what the runs hold."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import foreign, ours

from eckart.reports import images, pictures, runs_table
from eckart.reports.lines import lines
from eckart.reports.record import Record
from eckart.results import preview
from eckart.tracking.offline import Media


def table(records: list[Record]) -> dict[str, Any]:
    return runs_table.data(records, lines(records), Path())


def values(found: dict[str, Any], key: str) -> Any:
    return next(column["values"] for column in found["columns"] if column["key"] == key)


def said(details: dict[str, Any], run: int) -> dict[str, Any]:
    """Settings or results of a run, as the script of the page puts them together."""
    own = {
        name: column[run] if isinstance(column, list) else column["levels"][column["index"][run]]
        for name, column in details["own"].items()
    }
    return {name: value for name, value in (own | details["shared"]).items() if value is not None}


def test_each_run_has_its_config_whole_and_what_all_share_is_kept_once() -> None:
    runs = [ours(seed=seed, optimizer=name, method__hidden=[8, 4]) for seed in (0, 1) for name in ("adam", "sgd")]
    found = table(runs)
    for place, run in enumerate(runs):
        told = said(found["settings"], place)
        assert told["optimizer._target_"] == run.settings["optimizer._target_"]
        assert told["method.hidden"] == "[8, 4]" and told["seed"] == run.fields["seed"]
    assert "method.hidden" in found["settings"]["shared"]
    assert values(found, "optimizer._target_") == ["Adam", "SGD", "Adam", "SGD"]
    assert values(found, "relative_frobenius") == [0.25] * 4


def test_runs_of_other_programs_have_their_configs_and_summaries_beside_ours() -> None:
    others = [foreign(f"r{lr}", settings={"lr": lr}, fields={"acc": lr / 2, "text": "x"}) for lr in (0.1, 0.2)]
    found = table([ours(), *others])
    assert values(found, "config lr") == [None, 0.1, 0.2] and values(found, "summary acc") == [None, 0.05, 0.1]
    assert values(found, "method") == ["bottleneck", None, None]
    assert said(found["results"], 1)["text"] == "x"


def test_every_text_of_the_table_is_printable_and_of_bounded_length() -> None:
    text = "<b>\x1b[31m\u202e" + "x" * 5000
    found = table(
        [ours(error=text, status="failed", name=text, fields={"extra": text}), foreign(text, link=text, folder="f")]
    )

    def texts(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [*node, *(inner for value in node.values() for inner in texts(value))]
        return [inner for item in node for inner in texts(item)] if isinstance(node, list) else [str(node)]

    assert [text for text in texts(found) if not text.isprintable() or len(text) > 700] == []


def test_a_folder_beside_the_page_is_linked_and_another_is_not(tmp_path: Path) -> None:
    inside = foreign(folder=str(tmp_path / 'a "b" #1'))
    found = runs_table.data([inside, foreign(folder="/elsewhere")], lines([]), tmp_path)
    assert found["hrefs"] == ["a%20%22b%22%20%231/", None]


def pictured(folder: Path, rank: int, seed: int, shade: float) -> Record:
    target = np.linspace(0, 1, 12).reshape(3, 4)
    folder.mkdir(parents=True)
    preview.write(folder, target, target * shade, target, shape=(3, 4), rank=rank)
    run = ours(rank=rank, seed=seed)
    return Record(**{**vars(run), "folder": str(folder), "has_folder": True})


def test_previews_are_kept_once_and_the_first_seeds_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [
        pictured(tmp_path / f"{rank}-{seed}", rank, seed, (3 * rank + seed) / 20)
        for rank in (1, 2)
        for seed in (0, 1, 2)
    ]
    found = pictures.data(runs, lines(runs))
    assert [run["run"] for run in found["runs"]] == list(range(6)) and found["of"] == 6
    titles = [image["title"] for image in found["runs"][0]["images"]]
    assert titles == ["Target", "Trained", "Truncated SVD", "Difference, target − trained"]
    assert len(set(found["sources"])) == len(found["sources"])
    targets = {run["images"][part]["src"] for run in found["runs"] for part in (0, 2)}
    assert len(targets) == 1
    monkeypatch.setattr(pictures, "BUDGET", sum(map(len, found["sources"])) * 2 // 3)
    few = pictures.data(runs, lines(runs))
    assert {0, 3} <= {run["run"] for run in few["runs"]} and len(few["runs"]) < 6 and few["of"] == 6


def test_media_and_figures_are_pictures_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    run = foreign(media=(Media("a", 3, good, "<b>"), Media("b", None, bad), Media("c", None, tmp_path / "none")))
    (shown,) = pictures.data([run], lines([]))["runs"]
    assert [(image["title"], image["caption"]) for image in shown["images"]] == [("a, step 3", "<b>")]


def test_a_large_picture_is_scaled_and_a_small_one_enlarged(tmp_path: Path) -> None:
    import base64

    for size, expected in (((2000, 1000), (720, 360)), ((8, 4), (320, 160))):
        Image.new("RGB", size, "red").save(tmp_path / "a.png")
        address = images.scaled(tmp_path / "a.png")
        assert address is not None
        written = Image.open(BytesIO(base64.b64decode(address.partition(",")[2])))
        assert written.size == expected and written.convert("RGB").getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=8)
