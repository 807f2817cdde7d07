"""Curves over the rank, from a few measured values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from eckart.compression.interpolation import falling, rising, some_ranks


@pytest.mark.parametrize("largest", [1, 2, 7, 784])
def test_ranks_cover_the_range(largest: int) -> None:
    ranks = some_ranks(largest)
    assert ranks[0] == 1 and ranks[-1] == largest and ranks == sorted(set(ranks)) and len(ranks) <= 8


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.floats(0, 10), min_size=4, max_size=4))
def test_monotone_and_through_what_isotonic_regression_gives(values: list[float]) -> None:
    ranks = [1, 3, 9, 20]
    up = rising(ranks, values, 24)
    assert (np.diff(up) >= 0).all() and len(up) == 24
    expected = IsotonicRegression().fit_transform(ranks, values)
    assert up[[0, 2, 8, 19]] == pytest.approx(expected, abs=1e-9)
    down = falling(ranks, values, 20)
    assert (np.diff(down) <= 0).all() and (down >= 0).all()
    expected = IsotonicRegression(increasing=False).fit_transform(ranks, values)
    assert down[[0, 2, 8, 19]] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_not_linear_between() -> None:
    # A power law stays one; a straight line from 16 to 1 would give 13.
    assert falling([1, 16], [16.0, 1.0], 16)[3] == pytest.approx(4, rel=1e-4)
    # An affine cost stays affine, also beyond the measured ranks.
    assert rising([2, 4, 8], [3.0, 5.0, 9.0], 12) == pytest.approx(np.arange(2.0, 14.0))


def test_noise_below_zero_is_no_loss() -> None:
    assert falling([1, 2, 4], [1.0, 1e-3, -1e-3], 4)[-1] == 0
    assert falling([1, 2], [0.0, -1.0], 2).tolist() == [0.0, 0.0]
