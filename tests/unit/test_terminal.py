import re
from typing import Any

import pytest
from jobs import job, seeds

from eckart.results.aggregate import AVERAGED, by_method_and_rank
from eckart.results.terminal import sweep_table


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
        job(method=method, data=data, rank=400, seed=seed, **settings) | dict.fromkeys(AVERAGED, figure * (1 + seed))
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
