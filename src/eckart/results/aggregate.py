"""Means and standard deviations of results over seeds, and over folds."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eckart.results.settings import AUTO, CHOICES, LEADING, decides, differing, hashable, is_chosen, settings

HELD_OUT = ("relative_observed", "relative_held_out", "rmse", "mae")
OF_NETS = ("validation_accuracy", "accuracy_dense", "accuracy_factorized", "parameters")
AVERAGED = (
    *("relative_2norm", "relative_frobenius", "excess_2norm", "excess_frobenius", "accuracy"),
    *(*HELD_OUT, *OF_NETS),
)
"""Fields of ``result.json`` that are averaged over seeds."""
_FOLLOWS_SEED = "${seed}"
FOLD = "data.fold"
"""Jobs that differ in it are repetitions, as those that differ in the seed are."""


class Spread(NamedTuple):
    """Mean over seeds, and the sample standard deviation; None for a single seed."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Row:
    """Jobs that differ only in their seed.

    Attributes:
        data: Name of the data.
        method: Name of the method.
        settings: Values of the other settings in which the jobs of the whole table differ, by their path.
        rank: The rank; None where a rule chose one for each job, and of nets whose budget decides the ranks.
        auto: Whether a rule chose the rank.
        chosen: The ranks that the rule chose, one for each completed job; empty for a rank that was given.
        completed: Number of completed jobs; the means are over these.
        failed: Number of failed jobs.
        diverged: Number of diverged jobs.
        recovered: Number of completed jobs with the verdict ``recovered``; None where none has a verdict.
        spreads: Mean and deviation of each of ``AVERAGED`` that a completed job has.
    """

    data: str
    method: str
    settings: dict[str, Any]
    rank: int | None
    auto: bool
    chosen: tuple[int, ...]
    completed: int
    failed: int
    diverged: int
    recovered: int | None
    spreads: dict[str, Spread]


@dataclass(frozen=True)
class Group:
    """Jobs that differ only in their seed.

    Attributes:
        data: Name of the data.
        method: Name of the method.
        settings: Values of the other settings in which the jobs of all groups differ, by their path.
        rank: The rank; None where a rule chose one for each job, and of nets whose budget decides the ranks.
        auto: Whether a rule chose the rank.
        results: Their results, one for each seed.
    """

    data: str
    method: str
    settings: dict[str, Any]
    rank: int | None
    auto: bool
    results: list[Mapping[str, Any]]


def by_method_and_rank(results: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Aggregate results over seeds and over the folds of ratings, and over nothing else.

    Two jobs are in one row if all settings that decide the result are equal, except for ``data.fold``, the seed and the
    settings that follow it: a ``data.seed`` that equals the seed of every job follows it, and one that was chosen is a
    setting. A job that ran more than once (with equal seed and fold) counts once: the last time that it completed, else
    the last time. Jobs with ``rank=auto`` are one row, after those of given ranks, whatever ranks were chosen.

    Args:
        results: Results, as in ``result.json``, of any number of sweeps.

    Returns:
        Rows in the order of data, method, settings and rank, whatever the order of the results.

    Example:
        >>> job = {"status": "completed", "method": "svd", "data": "uniform", "rank": 2}
        >>> (row,) = by_method_and_rank(job | {"seed": seed, "relative_2norm": 0.5 + seed} for seed in range(3))
        >>> row.completed, row.spreads["relative_2norm"]
        (3, Spread(mean=1.5, deviation=1.0))
    """
    return [_row(group) for group in grouped(results)]


def grouped(results: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Group results as :func:`by_method_and_rank` does, in the same order.

    Args:
        results: Results, as in ``result.json``, of any number of sweeps.

    Example:
        >>> job = {"status": "completed", "method": "svd", "data": "uniform", "rank": 2}
        >>> [group.rank for group in grouped([job | {"seed": 0, "rank": 10}, job | {"seed": 0}])]
        [2, 10]
    """
    results = list(results)
    jobs = [{k: v for k, v in settings(result).items() if decides(k)} for result in results]
    for job, result in zip(jobs, results, strict=True):
        if is_chosen(result):
            job["rank"] = AUTO
    _mark_what_follows_the_seed(jobs)
    names = [name for name in differing(jobs) if name not in (*LEADING, FOLD)]
    groups: dict[Any, dict[Any, Mapping[str, Any]]] = defaultdict(dict)
    examples: dict[Any, dict[str, Any]] = {}
    for result, job in zip(results, jobs, strict=True):
        key = tuple(hashable(job.get(name)) for name in (*CHOICES, *names, "rank"))
        examples.setdefault(key, job)
        seeds, seed = groups[key], (hashable(job["seed"]), hashable(job.get(FOLD)))
        if seed not in seeds or seeds[seed]["status"] != "completed" or result["status"] == "completed":
            seeds[seed] = result
    ordered = sorted(groups, key=lambda key: [_order(value) for value in key])
    return [_group(examples[key], names, list(groups[key].values())) for key in ordered]


def _mark_what_follows_the_seed(jobs: Sequence[dict[str, Any]]) -> None:
    # A resolved config does not tell whether data.seed is 0 because it follows the seed, or by choice.
    alike: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for job in jobs:
        alike[tuple((name, hashable(job[name])) for name in job if name != "rank" and not _is_seed(name))].append(job)
    for group in alike.values():
        for name in [name for name in group[0] if name != "seed" and _is_seed(name)]:
            chosen = {hashable(job[name]) for job in group if job[name] != job["seed"]}
            for job in group:
                if hashable(job[name]) not in chosen:
                    job[name] = _FOLLOWS_SEED


def _is_seed(name: str) -> bool:
    return name.rpartition(".")[2] == "seed"


def _group(job: Mapping[str, Any], names: Sequence[str], results: list[Mapping[str, Any]]) -> Group:
    chosen = {name: job.get(name) for name in names}
    auto = job["rank"] == AUTO
    rank = None if auto else job["rank"]
    return Group(data=job["data"], method=job["method"], settings=chosen, rank=rank, auto=auto, results=results)


def _row(group: Group) -> Row:
    completed = [result for result in group.results if result["status"] == "completed"]
    spreads = {}
    for name in AVERAGED:
        values = [result[name] for result in completed if result.get(name) is not None]
        if values:
            spreads[name] = Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
    verdicts = [result["verdict"] for result in completed if result.get("verdict") is not None]
    return Row(
        data=group.data,
        method=group.method,
        settings=group.settings,
        rank=group.rank,
        auto=group.auto,
        chosen=tuple(result["rank"] for result in completed if result["rank"] is not None and group.rank is None),
        completed=len(completed),
        failed=sum(result["status"] == "failed" for result in group.results),
        diverged=sum(result["status"] == "diverged" for result in group.results),
        recovered=verdicts.count("recovered") if verdicts else None,
        spreads=spreads,
    )


def _order(value: Any) -> tuple[int, float, str]:
    # None first, then numbers by size, then all other values by their text.
    if value is None:
        return (0, 0, "")
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))
