"""Mean and standard deviation over seeds."""

import itertools
import json
import statistics
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eckart.results.settings import CHOICES, IDENTITY, differing, hashable, settings
from eckart.runs.fingerprint import DECIDING

FIGURES = {
    "relative_2norm": "2-norm error",
    "relative_frobenius": "Frobenius error",
    "excess_2norm": "2-norm excess",
    "excess_frobenius": "Frobenius excess",
    "accuracy": "accuracy",
}
_FOLLOWS_SEED = "${seed}"
_NONE = "–"
_WIDTH = 120


class Spread(NamedTuple):
    """Mean over seeds, and the sample standard deviation, which one seed alone does not have."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Row:
    """Jobs that differ in their seed alone.

    Attributes:
        data: Name of the data.
        method: Name of the method.
        settings: Values of the other settings in which the jobs of the whole table differ, by their path.
        rank: The rank.
        completed: Number of completed jobs; the figures are theirs.
        failed: Number of failed jobs.
        diverged: Number of diverged jobs.
        figures: Spread of each of ``FIGURES`` that is known of a completed job.
    """

    data: str
    method: str
    settings: dict[str, Any]
    rank: int
    completed: int
    failed: int
    diverged: int
    figures: dict[str, Spread]


def by_method_and_rank(results: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Aggregate results over seeds, and over nothing else.

    Two jobs are in one row if everything in their configs that decides the result is equal, but for the seed and what
    is drawn from it: a ``data.seed`` that is the job's seed wherever it occurs follows it, and one that was chosen is
    a setting. A job that ran more than once (equal seed too) counts once: the last time that it completed, else the
    last time.

    Args:
        results: Results, as in ``result.json``, of any number of sweeps.

    Returns:
        Rows in the order of data, method, settings and rank, whatever the order of the results.

    Example:
        >>> job = {"status": "completed", "method": "svd", "data": "uniform", "rank": 2}
        >>> (row,) = by_method_and_rank(job | {"seed": seed, "relative_2norm": 0.5 + seed} for seed in range(3))
        >>> row.completed, row.figures["relative_2norm"]
        (3, Spread(mean=1.5, deviation=1.0))
    """
    results = list(results)
    jobs = [_deciding(settings(result)) for result in results]
    _mark_what_follows_the_seed(jobs)
    names = [name for name in differing(jobs) if name not in IDENTITY]
    groups: dict[Any, dict[Any, Mapping[str, Any]]] = defaultdict(dict)
    examples: dict[Any, dict[str, Any]] = {}
    for result, job in zip(results, jobs, strict=True):
        key = tuple(hashable(job.get(name)) for name in (*CHOICES, *names, "rank"))
        examples.setdefault(key, job)
        seeds, seed = groups[key], hashable(job["seed"])
        if seed not in seeds or seeds[seed]["status"] != "completed" or result["status"] == "completed":
            seeds[seed] = result
    ordered = sorted(groups, key=lambda key: [_order(value) for value in key])
    return [_row(examples[key], names, list(groups[key].values())) for key in ordered]


def sweep_table(results: Iterable[Mapping[str, Any]]) -> str:
    """Table of mean ± standard deviation over seeds, a line for each ``Row``.

    Data and method stand above the rows if all share them. So do, from the left, as many of the columns before the
    rank as would make the rows wider than 120 characters.

    Args:
        results: Results, as in ``result.json``; at least one.

    Returns:
        The lines, to be printed as they are.
    """
    rows = by_method_and_rank(results)
    lead = {"data": [row.data for row in rows], "method": [row.method for row in rows]}
    above = [name for name, values in lead.items() if len(set(values)) == 1]
    lead |= {name: [_text(name, row.settings[name]) for row in rows] for name in rows[0].settings}
    beside = [name for name in lead if name not in above]
    numbers = {"rank": [str(row.rank) for row in rows], "n": [str(row.completed) for row in rows]}
    for name in ("failed", "diverged"):
        if any(getattr(row, name) for row in rows):
            numbers[name] = [str(getattr(row, name) or "") for row in rows]
    for name, header in FIGURES.items():
        if name != "accuracy" or any(name in row.figures for row in rows):
            numbers[header] = _spreads([row.figures.get(name) for row in rows], name)
    while len((lines := _lines({name: lead[name] for name in beside}, numbers))[0]) > _WIDTH and beside:
        above.append(beside.pop(0))
    heads = [_head({name: lead[name][row] for name in lead if name in above}) for row in range(len(rows))]
    header, *body = (line.rstrip() for line in lines)
    shown = ["mean ± standard deviation over seeds; n seeds; relative errors, and their excess over the optimum"]
    for head, block in itertools.groupby(zip(heads, body, strict=True), key=lambda pair: pair[0]):
        shown += ["", *([head] if head else []), header, *(line for _, line in block)]
    return "\n".join(shown)


def _deciding(job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in job.items() if name.partition(".")[0] in DECIDING or name == "trainer.precision"
    }


def _mark_what_follows_the_seed(jobs: Sequence[dict[str, Any]]) -> None:
    # A resolved config does not tell whether data.seed was 0 because the seed was, or by choice.
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


def _row(job: Mapping[str, Any], names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Row:
    completed = [result for result in results if result["status"] == "completed"]
    figures = {}
    for name in FIGURES:
        values = [result[name] for result in completed if result.get(name) is not None]
        if values:
            figures[name] = Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
    return Row(
        data=job["data"],
        method=job["method"],
        settings={name: job.get(name) for name in names},
        rank=job["rank"],
        completed=len(completed),
        failed=sum(result["status"] == "failed" for result in results),
        diverged=sum(result["status"] == "diverged" for result in results),
        figures=figures,
    )


def _order(value: Any) -> tuple[int, float, str]:
    # None, then numbers by size, then all else as it reads.
    if value is None:
        return (0, 0, "")
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value))


def _lines(texts: Mapping[str, Sequence[str]], numbers: Mapping[str, Sequence[str]]) -> list[str]:
    columns = [[f"{cell:<{width}}" for cell in column] for column, width in _columns(_short(texts, numbers))]
    columns += [[f"{cell:>{width}}" for cell in column] for column, width in _columns(numbers)]
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]


def _columns(columns: Mapping[str, Sequence[str]]) -> list[tuple[list[str], int]]:
    return [([name, *cells], max(map(len, (name, *cells)))) for name, cells in columns.items()]


def _head(texts: Mapping[str, str]) -> str:
    return " ".join(f"{_path(name)}={text}" for name, text in texts.items() if text != _NONE)


def _short(columns: Mapping[str, Sequence[str]], taken: Container[str]) -> dict[str, Sequence[str]]:
    last = [_path(name).rpartition(".")[2] for name in columns]
    return {
        _path(name) if short in taken or last.count(short) > 1 else short: cells
        for short, (name, cells) in zip(last, columns.items(), strict=True)
    }


def _path(name: str) -> str:
    return name if name.startswith(CHOICES) else name.removesuffix("._target_")


def _text(name: str, value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, str):
        return value.rpartition(".")[2] if name.endswith("._target_") else value
    return json.dumps(value, separators=(",", ":"), default=str)


def _spreads(spreads: Sequence[Spread | None], name: str) -> list[str]:
    cells = [(_NONE, "", "") if spread is None else _spread(spread, name) for spread in spreads]
    left, right = (max(len(cell[side]) for cell in cells) for side in (0, 2))
    return [f"{mean:>{left}} {sign:1} {deviation:<{right}}" for mean, sign, deviation in cells]


def _spread(spread: Spread, name: str) -> tuple[str, str, str]:
    mean, deviation = spread
    if name == "accuracy":
        return f"{mean:.3f}", "±", _NONE if deviation is None else f"{deviation:.3f}"
    if name.startswith("excess"):
        return _scientific(mean, 1), "±", _scientific(deviation, 1)
    # Below a thousandth, decimals would show less than what is known.
    shown = f"{mean:.6f}" if mean >= 1e-3 else _scientific(mean, 2)
    return shown, "±", f"{deviation:.4f}" if deviation and deviation >= 1e-3 else _scientific(deviation, 1)


def _scientific(value: float | None, digits: int) -> str:
    return _NONE if value is None else "0" if value == 0 else f"{value:.{digits}e}"
