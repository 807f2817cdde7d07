import csv
import inspect
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eckart.reproduction import verdicts
from eckart.reproduction.claims import read_claims
from eckart.reproduction.verdicts import Sample, Verdict, compare, compare_bound, margin

DOCS = Path(__file__).parents[2] / "docs"
REPRODUCED, NOT_REPRODUCED, UNDECIDED = Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.UNDECIDED
NARROW = Sample(mean=0.50, deviation=0.02, count=40)


@pytest.mark.parametrize(("draws", "count"), [(1, 5), (1, 40), (10, 40), (10, 3)])
def test_the_margin_covers_nineteen_of_twenty_documents(draws: int, count: int) -> None:
    rng = np.random.default_rng(0)
    trials = 1000
    documents = rng.normal(0.3, 0.1, (trials, draws)).mean(1)
    here = rng.normal(0.3, 0.1, (trials, count))
    covered = [
        abs(sample.mean - document) <= margin(sample, draws)
        for document, sample in zip(documents, map(Sample.of, here.tolist()), strict=True)
    ]
    # Three standard errors of a fraction of 0.95. Twice the margin covers at least 0.99.
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / trials))


def test_the_margin_of_a_bound_is_the_interval_of_the_mean() -> None:
    low, high = stats.t.interval(0.95, 6, loc=0.5, scale=0.1 / math.sqrt(7))
    assert margin(Sample(0.5, 0.1, 7), None) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_value_is_reproduced_up_to_the_margin_and_no_further(draws: int, side: int) -> None:
    allowed = margin(NARROW, draws)
    assert compare(0.5 + side * 0.99 * allowed, 0.0, draws, NARROW) == REPRODUCED
    assert compare(0.5 + side * 1.01 * allowed, 0.0, draws, NARROW) == NOT_REPRODUCED


def test_a_mean_is_compared_with_the_mean_and_not_with_the_median() -> None:
    here = [0.1] * 300 + [0.5] * 100
    sample = Sample.of(here)
    assert sample.mean == pytest.approx(0.2) and statistics.median(here) == 0.1
    assert compare(0.2, 0.0, 1000, sample) == REPRODUCED
    assert compare(0.1, 0.0, 1000, sample) == NOT_REPRODUCED


@pytest.mark.parametrize("value", [0.25, 1.0, 2.0, -0.5, 0.0])
def test_wrong_values_are_not_reproduced(value: float) -> None:
    assert compare(0.5, 0.0, 1, NARROW) == REPRODUCED
    assert compare(value, 0.0, 1, NARROW) == NOT_REPRODUCED


@given(
    value=st.floats(1e-6, 1e6),
    near=st.floats(0.5, 2.0),
    spread=st.floats(0.0, 3.0),
    count=st.integers(2, 100),
    draws=st.integers(1, 100),
)
def test_neither_half_nor_twice_a_reproduced_value_is_reproduced(
    value: float, near: float, spread: float, count: int, draws: int
) -> None:
    sample = Sample(value * near, value * spread, count)
    if compare(value, 0.0, draws, sample) == REPRODUCED:
        assert compare(2 * value, 0.0, draws, sample) == NOT_REPRODUCED
        assert compare(value / 2, 0.0, draws, sample) == NOT_REPRODUCED


@pytest.mark.parametrize("deviation", [0.1, 0.5, 5.0])
def test_a_spread_that_would_accept_almost_anything_decides_nothing(deviation: float) -> None:
    wide = Sample(0.5, deviation, 40)
    assert compare(0.5, 0.0, 1, wide) == UNDECIDED
    # A value that even a wide margin excludes is decided.
    assert compare(100.0, 0.0, 1, wide) == NOT_REPRODUCED


def test_the_margin_is_judged_by_the_part_of_an_error_that_training_decides() -> None:
    # The document's error is 1.0015, of which its SVD leaves 1: a margin of 0.001 accepts 1.0005 as well as 1.0025.
    sample = Sample(1.0015, 0.0005, 40)
    assert compare(1.0015, 0.0, 1, sample) == REPRODUCED
    assert compare(1.0015, 0.0, 1, sample, optimum=1.0) == UNDECIDED


def test_of_one_seed_only_the_printed_decimals_count() -> None:
    assert compare(0.1219, 5e-5, 1, Sample.of([0.121911])) == REPRODUCED
    assert compare(0.1219, 5e-5, 1, Sample.of([0.121960])) == NOT_REPRODUCED
    assert compare(0.0, 5e-11, 1, Sample.of([1e-14])) == REPRODUCED
    assert compare(0.0, 5e-11, 1, Sample.of([1e-10])) == NOT_REPRODUCED


def test_a_value_whose_inputs_are_not_given_is_never_reproduced() -> None:
    assert compare(0.5, 0.0, 1, NARROW, complete=False) == UNDECIDED
    assert compare(1.0, 0.0, 1, NARROW, complete=False) == NOT_REPRODUCED
    assert compare_bound(0.1, NARROW, complete=False) == UNDECIDED


def test_a_mean_that_is_not_finite_is_not_reproduced() -> None:
    assert compare(0.5, 0.0, 1, Sample(math.nan, math.nan, 4)) == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("bound", "verdict"), [(0.49, REPRODUCED), (0.499, UNDECIDED), (0.501, UNDECIDED), (0.51, NOT_REPRODUCED)]
)
def test_words_are_a_bound_on_the_mean(bound: float, verdict: Verdict) -> None:
    assert compare_bound(bound, NARROW) == verdict


def written() -> list[dict[str, str]]:
    with (DOCS / "reproduction.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_page_states_the_rule_that_the_code_states() -> None:
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    rule = inspect.cleandoc(verdicts.__doc__ or "")
    assert rule in page
    assert page.index(rule) < page.index("| experiment |"), "the rule stands before the values"


def test_every_written_verdict_is_the_rule_s_and_fails_for_wrong_values() -> None:
    claims, seen = read_claims(), set()
    for row in written():
        claim = claims[row["experiment"]]
        (point,) = [p for p in claim.points if (p.label, p.quantity) == (row["value_of"], row["quantity"])]
        if isinstance(point.value, str | None):
            continue
        sample = Sample(float(row["here_mean"]), float(row["here_sd"]), int(row["seeds"]))
        options: dict[str, Any] = {
            "optimum": float(claim.settings.get("svd_value", 0)),
            "complete": "missing" not in claim.settings,
        }
        draws = claim.settings.get("of", 1)
        assert row["verdict"] == compare(point.value, point.printed, draws, sample, **options), row
        seen.add(row["verdict"])
        for wrong in (2 * point.value, point.value / 2) if point.value else (1.0,):
            assert compare(wrong, point.printed, draws, sample, **options) != REPRODUCED, row
    assert seen == {"reproduced", "not reproduced", "undecided"}
