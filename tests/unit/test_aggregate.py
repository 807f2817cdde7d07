import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eckart.results.aggregate import FIGURES, Row, Spread, by_method_and_rank, sweep_table

TARGETS = {"adam": "torch.optim.Adam", "sgd": "torch.optim.SGD", "none": None}


def job(
    *,
    method: str = "bottleneck",
    data: str = "uniform",
    rank: int = 2,
    seed: int = 0,
    status: str = "completed",
    optimizer: str = "adam",
    data_seed: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Result of a job with a config like those that Hydra composes; ``a__b=c`` sets a.b to c."""
    drawn = seed if data_seed is None else data_seed
    config: dict[str, Any] = {
        "rank": rank,
        "seed": seed,
        "name": None,
        "ckpt": None,
        "data": {"source": {"rows": 12, "seed": drawn}, "rows": 12, "seed": drawn},
        "method": {"_target_": f"eckart.{method}", "max_steps": 100} if method != "svd" else {"solver": "exact"},
        "optimizer": {"_target_": TARGETS[optimizer], **({} if optimizer == "none" else {"lr": 0.1})},
        "schedule": {"_target_": None},
        "trainer": {"precision": None, "accelerator": "auto"},
        "logger": {"history": True},
    }
    for path, value in changes.items():
        *groups, last = path.split("__")
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    rng = random.Random(json.dumps([config, method, data]))
    figures = {name: rng.gauss(0, 1) if status == "completed" else None for name in FIGURES if name != "accuracy"}
    return {"status": status, "method": method, "data": data, "rank": rank, "seed": seed, "config": config, **figures}


def seeds(count: int, **settings: Any) -> list[dict[str, Any]]:
    return [job(seed=seed, **settings) for seed in range(count)]


def settings_of(rows: list[Row]) -> list[dict[str, Any]]:
    return [row.settings for row in rows]


def test_means_and_sample_standard_deviations_are_those_of_numpy() -> None:
    results = [*seeds(5), *seeds(3, rank=5), *seeds(4, method="svd", optimizer="none")]
    rows = by_method_and_rank(results)
    assert [(row.data, row.method, row.rank, row.completed) for row in rows] == [
        ("uniform", "bottleneck", 2, 5),
        ("uniform", "bottleneck", 5, 3),
        ("uniform", "svd", 2, 4),
    ]
    for row in rows:
        mine = [result for result in results if (result["method"], result["rank"]) == (row.method, row.rank)]
        assert row.figures.keys() == FIGURES.keys() - {"accuracy"}
        for name, spread in row.figures.items():
            values = np.array([result[name] for result in mine])
            np.testing.assert_allclose(np.array(spread), (values.mean(), values.std(ddof=1)), rtol=1e-12)


def test_one_job_has_no_standard_deviation() -> None:
    (row,) = by_method_and_rank([job() | {"accuracy": 0.5}])
    assert row.figures["accuracy"] == Spread(0.5, None)


def test_failures_are_counted_and_enter_no_mean() -> None:
    failed = job(seed=3, status="failed")
    diverged = [job(seed=seed, status="diverged") | {"relative_2norm": 1e9} for seed in (4, 5)]
    (row,) = by_method_and_rank([failed, *seeds(3), *diverged])
    (alone,) = by_method_and_rank(seeds(3))
    assert (row.completed, row.failed, row.diverged) == (3, 1, 2)
    assert row.figures == alone.figures
    (none,) = by_method_and_rank([failed])
    assert (none.completed, none.failed, none.figures) == (0, 1, {})


def test_a_figure_that_some_jobs_lack_is_that_of_the_others() -> None:
    first, second, third = seeds(3)
    (row,) = by_method_and_rank([first, second | {"excess_2norm": None}, third])
    assert row.completed == 3
    values = [first["excess_2norm"], third["excess_2norm"]]
    np.testing.assert_allclose(np.array(row.figures["excess_2norm"]), (np.mean(values), np.std(values, ddof=1)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("optimizer.lr", [0.1, 0.2]),
        ("method.max_steps", [100, 200]),
        ("trainer.precision", [None, "32-true"]),
        ("ckpt", [None, "last.ckpt"]),
        ("data.rows", [12, 13]),
    ],
)
def test_nothing_but_seeds_is_averaged(name: str, values: list[Any]) -> None:
    path = name.replace(".", "__")
    results = [result for value in values for result in seeds(2, **{path: value})]
    rows = by_method_and_rank(results)
    assert settings_of(rows) == [{name: value} for value in values]
    assert [row.completed for row in rows] == [2, 2]


@pytest.mark.parametrize("path", ["name", "trainer__accelerator", "logger__history"])
def test_what_does_not_decide_a_result_makes_no_row(path: str) -> None:
    others: list[dict[str, Any]] = [{path: f"other{seed}"} for seed in range(3)]
    (row,) = by_method_and_rank(job(seed=seed, **other) for seed, other in enumerate(others))
    assert (row.completed, row.settings) == (3, {})


def test_a_value_made_from_another_is_named_once() -> None:
    results = [job(data__rows=rows, data__source__rows=rows) for rows in (12, 13)]
    assert settings_of(by_method_and_rank(results)) == [{"data.rows": 12}, {"data.rows": 13}]


def test_what_comes_with_a_method_is_not_named() -> None:
    results = [*seeds(2), *seeds(2, method="svd", optimizer="none")]
    assert settings_of(by_method_and_rank(results)) == [{}, {}]


def test_data_drawn_by_the_seed_are_averaged_over() -> None:
    (row,) = by_method_and_rank(seeds(4))
    assert (row.completed, row.settings) == (4, {})


def test_a_seed_of_the_data_that_was_chosen_is_a_setting() -> None:
    grid = [job(seed=seed, data_seed=drawn) for seed in range(3) for drawn in range(2)]
    rows = by_method_and_rank(grid)
    assert settings_of(rows) == [{"data.seed": 0}, {"data.seed": 1}]
    assert [row.completed for row in rows] == [3, 3]
    # One value for all seeds is one target for all.
    (row,) = by_method_and_rank(seeds(3, data_seed=1))
    assert (row.completed, row.settings) == (3, {})


def test_chosen_and_following_seeds_of_the_data_stay_apart() -> None:
    following, chosen = seeds(3), seeds(2, data_seed=7)
    rows = by_method_and_rank([*following, *chosen])
    assert [(row.settings["data.seed"], row.completed) for row in rows] == [(7, 2), ("${seed}", 3)]
    # A seed that was chosen for one method says nothing of another's.
    other = seeds(9, method="factorization")
    rows = by_method_and_rank([*other, *chosen])
    assert [(row.method, row.settings["data.seed"], row.completed) for row in rows] == [
        ("bottleneck", 7, 2),
        ("factorization", "${seed}", 9),
    ]


def test_a_job_that_ran_again_counts_once() -> None:
    first, second, third = seeds(3)
    again = second | {"relative_2norm": 100.0}
    (row,) = by_method_and_rank([first, job(seed=1, status="failed"), second, third, again])
    assert (row.completed, row.failed) == (3, 0)
    assert row.figures["relative_2norm"].mean == pytest.approx(
        np.mean([first["relative_2norm"], 100.0, third["relative_2norm"]])
    )
    # What completed once is not undone by a later failure.
    (row,) = by_method_and_rank([first, second, third, job(seed=1, status="failed")])
    assert (row.completed, row.failed) == (3, 0)


def configurations() -> Iterator[dict[str, Any]]:
    for method, rank, hidden in itertools.product(("svd", "bottleneck", "factorization"), (1, 10, 2), (None, [8, 2])):
        for optimizer, lr in itertools.product(("none",) if method == "svd" else ("adam", "sgd"), (0.1, 1e-3)):
            special = {} if method == "svd" else {"method__hidden": hidden, "optimizer__lr": lr}
            yield {"method": method, "rank": rank, "optimizer": optimizer, **special}


@given(st.sets(st.tuples(st.integers(0, 59), st.integers(0, 4)), min_size=1), st.randoms())
def test_rows_are_the_groups_of_equal_configs_in_one_order(chosen: set[tuple[int, int]], shuffle: Any) -> None:
    every = list(configurations())
    groups: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for number, seed in chosen:
        configuration = every[number % len(every)]
        groups[json.dumps(configuration)][seed] = job(seed=seed, **configuration)
    results = [result for group in groups.values() for result in group.values()]
    rows = by_method_and_rank(results)
    expected = sorted(
        (len(group), np.mean([result["relative_2norm"] for result in group.values()])) for group in groups.values()
    )
    found = sorted((row.completed, row.figures["relative_2norm"].mean) for row in rows)
    np.testing.assert_allclose(found, expected)
    # Settings tell the rows apart.
    assert len({str((row.data, row.method, row.settings, row.rank)) for row in rows}) == len(rows)
    shuffled = list(results)
    shuffle.shuffle(shuffled)
    again = by_method_and_rank(shuffled)
    assert [(row.method, row.settings, row.rank) for row in again] == [
        (row.method, row.settings, row.rank) for row in rows
    ]


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", re.sub(r" *± *", "±", line.strip()))


def test_table_shows_the_rows() -> None:
    results = [*seeds(3), *seeds(3, rank=10), *seeds(2, method="svd", optimizer="none"), job(seed=7, status="failed")]
    for number, result in enumerate(results[:-1]):
        result |= {"relative_2norm": 0.25 + number / 100, "excess_2norm": 1e-11 * (1 + number), "accuracy": None}
    title, blank, head, header, *body = sweep_table(results).splitlines()
    assert ("mean ± standard deviation over seeds" in title, blank, head) == (True, "", "data=uniform")
    columns = ["method", "rank", "n", "failed", "2-norm error", "Frobenius error", "2-norm excess", "Frobenius excess"]
    assert cells(header) == columns
    assert [line.split()[:3] for line in body] == [
        ["bottleneck", "2", "3"],
        ["bottleneck", "10", "3"],
        ["svd", "2", "2"],
    ]
    assert cells(body[0])[3:5] == ["1", "0.260000±0.0100"] and cells(body[0])[6] == "2.0e-11±1.0e-11"
    assert cells(body[1])[3] == "0.290000±0.0100" and cells(body[1])[5] == "5.0e-11±1.0e-11"
    # Everything stands below its header.
    places = [[match.start() for match in re.finditer("±", line)] for line in body]
    assert places[0] == places[1] == places[2] and len(places[0]) == 4
    for line in body:
        assert line[header.index("rank") + 3] in "02"


def test_table_of_one_seed_has_no_deviation() -> None:
    lines = sweep_table([job() | {"relative_2norm": 0.5, "excess_2norm": 0.0}]).splitlines()
    assert lines[2] == "data=uniform method=bottleneck"
    assert cells(lines[4])[2] == "0.500000±–" and cells(lines[4])[4] == "0±–"


def test_small_errors_keep_their_digits() -> None:
    (line,) = sweep_table([job() | {"relative_2norm": 3.19858e-9}]).splitlines()[4:]
    assert cells(line)[2] == "3.20e-09±–"


def test_table_says_what_was_swept() -> None:
    results = [*seeds(2), *seeds(2, optimizer__lr=1e-3), *seeds(2, optimizer="sgd"), *seeds(2, method__max_steps=7)]
    header, *body = sweep_table(results).splitlines()[3:]
    assert cells(header)[:3] == ["max_steps", "optimizer", "lr"]
    assert [line.split()[:3] for line in body] == [
        ["7", "Adam", "0.1"],
        ["100", "Adam", "0.001"],
        ["100", "Adam", "0.1"],
        ["100", "SGD", "0.1"],
    ]


def test_table_of_jobs_that_all_failed() -> None:
    lines = sweep_table([job(rank=30, seed=seed, status="failed") for seed in range(2)]).splitlines()
    assert cells(lines[3])[:3] == ["rank", "n", "failed"]
    assert lines[4].split() == ["30", "0", "2", "–", "–", "–", "–"]


@pytest.mark.parametrize("figure", [0.123456789, 1.23456e-12, -1.23456e-17])
@pytest.mark.parametrize("failing", [(), ("failed", "diverged")])
@pytest.mark.parametrize("accuracy", [None, 0.987])
@pytest.mark.parametrize("swept", [{}, {"optimizer__lr": 1e-3}, {"data__path": "/a/long/path/" * 9}])
def test_table_fits_the_terminal(
    figure: float, failing: tuple[str, ...], accuracy: float | None, swept: dict[str, Any]
) -> None:
    results = [
        job(method=method, data=data, rank=400, seed=seed, **settings) | dict.fromkeys(FIGURES, figure * (1 + seed))
        for method in ("factorized_linear", "bottleneck")
        for data in ("color_wheel", "uniform")
        for settings in ({}, swept)
        for seed in range(3)
    ]
    for result in results:
        result["accuracy"] = accuracy and accuracy / (1 + result["seed"])
        result |= {name: abs(result[name]) for name in ("relative_2norm", "relative_frobenius")}
    results += [job(rank=400, seed=9 + number, status=status) for number, status in enumerate(failing)]
    title, *lines = sweep_table(results).splitlines()
    heads = [line for line in lines if "=" in line]
    assert max(map(len, {title, *lines}.difference(heads))) <= 120
    # What does not fit beside the figures stands above them: nothing is lost.
    for name in ("factorized_linear", "bottleneck", "color_wheel", "uniform", *map(str, swept.values())):
        assert any(name in line for line in lines)
    assert sum(" 400 " in line for line in lines) == len(by_method_and_rank(results))
