import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg import choosing_solver, sparse_products
from eckart.linalg.choosing_solver import auto_svd
from eckart.linalg.gram_lanczos import gram_lanczos
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.operators import Sparse
from eckart.linalg.sparse_products import SparseGram

pytestmark = pytest.mark.usefixtures("one_thread")

PLACES = np.arange(1.0, 121.0)
MATRICES = {
    "flat": gaussian(140, 120),
    "wide": gaussian(110, 160),
    "slow": with_spectrum(130, 120, 1 / PLACES),
    "fast": with_spectrum(130, 120, np.exp(-PLACES / 5)),
    "faster": with_spectrum(130, 120, np.exp(-2.0 * PLACES)),
    "far": with_spectrum(130, 120, 10.0 ** (-PLACES / 10)),
    "tied inside": with_spectrum(130, 120, np.where(PLACES <= 2, 2.0, np.where(PLACES <= 40, 1.0, 0.1))),
    "tied between": with_spectrum(130, 120, np.where(PLACES <= 5, 1.0, 0.9)),
    "nearly tied": with_spectrum(130, 120, 1 - 1e-7 * PLACES),
    "rank 3": with_spectrum(130, 120, [3.0, 2.0, 1.0]),
    "rank 5": with_spectrum(130, 120, [5.0, 4.0, 3.0, 2.0, 1.0]),
    "tiny": with_spectrum(130, 120, 1e-130 / PLACES),
    "huge": with_spectrum(130, 120, 1e130 / PLACES),
    "zero": torch.zeros(130, 120).double(),
    "signs": gaussian(130, 120).sign(),
}


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing_solver, "_SMALL", 20)


def _excess(matrix: Tensor, u: Tensor, s: Tensor, vh: Tensor) -> tuple[float, float]:
    scale = matrix.abs().max().item() or 1.0
    values = torch.linalg.svdvals(matrix / scale)
    residual = torch.linalg.svdvals(matrix / scale - (u * (s / scale)) @ vh)
    rank, norm = len(s), values.norm() or 1.0
    two_norm = (residual[0] - (values[rank] if rank < len(values) else 0)) / (values[0] or 1.0)
    return float(two_norm), float((residual.norm() - values[rank:].norm()) / norm)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("rank", [1, 5, 60, 110])
def test_every_choice_is_as_accurate_as_lapack(name: str, rank: int) -> None:
    matrix = MATRICES[name]
    u, s, vh, solver = auto_svd(matrix, rank)
    assert solver in ("exact", "gram", "randomized")
    assert max(_excess(matrix, u, s, vh)) <= 1e-10
    for basis in (u, vh.mT):
        np.testing.assert_allclose(basis.mT @ basis, np.eye(rank), atol=1e-12)
    assert s.shape == (rank,) and bool((s[:-1] >= s[1:]).all())


@pytest.mark.parametrize(
    ("name", "rank", "solver"),
    [
        ("fast and large", 1, "randomized"),
        # Its convergence would take longer than the Gram matrix.
        ("flat", 2, "gram"),
        ("slow", 60, "gram"),
        # What is left out is lost in the square.
        ("faster", 60, "exact"),
        ("rank 3", 60, "exact"),
    ],
)
def test_the_solver_follows_the_rank_and_the_spectrum(name: str, rank: int, solver: str) -> None:
    large = with_spectrum(1200, 1200, np.exp(-PLACES[:20] / 5))
    assert auto_svd(MATRICES.get(name, large), rank)[3] == solver


def test_copies_of_a_value_beyond_the_width_of_the_block_hide_none_that_is_asked_for() -> None:
    values = np.repeat([3.0, 0.3, 0.01], [10, 3, 20])
    for rank in (8, 12):
        u, s, vh, solver = auto_svd(with_spectrum(600, 600, values), rank)
        assert solver == "randomized"
        np.testing.assert_allclose(s, values[:rank], rtol=1e-9)
        np.testing.assert_allclose(u.mT @ u, np.eye(rank), atol=1e-12)
        np.testing.assert_allclose(vh @ vh.mT, np.eye(rank), atol=1e-12)


def test_the_optimum_is_reached_where_it_is_small() -> None:
    matrix = with_spectrum(400, 150, np.append(1.0, 2e-5 * (1 - 1e-6 * np.arange(149))))
    u, s, vh, _ = auto_svd(matrix, 140)
    optimum = torch.linalg.svdvals(matrix)[140:].norm()
    assert float((matrix - (u * s) @ vh).norm() / optimum) <= 1 + 1e-9


def test_a_small_matrix_is_decomposed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing_solver, "_SMALL", 120)
    assert auto_svd(MATRICES["fast"], 1)[3] == "exact"


def test_single_precision_is_decomposed_in_the_type_that_is_asked_for() -> None:
    matrix = MATRICES["flat"].float()
    u, s, vh, _ = auto_svd(matrix, 3, dtype=torch.float64)
    assert u.dtype == s.dtype == vh.dtype == torch.float64
    assert max(_excess(matrix.double(), u, s, vh)) <= 1e-10
    u, s, vh, solver = auto_svd(matrix, 3)
    assert (u.dtype, solver) == (torch.float32, "gram")
    assert max(_excess(matrix.double(), u.double(), s.double(), vh.double())) <= 1e-6


def _sparse(rows: int, cols: int, share: float = 0.1) -> Tensor:
    return gaussian(rows, cols) * (gaussian(rows, cols, seed=1).abs() < share)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_products_by_blocks_of_rows_are_those_of_the_gram_matrix(threads: int) -> None:
    matrix = _sparse(50, 30)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = gaussian(13, 30, seed=2)
        np.testing.assert_allclose(SparseGram(matrix.to_sparse_csr())(x), x @ matrix.mT @ matrix, atol=1e-12)
        np.testing.assert_allclose(SparseGram(matrix.to_sparse_csr()).images(x), x @ matrix.mT, atol=1e-12)
        few = SparseGram(matrix[:3].to_sparse_csr())(x)
        np.testing.assert_allclose(few, x @ matrix[:3].mT @ matrix[:3], atol=1e-12)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_a_large_sparse_matrix_is_iterated_in_narrow_blocks(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = _sparse(*shape)
    monkeypatch.setattr(Sparse, "narrow", 8)
    widths: list[int] = []
    plain = SparseGram.__call__

    def watched(self: SparseGram, x: Tensor) -> Tensor:
        widths.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(SparseGram, "__call__", watched)
    u, s, vh = randomized_svd(Sparse(matrix.to_sparse_coo()), 10)
    assert max(_excess(matrix, u, s, vh)) <= 1e-10
    # Two more look for what such a block has missed.
    assert set(widths) == ({8, 2} if shape[0] > shape[1] else set())


def test_more_copies_of_a_value_than_a_block_is_wide_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sparse, "narrow", 4)
    spectrum = torch.cat([torch.full((10,), 3.0), torch.linspace(2, 0, 190)]).double()
    _, s, _ = randomized_svd(Sparse(torch.diag(spectrum).to_sparse_coo()), 8)
    np.testing.assert_allclose(s, np.full(8, 3.0), atol=1e-10)


def test_large_sparse_matrices_alone_are_iterated_in_narrow_blocks() -> None:
    assert Sparse(torch.eye(30).to_sparse()).narrow is None
    long = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (10**5, 2))
    assert Sparse(long).narrow == sparse_products.BLOCK


def test_restarts_keep_what_was_found() -> None:
    diagonal = torch.linspace(1, 0, 400).double()

    def converged(values: Tensor, residuals: Tensor) -> bool:
        return bool(residuals[:3].max() <= 1e-11)

    found = gram_lanczos(
        lambda x: x * diagonal,
        400,
        3,
        4,
        converged=converged,
        generator=torch.Generator().manual_seed(0),
        like=diagonal,
    )
    # More than the basis has room for, so that it was restarted.
    assert found.done and found.steps * 4 > 240
    np.testing.assert_allclose(found.values[:3], diagonal[:3], atol=1e-12)
    np.testing.assert_allclose(found.vectors @ found.vectors.mT, np.eye(len(found.vectors)), atol=1e-12)
    np.testing.assert_allclose(found.vectors[:3].abs(), np.eye(400)[:3], atol=1e-8)
