"""The page of a sweep, as people ask for it: ``eckart report``, ``scripts/report.py``, ``report=true``."""

import contextlib
import html
import io
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from commandline import QUIET, SMALL, Ended, Train, result
from strange_folders import TEXTS, hostile_runs
from sweeps import planned, plant

from eckart import cli
from eckart.reports import page

SCRIPT = Path(__file__).parents[2] / "scripts" / "report.py"
RUNS = 30


def asked(*arguments: object, script: bool = False) -> Ended:
    """Run ``eckart report``, or the script, with these arguments."""
    status: Any = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        patch.setattr(sys, "argv", [*([str(SCRIPT)] if script else ["eckart", "report"]), *map(str, arguments)])
        try:
            if script:
                runpy.run_path(str(SCRIPT), run_name="__main__")
            else:
                cli.main()
        except SystemExit as ended:
            status = ended.code
    if isinstance(status, str):
        return Ended(1, stdout.getvalue(), f"{stderr.getvalue()}{status}\n", [])
    return Ended(status, stdout.getvalue(), stderr.getvalue(), [])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, of runs with hostile names, and of a result that was cut off."""
    folder = tmp_path_factory.mktemp("pages") / "sweep"
    plant(folder, [*planned(RUNS), *hostile_runs()], points=12)
    (folder / "cut").mkdir()
    (folder / "cut" / "result.json").write_text('{"status": "comp')
    return folder


@pytest.fixture(scope="module")
def ended(sweep: Path) -> Ended:
    return asked(sweep)


@pytest.fixture(scope="module")
def text(sweep: Path, ended: Ended) -> str:
    return (sweep / page.PAGE).read_text("utf-8")


def data(text: str) -> dict[str, Any]:
    """The data of a page, as its scripts read them."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def column(text: str, key: str) -> list[Any]:
    return next(column["values"] for column in data(text)["runs"]["columns"] if column["key"] == key)


def test_the_command_says_where_the_page_is_and_what_it_could_not_read(sweep: Path, ended: Ended, text: str) -> None:
    count = RUNS + len(hostile_runs())
    line = rf"{re.escape(str(sweep / page.PAGE))}: {count} runs, \d\.\d MB, \d+\.\d s\n"
    assert ended.code == 0 and re.fullmatch(line, ended.stdout)
    assert ended.line.startswith(f"warning: {sweep / 'cut' / 'result.json'} is left out: ")
    assert html.escape(ended.line.removeprefix("warning: ")) in text


def test_the_page_says_what_the_results_say(sweep: Path, text: str) -> None:
    results = {str(path.parent): result(path.parent) for path in sweep.glob("*/result.json") if "cut" not in str(path)}
    errors = dict(zip(column(text, "folder"), column(text, "relative_frobenius"), strict=True))
    assert len(results) == len(errors) == RUNS + len(hostile_runs())
    for folder, error in errors.items():
        wanted = results[folder]["relative_frobenius"]
        assert error == (wanted if wanted is None else pytest.approx(wanted, rel=1e-6))


def test_the_page_has_the_plots_that_the_runs_have_numbers_for(text: str) -> None:
    shown = set(re.findall(r'<figure data-plot="([\w-]+)"', text))
    wanted = {"error-rank-2norm", "error-rank-frobenius", "excess-rank-frobenius", "error-step-frobenius", "time-error"}
    wanted |= {"accuracy-rank", "accuracy-epoch", "loss-step", "parallel-coordinates", "singular-values"}
    assert wanted <= shown == data(text)["plots"].keys()
    assert "held-out-step" not in shown and "metric-step" not in shown
    for name in ("runs", "filter", "status", "summary", "failures", "reproduce"):
        assert text.count(f'id="{name}"') == 1


def test_hostile_names_are_the_text_that_they_are(text: str) -> None:
    assert text.count("<script") == 4, "the data, and three scripts of its own"
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "<img" not in outside and html.escape(TEXTS[2]) in outside
    levels = data(text)["runs"]["settings"]["own"]["name"]["levels"]
    # Characters that reverse a text become spaces, and a text of thousands of characters is cut.
    assert {hostile for hostile in TEXTS if hostile.isprintable() and len(hostile) < 300} <= set(levels)


@pytest.mark.parametrize("content", [None, "notes.txt"])
@pytest.mark.parametrize("script", [False, True])
def test_a_folder_without_runs_is_one_line(content: str | None, script: bool, tmp_path: Path) -> None:
    if content:
        (tmp_path / content).write_text("no run")
    ended = asked(tmp_path, script=script)
    assert (ended.code, ended.line) == (1, f"There is no run below {tmp_path}.")
    assert html.escape(ended.line) in (tmp_path / page.PAGE).read_text(encoding="utf-8")
    missing = asked(tmp_path / "none", script=script)
    assert (missing.code, missing.line) == (1, f"There is no folder {tmp_path / 'none'}.")


def test_a_sweep_writes_its_page_where_it_is_asked_to(train: Train) -> None:
    ended = train("-m", *SMALL, "method=svd", "rank=1,99", *QUIET, "hydra.sweep.dir=sweep", "report=true")
    # The job that failed takes nothing from the page.
    assert ended.code == 1 and re.search(r"^report: sweep/report\.html: 2 runs, ", ended.stdout, re.MULTILINE)
    assert column(Path("sweep", page.PAGE).read_text("utf-8"), "status") == ["completed", "failed"]


def test_a_run_whose_page_fails_is_completed_with_a_warning(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folders: list[Path]) -> None:
        raise OSError(28, "No space left on device", f"{folders[0].name}/report.html")

    monkeypatch.setattr(page, "write", fail)
    ended = train(*SMALL, "method=svd", "rank=2", *QUIET, "report=true", "hydra.run.dir=b")
    told = "warning: the results are whole, but their page is not written: No space left on device: b/report.html"
    assert (ended.code, ended.line) == (0, told) and ended.result["status"] == "completed"
