"""Runs whose rank a rule chose, as tables, means, names and pages show them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from jobs import job
from omegaconf import OmegaConf
from records import ours
from test_terminal import FINISHED

from eckart.reports import chosen_ranks, rank_plots
from eckart.reports.lines import lines
from eckart.results.aggregate import by_method_and_rank
from eckart.results.result import write_result
from eckart.results.screen import Screen, length
from eckart.results.settings import differing, settings
from eckart.results.summary import sweep_table
from eckart.results.terminal import choices, line, table
from eckart.runs.choosing_rank import Chosen
from eckart.runs.job import Job
from eckart.tracking.job import config_of

TOLD: dict[str, Any] = {
    "rank_rule": "best",
    "rank_reason": "the noise is not white: its spectrum is that of an autoregression, and ScreeNOT is asked",
    "rank_choices": {
        "best": {"rank": 3, "error": 0.25, "reason": "a"},
        "parallel_analysis": {"rank": 12345, "error": 1e-7, "reason": "b"},
        "cross_validation": {"rank": 2, "error": None, "reason": "c"},
    },
}


def chosen(rank: int, seed: int, rule: str = "best", **changes: Any) -> dict[str, Any]:
    result = job(rank=rank, seed=seed, **changes)
    result["config"] |= {"rank": "auto", "selection": {"rule": rule}}
    return result | {"rank_rule": rule}


def test_the_table_says_why_and_what_each_rule_would_have_chosen(tmp_path: Path) -> None:
    screen = Screen(60)
    shown = table(FINISHED | TOLD, None, screen).splitlines()
    assert shown[0] == "factorization on photo, 6×5, rank 3 (auto), seed 0"
    assert max(map(length, shown)) <= 60
    at = shown.index("rule                    rank  SVD's error there")
    assert shown[at - 3].startswith("rank 3 chosen by best: the noise is not white")
    assert [row.split() for row in shown[at + 1 : at + 4]] == [
        ["best", "3", "0.250000"],
        ["parallel_analysis", "12,345", "1.000e-07"],
        ["cross_validation", "2", "–"],
    ]
    withheld = choices(FINISHED | TOLD | {"withheld": 42}, screen)
    assert "rule                    rank     withheld error" in withheld
    only = TOLD | {"rank_choices": {"best": TOLD["rank_choices"]["best"]}}
    assert not any(row.startswith("rule ") for row in choices(FINISHED | only, screen))
    strange = TOLD | {"rank_reason": None, "rank_choices": {"a": 3, "b": {"rank": "x", "error": "y"}, "c": {}}}
    assert [row.split() for row in choices(FINISHED | strange)[-2:]] == [["b", "–", "–"], ["c", "–", "–"]]
    assert line(FINISHED | TOLD, tmp_path).startswith("completed: rank 3, Frobenius error 0.500000")


def test_jobs_whose_rank_is_chosen_are_one_row_behind_those_of_given_ranks() -> None:
    results = [chosen(rank, seed) for seed, rank in enumerate((7, 9, 7))]
    results += [job(rank=rank, seed=seed) for rank in (2, 20) for seed in range(3)]
    rows = by_method_and_rank(results)
    assert [(row.rank, row.chosen, row.completed) for row in rows] == [(2, (), 3), (20, (), 3), (None, (7, 9, 7), 3)]
    mean = sum(result["relative_2norm"] for result in results[:3]) / 3
    assert rows[-1].spreads["relative_2norm"].mean == pytest.approx(mean)
    assert [row.split()[0] for row in sweep_table(results).splitlines()[-2:]] == ["20", "auto"]
    assert "\nauto 7–9 " in sweep_table(results)
    assert rows[-1].settings == {}


def test_rules_are_a_difference_only_where_there_are_two() -> None:
    jobs = [settings(result) for result in (chosen(7, 0), chosen(7, 0, rule="energy"), job(rank=2))]
    assert differing(jobs[::2]) == ["rank"]
    assert differing(jobs) == ["rank", "selection.rule"]


def test_a_curve_is_marked_at_the_ranks_that_rules_chose() -> None:
    given = [ours(rank=rank, seed=seed, optimum=1 / rank) for rank in (2, 4, 8) for seed in (0, 1)]
    auto = [ours(rank=rank, seed=seed, optimum=1 / rank) for rank, seed in ((4, 0), (5, 1), (6, 0), (6, 1))]
    rules = ("best", "best", "energy", "energy")
    auto = [
        dataclasses.replace(run, fields={**run.fields, **chosen(run.fields["rank"], run.fields["seed"], rule)})
        for run, rule in zip(auto, rules, strict=True)
    ]
    for run in auto:
        run.fields["relative_frobenius"] = run.fields["optimum_frobenius"] = 1 / run.fields["rank"]  # type: ignore[index]
    known = lines([*given, *auto])
    (found,) = known.all
    # The curve goes through rank 6, which both seeds have, and not through rank 5, which one of them has.
    assert [point.rank for point in found.points] == [2, 4, 6, 8]
    assert all(known.line(run) is found for run in (*given, *auto))
    rows = chosen_ranks.rows(known, "relative_frobenius")
    assert [(row["rule"], row["rank"], row["seeds"], row["mean"]) for row in rows] == [
        ("best", 4, 1, 0.25),
        ("best", 5, 1, 0.2),
        ("energy", 6, 2, 1 / 6),
    ]
    assert [row["label"] for row in rows if row["labeled"]] == ["best: rank 4", "energy: rank 6"]
    plot = rank_plots.errors(known, "frobenius")
    assert plot is not None and plot.rows["chosen"] == rows
    unmarked = rank_plots.errors(lines(given), "frobenius")
    assert unmarked is not None and "chosen" not in unmarked.rows
    (alone,) = lines(auto[:2]).all
    assert [point.rank for point in alone.points] == [4, 5]


def made(tmp_path: Path, **changes: Any) -> Job:
    config = {"rank": "auto", "seed": 1, "name": None, "resume": "x", "selection": {"rule": "best"}, "data": {}}
    return Job(OmegaConf.create(config | changes), {"method": "svd", "data": "photo", "selection": "best"}, tmp_path)


def test_a_job_is_named_after_the_rank_that_was_chosen_and_is_known_by_the_word(tmp_path: Path) -> None:
    asked = made(tmp_path)
    known = dataclasses.replace(asked, chosen=Chosen(7, "best", "white noise", {}))
    assert (asked.rank, asked.name, known.rank, known.name) == (
        None,
        "svd-photo-rankauto-seed1",
        7,
        "svd-photo-rank-auto→7-seed1",
    )
    assert asked.fingerprint == known.fingerprint
    assert config_of(known)["rank"] == 7 and config_of(known)["choices"]["selection"] == "best"
    given = made(tmp_path, rank=7)
    assert "selection" not in config_of(given) and "selection" not in config_of(given)["choices"]
    assert made(tmp_path, rank=7, selection={"rule": "energy"}).fingerprint == given.fingerprint != known.fingerprint
    assert made(tmp_path, selection={"rule": "energy"}).fingerprint != known.fingerprint
    write_result(tmp_path, known.identity() | {"status": "completed"})
    assert asked.completed() is not None and asked.conflict() is None
    assert given.conflict() == "rank=auto in place of rank=7"
    energy = made(tmp_path, selection={"rule": "energy"})
    assert energy.conflict() == "selection.rule=best in place of selection.rule=energy"
