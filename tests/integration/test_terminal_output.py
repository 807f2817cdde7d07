"""What runs and sweeps show on a terminal, and what they do not show elsewhere."""

import itertools
import re
import sys
from pathlib import Path

import pytest
from commandline import QUIET, Train
from ptys import frames, terminal

SLOW = ("method=factorization", "optimizer=adam", "optimizer.lr=1e-4", "data=uniform", "data.rows=9", "data.cols=8")
STEPS = "method.max_steps=500"


def shown(
    train: Train, monkeypatch: pytest.MonkeyPatch, *arguments: str, columns: int = 80
) -> tuple[list[list[str]], str]:
    """The frames on standard error, and all that was written there."""
    with terminal(columns) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        train(*arguments)
        written = opened.close()
    return frames(written, columns), written


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    # The runs of tests are short.
    monkeypatch.setattr("eckart.results.bar._DELAY", 0.0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((*SLOW, "rank=2", STEPS), r"\d+ steps  loss \S+  excess \S+  gradient \S+  [≤≈] 00:\d\d left$"),
        (
            ("method=classifier", "data=digits", "rank=4", "method.epochs=6", "method.coordinates=false"),
            r"epoch \d of 6  loss 0?\d\.\d{4}  accuracy 0\.\d{4}  (\d+\.\d steps/s  |\d+ steps/s  )?00:0\d left$",
        ),
    ],
    ids=["matrix", "classifier"],
)
def test_a_run_shows_its_progress_and_leaves_nothing(
    arguments: tuple[str, ...], line: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, _ = shown(train, monkeypatch, *arguments, *QUIET)
    assert any(re.search(line, rows[0]) for rows in seen), [rows[0] for rows in seen]
    assert not any(seen[-1])


@pytest.mark.processes
def test_a_run_says_that_it_chooses_its_rank(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = shown(train, monkeypatch, *SLOW, "rank=auto", "selection=energy", "method.max_steps=2", *QUIET)
    assert any("choosing the rank by energy" in rows[0] for rows in seen), [rows[0] for rows in seen]
    assert not any(seen[-1])


def test_a_sweep_shows_its_jobs_above_the_stack_and_failures_stay(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("-m", *SLOW, "rank=2,30", "seed=0,1,2", STEPS, *QUIET)
    seen, written = shown(train, monkeypatch, *arguments, columns=300)
    pairs = [pair for rows in seen for pair in itertools.pairwise(rows)]
    assert any("of 6 jobs  factorization ×3" in above and "of 3 done" in below for above, below in pairs)
    assert re.search(r"3 failed.*  factorization", written)
    left = [row for row in seen[-1] if row]
    assert sum(row.startswith("failed: ") for row in left) == 3 and not [row for row in left if "of 6 jobs  " in row]
    assert "\x1b[31mfailed\x1b[0m: " in written


@pytest.mark.parametrize("arguments", [(*SLOW, "rank=2"), ("-m", *SLOW, "rank=2,3")], ids=["run", "sweep"])
def test_no_progress_where_it_is_disabled(
    arguments: tuple[str, ...], train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*arguments, "trainer.enable_progress_bar=false", "method.max_steps=50", *QUIET)
    assert shown(train, monkeypatch, *arguments)[1] == ""


@pytest.mark.parametrize("wanted", [True, False])
def test_tables_have_colors_on_a_terminal_unless_they_are_not_wanted(
    wanted: bool, train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stdout", opened.stream)
        for sweep in ((), ("-m",)):
            ended = train(*sweep, "method=svd", "data=lab", "rank=1", *QUIET)
            assert ended.code == 0
        written = opened.close()
    assert ("\x1b[32mcomputed\x1b[0m" in written and "\x1b[1mdata=lab" in written) == wanted
    assert ("\x1b" in written) == wanted
    assert "svd on lab, 3×3, rank 1, seed 0" in re.sub(r"\x1b\[\d+m", "", written)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"\x1b[3" in path.read_bytes()]
