import re
from typing import Any

import pytest
from jobs import job, seeds

from eckart.results.aggregate import AVERAGED, by_method_and_rank
from eckart.results.screen import Screen, length
from eckart.results.summary import sweep_table

TITLE = "mean ± standard deviation over n seeds; excess = error − optimum"
WIDE = Screen(130)


def numbered() -> list[dict[str, Any]]:
    results = [*seeds(2), *seeds(2, method="svd", optimizer="none")]
    for number, result in enumerate(results):
        result |= {"relative_2norm": 0.25 + number / 100, "relative_frobenius": 0.5 + number / 8}
        result |= {"excess_2norm": 1e-11 * (1 + number), "excess_frobenius": 0.0, "accuracy": 0.125 + number / 4}
    return [*results, job(rank=3, seed=5, status="failed"), job(rank=3, seed=6, status="diverged")]


def test_the_whole_table_of_a_sweep_on_a_wide_screen() -> None:
    assert sweep_table(numbered(), Screen(140)).splitlines() == [
        TITLE,
        "",
        "data=uniform",
        "                                       ────────── relative error ──────────  ────────── excess ──────────",
        "method      rank  n  failed  diverged             2-norm          Frobenius"
        "             2-norm  Frobenius       accuracy",
        "bottleneck     2  2                    0.255000 ± 0.0071  0.562500 ± 0.0884"
        "  1.5e-11 ± 7.1e-12      0 ± 0  0.250 ± 0.177",
        "bottleneck     3  0       1         1         –                  –         "
        "        –                –          –",
        "svd            2  2                    0.275000 ± 0.0071  0.812500 ± 0.0884"
        "  3.5e-11 ± 7.1e-12      0 ± 0  0.750 ± 0.177",
    ]


def test_of_a_target_with_missing_entries_the_errors_that_are_known_are_shown() -> None:
    unknown = dict.fromkeys(AVERAGED)
    results = [job(rank=rank) | unknown | {"relative_observed": 0.25 / rank} for rank in (1, 2)]
    assert sweep_table(results).splitlines() == [
        "one seed",
        "",
        "data=uniform method=bottleneck",
        "rank  n  error, observed",
        "   1  1          2.5e-01",
        "   2  1          1.2e-01",
    ]
    results[1]["relative_held_out"] = 0.5
    *_, first, second = sweep_table(results).splitlines()
    assert (first.split(), second.split()) == (["1", "1", "2.5e-01", "–"], ["2", "1", "1.2e-01", "5.0e-01"])


def test_a_table_that_fits_80_columns_has_fewer_digits_and_what_is_left_over_below() -> None:
    errors = "──────── relative error ────────"
    header = "rank  n  failed  diverged           2-norm        Frobenius   2-norm  Frobenius"
    assert sweep_table(numbered()).splitlines() == [
        TITLE,
        "",
        "data=uniform method=bottleneck",
        f"                           {errors}  ── mean excess ───",
        header,
        "   2  2                    0.2550 ± 0.0071  0.5625 ± 0.0884  1.5e-11          0",
        "   3  0       1         1       –                –                 –          –",
        "",
        "rank       accuracy",
        "   2  0.250 ± 0.177",
        "   3      –",
        "",
        "data=uniform method=svd",
        f"                           {errors}  ── mean excess ───",
        header,
        "   2  2                    0.2750 ± 0.0071  0.8125 ± 0.0884  3.5e-11          0",
        "",
        "rank       accuracy",
        "   2  0.750 ± 0.177",
    ]


def test_a_sweep_that_shares_no_setting_has_nothing_above_its_rows() -> None:
    results = [job(data=data, method=method) for data in ("uniform", "photo") for method in ("bottleneck", "linear")]
    for result in results:
        result |= {"relative_2norm": 0.25, "relative_frobenius": 0.5, "excess_2norm": 1e-11, "excess_frobenius": 0.0}
    figures = "   2  1  0.250000   0.500000  1.0e-11          0"
    assert sweep_table(results).splitlines() == [
        "one seed; excess = error − optimum",
        "",
        "                              ── relative error ─  ───── excess ─────",
        "data     method      rank  n    2-norm  Frobenius   2-norm  Frobenius",
        f"photo    bottleneck  {figures}",
        f"uniform  bottleneck  {figures}",
        f"photo    linear      {figures}",
        f"uniform  linear      {figures}",
    ]


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", re.sub(r" *± *", "±", line.strip()))


def test_table_shows_the_rows() -> None:
    results = [*seeds(3), *seeds(3, rank=10), *seeds(2, method="svd", optimizer="none"), job(seed=7, status="failed")]
    for number, result in enumerate(results[:-1]):
        result |= {"relative_2norm": 0.25 + number / 100, "excess_2norm": 1e-11 * (1 + number), "accuracy": None}
    title, blank, head, _, header, *body = sweep_table(results, WIDE).splitlines()
    assert (title, blank, head) == (TITLE, "", "data=uniform")
    columns = ["method", "rank", "n", "failed", "2-norm", "Frobenius", "2-norm", "Frobenius"]
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
    for row in body:
        assert row[header.index("rank") + 3] in "02"


def test_completions_are_counted_by_their_verdict() -> None:
    verdicts = ("recovered", "recovered", "did not fit")
    results = [job(seed=seed) | {"verdict": verdict} for seed, verdict in enumerate(verdicts)]
    header, row = sweep_table([*results, job(method="svd")], WIDE).splitlines()[-3:-1]
    assert cells(header)[:4] == ["method", "rank", "n", "recovered"] and cells(row)[3] == "2"
    assert sweep_table([*results, job(method="svd")], WIDE).splitlines()[-1].split()[3] == "–"
    assert "recovered" not in sweep_table([job(), job(seed=1)], WIDE)


def test_small_errors_keep_their_digits() -> None:
    for screen in (WIDE, Screen(80)):
        (line,) = sweep_table([job() | {"relative_2norm": 3.19858e-9}], screen).splitlines()[5:]
        assert cells(line)[2] == "3.20e-09"


def test_table_says_what_was_swept() -> None:
    results = [*seeds(2), *seeds(2, optimizer__lr=1e-3), *seeds(2, optimizer="sgd"), *seeds(2, method__max_steps=7)]
    header, *body = sweep_table(results, WIDE).splitlines()[4:]
    assert cells(header)[:3] == ["max_steps", "optimizer", "lr"]
    assert [line.split()[:3] for line in body] == [
        ["7", "Adam", "0.1"],
        ["100", "Adam", "0.001"],
        ["100", "Adam", "0.1"],
        ["100", "SGD", "0.1"],
    ]


def test_table_of_jobs_that_all_failed() -> None:
    lines = sweep_table([job(rank=30, seed=seed, status="failed") for seed in range(2)]).splitlines()
    assert cells(lines[4])[:3] == ["rank", "n", "failed"]
    assert lines[5].split() == ["30", "0", "2", "–", "–", "–", "–"]


def test_colors_tell_what_is_rounding_and_what_failed() -> None:
    results = numbered()
    results[0]["excess_2norm"] = results[1]["excess_2norm"] = 1e-16
    painted = sweep_table(results, Screen(140, colored=True))
    plain = sweep_table(results, Screen(140))
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain and "\x1b" not in plain
    rows = [line for line in painted.splitlines() if re.match("bottleneck|svd", line)]
    assert "\x1b[32m1.0e-16 ± 0      \x1b[0m" in rows[0] and "\x1b[32m3.5e-11" not in rows[2]
    assert rows[1].count("\x1b[31m1\x1b[0m") == 2


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    results = [job(data="\x1b[2Jphoto", data__path=path) for path in ("a\r\nb", "\x1b]0;title\x07")]
    text = sweep_table(results)
    assert text.replace("\n", "").isprintable() and "[2Jphoto" in text and "a b" in text and "]0;title" in text


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("figure", [0.123456789, 1.23456e-12, -1.23456e-17])
@pytest.mark.parametrize("failing", [(), ("failed", "diverged")])
@pytest.mark.parametrize("accuracy", [None, 0.987])
@pytest.mark.parametrize("swept", [{}, {"optimizer__lr": 1e-3}, {"data__path": "/a/long/path/" * 9 + "矩陣"}])
def test_every_line_fits_and_nothing_is_lost(
    columns: int, figure: float, failing: tuple[str, ...], accuracy: float | None, swept: dict[str, Any]
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
    text = sweep_table(results, Screen(columns))
    assert max(map(length, text.splitlines())) <= columns
    # What does not fit beside the figures stands above them, and figures stand below each other: nothing is lost.
    joined = "".join(text.split())
    for name in ("factorized_linear", "bottleneck", "color_wheel", "uniform", *map(str, swept.values())):
        assert name in joined
    rows, blocks = len(by_method_and_rank(results)), set(re.findall("2-norm|Frobenius|accuracy", text))
    assert blocks == {"2-norm", "Frobenius"} | ({"accuracy"} if accuracy else set())
    # Each block has each row once.
    assert text.count(" 400  ") % rows == 0 and text.count(" 400  ") >= rows
