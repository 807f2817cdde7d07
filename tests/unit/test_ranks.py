import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import gaussian

from eckart.linalg.ranks import numerical_rank
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
