import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian

from eckart.linalg.ranks import check_rank, numerical_rank
from eckart.linalg.svd import singular_values


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 9), n=st.integers(1, 9), rank=st.integers(0, 9), batch=st.integers(1, 3), seed=st.integers(0, 9)
)
def test_numerical_rank_counts_the_factors(m: int, n: int, rank: int, batch: int, seed: int) -> None:
    matrix = gaussian(batch, m, rank, seed=seed) @ gaussian(batch, rank, n, seed=seed + 1)
    found = numerical_rank(singular_values(matrix), matrix.shape)
    assert found.tolist() == np.linalg.matrix_rank(matrix.numpy()).tolist()


def test_numerical_rank_depends_on_the_precision() -> None:
    spectrum = torch.tensor([1.0, 1e-3, 1e-9], dtype=torch.float64)
    assert numerical_rank(spectrum, (10, 3)) == 3
    assert numerical_rank(spectrum.float(), (10, 3)) == 2
    assert numerical_rank(torch.zeros(2, 3), (2, 10, 3)).tolist() == [0, 0]


def test_roundoff_grows_with_the_larger_side() -> None:
    spectrum = torch.tensor([1.0, 5 * torch.finfo(torch.float64).eps], dtype=torch.float64)
    shapes = [(2, 2), (2, 10), (10, 2), (4, 3), (2, 5), (50, 2, 2)]
    assert [int(numerical_rank(spectrum, shape)) for shape in shapes] == [2, 1, 1, 2, 1, 2]


@pytest.mark.parametrize(("rank", "shape"), [(0, (3, 4)), (4, (3, 4)), (4, (9, 4, 3)), (2, (1,))])
def test_impossible_rank_is_refused(rank: int, shape: tuple[int, ...]) -> None:
    limit = min(shape[-2:])
    with pytest.raises(ValueError, match=rf"^The target's rank must satisfy 1 <= rank <= min\(m, n\) = {limit}\. "):
        check_rank(rank, shape, name="The target's rank")
    check_rank(1, shape)
    check_rank(limit, shape)
    with pytest.raises(ValueError, match=rf"^The rank must satisfy .* Found {rank}\.$"):
        check_rank(rank, shape)
