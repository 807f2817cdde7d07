import numpy as np
import pytest
import scipy.sparse.linalg  # type: ignore[import-untyped, unused-ignore]
import sklearn.utils.extmath  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian, with_spectrum

from eckart.linalg.krylov import randomized_svd

MATRICES = {
    "slow decay": gaussian(150, 120),
    "wide": gaussian(90, 300),
    "fast decay": with_spectrum(120, 110, np.logspace(0, -20, 110)),
    "repeated": torch.eye(130, dtype=torch.float64),
    "cluster wider than the rank": with_spectrum(120, 120, np.r_[np.ones(11), np.linspace(0.99, 0, 109)]),
    "rank 3": with_spectrum(120, 100, np.array([3.0, 2.0, 1.0])),
    "rank 7": with_spectrum(100, 120, np.arange(7.0, 0, -1)),
    "zero": torch.zeros(100, 120, dtype=torch.float64),
    "one entry": torch.zeros(100, 100, dtype=torch.float64).index_put(
        (torch.tensor(3), torch.tensor(7)), torch.tensor(2.0).double()
    ),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_leading_triplets_agree_with_lapack(name: str, dtype: torch.dtype, tolerance: float) -> None:
    matrix = MATRICES[name].to(dtype)
    u, s, vh = randomized_svd(matrix, 5)
    reference = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    scale = max(reference[0], 1e-300)
    np.testing.assert_allclose(s, reference[:5], atol=tolerance * scale)
    for basis in (u, vh.mT):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(5), atol=1e-13 if dtype == torch.float64 else 1e-5)
    assert torch.linalg.vector_norm(matrix.mT @ u - vh.mT * s, dim=0).max() <= tolerance * scale
    assert torch.linalg.vector_norm(matrix @ vh.mT - u * s, dim=0).max() <= tolerance * scale


def test_small_matrix_is_decomposed_exactly() -> None:
    u, s, vh = randomized_svd(torch.eye(50, dtype=torch.float64), 20)
    np.testing.assert_allclose(s, np.ones(20), atol=1e-14)
    assert torch.linalg.matrix_rank((u * s) @ vh) == 20


def test_slow_decay_agrees_with_arpack_and_beats_a_fixed_number_of_power_iterations() -> None:
    matrix = gaussian(200, 200, seed=3)
    _, s, _ = randomized_svd(matrix, 10)
    arpack = scipy.sparse.linalg.svds(matrix.numpy(), 10, return_singular_vectors=False, random_state=0)
    np.testing.assert_allclose(s, np.sort(arpack)[::-1], rtol=1e-10)
    exact = np.linalg.svd(matrix.numpy(), compute_uv=False)[:10]
    _, sketched, _ = sklearn.utils.extmath.randomized_svd(matrix.numpy(), 10, random_state=0)
    assert np.abs(s.numpy() - exact).max() < 1e-3 * np.abs(sketched - exact).max()


def test_result_repeats_and_members_of_a_batch_do_not_see_each_other() -> None:
    batch = torch.stack([gaussian(90, 80), MATRICES["one entry"][:90, :80], gaussian(90, 80, seed=1)]).reshape(
        3, 1, 90, 80
    )
    first, again = randomized_svd(batch, 4, seed=5), randomized_svd(batch, 4, seed=5)
    alone = randomized_svd(batch[2, 0], 4, seed=5)
    for a, b, c in zip(first, again, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[2, 0], c)
    assert not torch.equal(first[0], randomized_svd(batch, 4, seed=6)[0])


def test_exhausted_iteration_warns_with_the_residual_it_reached() -> None:
    with pytest.warns(RuntimeWarning, match=r"within max_iterations = 2\. Found \d\.\de-\d\d\.$"):
        randomized_svd(gaussian(200, 200), 5, max_iterations=2)


def test_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 <= rank <= min\(m, n\) = 5\. Found 6\."):
        randomized_svd(gaussian(9, 5), 6)
