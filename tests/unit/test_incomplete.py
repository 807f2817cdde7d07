import re

import numpy as np
import pytest
import torch

from eckart.data.incomplete import PATTERNS, conditioned, mask
from eckart.linalg.ranks import numerical_rank


@pytest.mark.parametrize("condition", [1.0, 1e5])
def test_the_spectrum_is_log_spaced(condition: float) -> None:
    matrix = conditioned(30, 40, 4, condition, 0.0, seed=1)
    s = torch.linalg.svdvals(matrix)
    np.testing.assert_allclose(s[:4], condition ** (np.arange(3, -1, -1) / 3), rtol=1e-9)
    assert int(numerical_rank(s, (30, 40))) == 4
    noisy = conditioned(30, 40, 4, condition, 0.1, seed=1)
    assert float(torch.linalg.matrix_norm(noisy - matrix) / torch.linalg.matrix_norm(matrix)) == pytest.approx(0.1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("oversampling", [1.1, 2.0])
def test_a_mask_has_its_number_of_entries_and_enough_in_each_row_and_column(pattern: str, oversampling: float) -> None:
    rows, cols, rank = 60, 50, 4
    observed = mask(rows, cols, rank, oversampling, pattern, seed=2)
    assert int(observed.sum()) == round(oversampling * rank * (rows + cols - rank))
    assert int(observed.sum(0).min()) >= rank and int(observed.sum(1).min()) >= rank
    assert torch.equal(observed, mask(rows, cols, rank, oversampling, pattern, seed=2))
    assert not torch.equal(observed, mask(rows, cols, rank, oversampling, pattern, seed=3))


def test_patterns_prefer_what_they_say() -> None:
    law, blocks, even = (mask(200, 200, 2, 4.0, pattern, seed=0).double() for pattern in PATTERNS[1:] + PATTERNS[:1])
    # 1 / sqrt(i): the first eighth of the rows has about a third of the entries.
    assert 0.25 < law[:25].sum() / law.sum() < 0.45 and 0.09 < even[:25].sum() / even.sum() < 0.16
    diagonal = torch.block_diag(*[torch.ones(50, 50)] * 4)
    assert 0.65 < (blocks * diagonal).sum() / blocks.sum() < 0.8 and (even * diagonal).sum() / even.sum() < 0.3


@pytest.mark.parametrize(("oversampling", "count"), [(0.5, 48), (100.0, 9600)])
def test_a_mask_that_cannot_be_is_refused(oversampling: float, count: int) -> None:
    found = f"60 to 600 entries of a 20×30 matrix of rank 2. Found oversampling={oversampling}, which gives {count}."
    with pytest.raises(ValueError, match=re.escape(found)):
        mask(20, 30, 2, oversampling, "uniform", seed=0)
    with pytest.raises(ValueError, match=r"pattern must be one of: uniform, power_law, blocks\. Found 'even'\.$"):
        mask(20, 30, 2, 2.0, "even", seed=0)
    with pytest.raises(ValueError, match=r"condition must be at least 1\. Found 0\.5\.$"):
        conditioned(20, 30, 2, 0.5, 0.0, seed=0)
    with pytest.raises(ValueError, match=r"noise must not be negative\. Found -1\.$"):
        conditioned(20, 30, 2, 2.0, -1, seed=0)
