"""``eckart benchmark``: how contenders are measured, and what is written."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmark_cases
import numpy as np
import pytest

from eckart.benchmarks import command, device, goals, measuring, nets, record
from eckart.benchmarks.case import Case, Contender, Point, Score
from eckart.benchmarks.cases import recipe
from eckart.benchmarks.finding import Group, chosen, group, groups
from eckart.benchmarks.goals import Goal
from eckart.benchmarks.lines import Line
from eckart.benchmarks.measuring import Settings, measure
from eckart.benchmarks.peers import keras_recipe
from eckart.benchmarks.table import table
from eckart.results.screen import PAGE

TESTS = Path(__file__).parents[1]
FAKE = group("benchmark_cases", quick=True)
SETTINGS = Settings(rounds=2, threads=1, quick=True)


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which fake contenders note what they do."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    monkeypatch.setattr(measuring, "_MOST_RUNS", 2)
    monkeypatch.setattr(measuring, "_PAUSE", 0.0)
    return tmp_path / "noted"


def measured(name: str) -> tuple[list[Line], list[str]]:
    (case,) = (case for case in FAKE.cases if case.name == name)
    return measure("benchmark_cases", case, SETTINGS, lambda text: None)


def test_contenders_warm_up_and_then_take_turns(noted: Path) -> None:
    lines, left_out = measured("turns")
    assert noted.read_text().split() == ["ours", "peer"] * 3
    assert [len(line.seconds) for line in lines] == [2, 2] and all(line.warmed_up for line in lines)
    assert not left_out


def test_an_outcome_is_judged_once_and_a_part_is_multiplied(noted: Path) -> None:
    lines, _ = measured("judged")
    assert noted.read_text().split() == ["judged"] * 2
    # Threads are pinned before anything is imported.
    assert [(line.error, line.said) for line in lines] == [(0.25, "1")] * 2


def test_a_peer_that_is_not_installed_is_named_and_left_out(noted: Path) -> None:
    lines, left_out = measured("missing")
    assert [line.name for line in lines] == ["ours"] and lines[0].seconds
    assert left_out == ["gone (no_such_package not installed)"]


def test_a_peer_that_fails_is_one_line_and_the_others_go_on(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_SHORTEST_WAIT", 0.5)
    lines, _ = measured("failing")
    assert [line.failed for line in lines] == [
        None,
        "IndexError: list index out of range",
        "ValueError: a law",
        "ended with status 3",
        "stopped: it took more than 0 s to run",
        None,
    ]
    assert [len(line.seconds) for line in lines] == [2, 0, 0, 0, 0, 2]


def test_peak_memory_is_that_of_the_task(noted: Path) -> None:
    (line,), _ = measured("memory")
    assert line.memory is not None
    assert benchmark_cases.BLOCK <= line.memory < 1.2 * benchmark_cases.BLOCK


def test_a_run_longer_than_the_budget_counts_without_a_warm_up(noted: Path) -> None:
    (line,), _ = measured("cold")
    assert noted.read_text().split() == ["ours"]
    assert len(line.seconds) == 1 and not line.warmed_up


def test_a_shorter_warm_up_is_not_timed(noted: Path) -> None:
    (line,), _ = measured("warmed")
    assert noted.read_text().split() == ["warm-up", "task"]
    assert len(line.seconds) == 1 and line.warmed_up


def test_commands_are_whole_processes(noted: Path) -> None:
    lines, _ = measured("commands")
    assert [line.failed for line in lines] == [None, None, "ended with status 1"]
    assert [(len(line.seconds), line.error) for line in lines] == [(2, 0.5), (2, 0.5), (0, None)]
    # Of the command alone, whatever this process holds.
    assert lines[0].memory is not None and 2**20 < lines[0].memory < 2**26


OURS = Line("ours", [1.0, 2.0, 1.0], memory=100e6, error=1e-8)
PEERS = [Line("slow", [3.0, 6.0, 3.0], memory=2000e6, error=1e-12), Line("wrong", [0.1], error=1e-3)]


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (goals.faster_than("slow", 3.0), 3.0, True),
        (goals.faster_than("slow", 3.1), 3.0, False),
        (goals.at_most_of("slow", 0.34), 1 / 3, True),
        (goals.at_most_of("slow", 0.33), 1 / 3, False),
        (goals.at_most_of("slow", 0.1, 0.6), 1 / 3, False),
        (goals.at_most_of("slow", 0.1, 0.8), 1 / 3, True),
        # A peer of a larger error is none that must be beaten.
        (goals.within_of_fastest(1.2, 1e-6), 1 / 3, True),
        (goals.within_of_fastest(1.2, 1e-2), 10.0, False),
        (goals.seconds_at_most(1.0), 1.0, True),
        (goals.seconds_at_most(0.9), 1.0, False),
        (goals.memory_share("slow", 1 / 20), 0.05, True),
        (goals.memory_share("slow", 1 / 21), 0.05, False),
        (goals.memory_at_most(99), 100.0, False),
        (goals.error_at_most(1e-8), 1e-8, True),
        (goals.error_at_most(1e-9), 1e-8, False),
        (goals.no_larger_error_than("slow"), 1e-8, False),
        (goals.no_larger_error_than("wrong"), 1e-8, True),
    ],
)
def test_goals_are_held_to_their_bounds(goal: Goal, value: float, reached: bool) -> None:
    found = goal.check([OURS, *PEERS])
    assert found is not None
    assert found.value == pytest.approx(value) and found.reached == reached


def test_a_goal_without_its_peer_is_not_measured() -> None:
    failed = [Line("slow", failed="ended with SIGKILL"), Line("wrong")]
    for goal in (goals.faster_than("slow", 1.0), goals.at_most_of("none", 1.0), goals.within_of_fastest(1.0, 0.0)):
        assert goal.check([OURS, *failed]) is None


def recorded(lines: Sequence[Line], laws: Sequence[Goal]) -> record.Record:
    case = Case("a", "an example", [], "excess", goals=laws, note="It is so.", point=POINT)
    facts = {"date": "2026-01-01", "machine": "M", "versions": {"torch": "2"}, "command": "C", "threads": 2}
    return record.recorded("group", case, lines, ["gone (gone not installed)"], facts | {"quick": False})


POINT = Point("growth", 10.0, "n", "Cost against n")


def test_the_table_says_what_is_reached_and_missed() -> None:
    shown = table(recorded([OURS, *PEERS], [goals.faster_than("slow", 3.0), goals.seconds_at_most(0.5)]), PAGE)
    rows = {line.split("  ")[0]: line.split() for line in shown.splitlines()}
    assert rows["ours"] == ["ours", "1.00", "s", "±25", "%", "1.0e-08", "100", "MB", "3"]
    assert rows["slow"] == ["slow", "3.00", "s", "±25", "%", "3.00×", "1.0e-12", "2,000", "MB", "3"]
    assert "goal: at least 3 times as fast as slow: 3.00×, reached" in shown
    assert "goal: at most 0.5 s: 1.00 s, missed" in shown
    assert "left out: gone (gone not installed)" in shown


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = {"a": recorded([OURS, *PEERS], [goals.faster_than("slow", 3.0), goals.faster_than("none", 1.0)])}
    record.write(tmp_path, kept)
    assert record.read(tmp_path) == kept
    (tmp_path / record.FILE).write_text('{"a": {"lines": 1}}')
    with pytest.raises(ValueError, match="must be a file that the benchmark wrote"):
        record.read(tmp_path)


def run(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, found: Sequence[Group] = (FAKE,)) -> None:
    monkeypatch.setattr(command, "groups", lambda quick: list(found))
    command.main("eckart benchmark", arguments)


def test_a_case_that_is_measured_anew_leaves_the_others_as_they_are(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--rounds", "1", "--quick", "--out", str(tmp_path)]
    run(["--only", "turns", *out], monkeypatch)
    before = json.loads((tmp_path / "benchmarks.json").read_text())["turns"]
    run(["--only", "cold", *out], monkeypatch)
    after: dict[str, Any] = json.loads((tmp_path / "benchmarks.json").read_text())
    assert after["turns"] == before and after["cold"]["measured"]["quick"]
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| take turns (`turns`) | " in page and ", reached | at least 0.001 times as fast as peer |" in page
    assert "eckart benchmark --only turns" in page and "eckart benchmark --only cold" in page
    assert capsys.readouterr().out.count("benchmarks.md") == 2


def test_what_is_computed_is_kept_when_the_benchmark_is_interrupted(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure

    def interrupted(module: str, case: Any, *rest: Any) -> Any:
        if case.name == "cold":
            raise KeyboardInterrupt
        return whole(module, case, *rest)

    monkeypatch.setattr(command, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["--only", "turns", "cold", "--rounds", "1", "--out", str(tmp_path)], monkeypatch)
    assert list(record.read(tmp_path)) == ["turns"]


def test_the_page_is_written_anew_with_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record.write(tmp_path, {"a": recorded([OURS, *PEERS], [goals.seconds_at_most(0.5)])})
    run(["--page", "--out", str(tmp_path)], monkeypatch)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "**1.00 s, missed**" in page and "It is so." in page
    assert "![Cost against n](images/benchmark_growth.png)" in page
    assert (tmp_path / "images" / "benchmark_growth.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--only", "turn"], "There is no case or group turn. Did you mean turns?"),
        (["--only", "zzz"], "There is no case or group zzz. --list shows them all."),
        (["--rounds", "0"], "--rounds must be at least 1. Found 0."),
        (["--threads", "-1"], "--threads must be at least 1. Found -1."),
    ],
)
def test_errors_are_one_line(arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments, monkeypatch)
    assert ended.value.code == line


@pytest.mark.parametrize("quick", [True, False])
def test_every_case_is_listed_and_each_of_its_goals_can_be_judged(
    quick: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = groups(quick=quick)
    cases = [case for group in found for case in group.cases]
    run(["--list"], monkeypatch, found)
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == [case.name for case in cases] and len({*listed}) == len(listed)
    assert {case.name for _, case in chosen(found, None)} == {case.name for case in cases if not case.asked_only}
    for case in cases:
        names = [contender.name for contender in case.contenders]
        assert len({*names}) == len(names)
        lines = [Line(name, [1.0], memory=1.0, error=0.0) for name in names]
        assert all(goal.check(lines) is not None for goal in case.goals), case.name


def test_cases_for_a_gpu_are_left_out_in_one_line_where_there_is_none(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "present", lambda: False)
    with pytest.raises(SystemExit) as ended:
        run(["--only", "on_gpu", "--out", str(tmp_path)], monkeypatch)
    assert ended.value.code == "Cases of the group benchmark_cases need a GPU that torch can use. Found none."
    run(["--only", "turns", "on_gpu", "--rounds", "1", "--out", str(tmp_path)], monkeypatch)
    assert "need a GPU that torch can use. Found none: they are left out." in capsys.readouterr().out
    assert list(record.read(tmp_path)) == ["turns"]


def test_records_of_another_machine_are_taken_over_with_its_name(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(device.VARIABLE, "cpu")
    here, there = tmp_path / "here", tmp_path / "there"
    run(["--only", "turns", "missing", "--rounds", "1", "--out", str(here)], monkeypatch)
    run(["--only", "on_gpu", "--rounds", "1", "--out", str(there)], monkeypatch)
    # All but the first prepare at the same time, and then take turns as ever.
    assert noted.read_text().split() == [*["ours", "peer"] * 3, *["ours"] * 3, *["ours", "peer"] * 3]
    run(["--add", str(there), "--out", str(here)], monkeypatch)
    assert list(record.read(here)) == ["turns", "missing", "on_gpu"]
    page = (here / "benchmarks.md").read_text()
    assert "no GPU, but cpu in its place, " in page and "(`on_gpu`)" in page
    assert re.search(r"^On .* and .*, no GPU, but cpu in its place\.$", page, re.M)
    with pytest.raises(SystemExit, match="--add must name a folder"):
        run(["--add", str(tmp_path / "none"), "--out", str(here)], monkeypatch)


@pytest.mark.benchmark
def test_every_case_runs_at_small_sizes(tmp_path: Path) -> None:
    arguments = ["--quick", "--rounds", "1", "--out", str(tmp_path)]
    script = TESTS.parent / "scripts" / "benchmark.py"
    # What runs on a GPU runs on the CPU in its place.
    environment = os.environ | {device.VARIABLE: "cpu"}
    subprocess.run([sys.executable, str(script), *arguments], check=True, cwd=tmp_path, env=environment)
    kept = record.read(tmp_path)
    assert set(kept) == {case.name for _, case in chosen(groups(quick=True), None)}
    failed = {(name, line.name): line.failed for name, found in kept.items() for line in found.lines if line.failed}
    # A peer may be too slow at any size; ours may not fail.
    assert not {place: why for place, why in failed.items() if "stopped" not in str(why)}
    assert not [name for name, found in kept.items() if found.lines[0].failed]


def test_a_peer_is_judged_by_the_error_that_ours_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_recipe, "trained", lambda *_, **__: np.zeros((10, 10)))
    (case,) = (case for case in recipe.cases(quick=True) if case.name == "optimum_table")
    assert isinstance(case.contenders[1], Contender)
    prepared = case.contenders[1].prepare()
    assert prepared.score is not None
    found = prepared.score(prepared.task())
    assert isinstance(found, Score)
    expected = nets.excesses([nets.targets(1)[0]] * 9, [np.zeros((10, 10))] * 9, nets.RANKS).max()
    assert found.error == pytest.approx(expected)
