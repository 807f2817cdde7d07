import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import job, seeds

from eckart.results.aggregate import AVERAGED, HELD_OUT, OF_NETS, Row, Spread, by_method_and_rank


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
        assert row.spreads.keys() == {*AVERAGED} - {"accuracy", *HELD_OUT, *OF_NETS}
        for name, spread in row.spreads.items():
            values = np.array([result[name] for result in mine])
            np.testing.assert_allclose(np.array(spread), (values.mean(), values.std(ddof=1)), rtol=1e-12)


def test_one_job_has_no_standard_deviation() -> None:
    (row,) = by_method_and_rank([job() | {"accuracy": 0.5}])
    assert row.spreads["accuracy"] == Spread(0.5, None)


def test_failures_are_counted_and_enter_no_mean() -> None:
    failed = job(seed=3, status="failed")
    diverged = [job(seed=seed, status="diverged") | {"relative_2norm": 1e9} for seed in (4, 5)]
    (row,) = by_method_and_rank([failed, *seeds(3), *diverged])
    (alone,) = by_method_and_rank(seeds(3))
    assert (row.completed, row.failed, row.diverged) == (3, 1, 2)
    assert row.spreads == alone.spreads
    (none,) = by_method_and_rank([failed])
    assert (none.completed, none.failed, none.spreads) == (0, 1, {})


def test_a_figure_that_some_jobs_lack_is_that_of_the_others() -> None:
    first, second, third = seeds(3)
    (row,) = by_method_and_rank([first, second | {"excess_2norm": None}, third])
    assert row.completed == 3
    values = [first["excess_2norm"], third["excess_2norm"]]
    np.testing.assert_allclose(np.array(row.spreads["excess_2norm"]), (np.mean(values), np.std(values, ddof=1)))


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
    assert row.spreads["relative_2norm"].mean == pytest.approx(
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
    found = sorted((row.completed, row.spreads["relative_2norm"].mean) for row in rows)
    np.testing.assert_allclose(found, expected)
    # Settings tell the rows apart.
    assert len({str((row.data, row.method, row.settings, row.rank)) for row in rows}) == len(rows)
    shuffled = list(results)
    shuffle.shuffle(shuffled)
    again = by_method_and_rank(shuffled)
    assert [(row.method, row.settings, row.rank) for row in again] == [
        (row.method, row.settings, row.rank) for row in rows
    ]
