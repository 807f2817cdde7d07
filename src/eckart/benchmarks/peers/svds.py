"""Truncated singular value decompositions of other packages.

Each function imports its package and gives what is timed: from a matrix and a rank to factors ``(left, right)``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Factors = tuple[Any, Any]
Decompose = Callable[[Any, int], Factors]

TOLERANCE = 1e-6
"""Residual that ours and iterative peers are asked for, relative to the largest value; the excess is its square."""


def numpy_svd() -> Decompose:
    """``numpy.linalg.svd``, all of it."""

    def decompose(matrix: Any, rank: int) -> Factors:
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank] * s[:rank], vh[:rank]

    return decompose


def torch_svd() -> Decompose:
    """``torch.linalg.svd``, all of it."""
    import torch

    def decompose(matrix: Any, rank: int) -> Factors:
        u, s, vh = torch.linalg.svd(torch.as_tensor(matrix), full_matrices=False)
        return u[:, :rank] * s[:rank], vh[:rank]

    return decompose


def torch_lowrank(*, careful: bool = False) -> Decompose:
    """``torch.svd_lowrank`` with two power iterations, as it comes, or with more of them and a wider sketch."""
    import torch

    def decompose(matrix: Any, rank: int) -> Factors:
        torch.manual_seed(0)
        width = min((2 * rank if careful else rank) + 10, *matrix.shape)
        u, s, v = torch.svd_lowrank(torch.as_tensor(matrix), q=width, niter=12 if careful else 2)
        return u[:, :rank] * s[:rank], v[:, :rank].T

    return decompose


def sklearn_randomized(*, careful: bool = False) -> Decompose:
    """``randomized_svd`` of scikit-learn as it comes, or with more power iterations and a wider sketch."""
    from sklearn.utils.extmath import randomized_svd

    options = {"n_iter": 20} if careful else {}

    def decompose(matrix: Any, rank: int) -> Factors:
        u, s, vh = randomized_svd(matrix, rank, n_oversamples=rank + 10 if careful else 10, random_state=0, **options)
        return u * s, vh

    return decompose


def sklearn_truncated() -> Decompose:
    """``TruncatedSVD`` of scikit-learn with ARPACK, its accurate algorithm."""
    from sklearn.decomposition import TruncatedSVD

    def decompose(matrix: Any, rank: int) -> Factors:
        model = TruncatedSVD(rank, algorithm="arpack", tol=TOLERANCE, random_state=0)
        left = model.fit_transform(matrix)
        return left, model.components_

    return decompose


def scipy_gram() -> Decompose:
    """The leading eigenvectors of the Gram matrix, as a careful user of SciPy writes it."""
    from scipy.linalg import eigh

    def decompose(matrix: Any, rank: int) -> Factors:
        tall = matrix.shape[0] >= matrix.shape[1]
        gram = matrix.T @ matrix if tall else matrix @ matrix.T
        places = [len(gram) - rank, len(gram) - 1]
        _, vectors = eigh(gram, subset_by_index=places, overwrite_a=True, check_finite=False)
        return (matrix @ vectors, vectors.T) if tall else (vectors, vectors.T @ matrix)

    return decompose


def scipy_svds(solver: str) -> Decompose:
    """``svds`` of SciPy with ``arpack``, ``propack`` or ``lobpcg``."""
    from scipy.sparse.linalg import svds

    def decompose(matrix: Any, rank: int) -> Factors:
        u, s, vh = svds(matrix, rank, solver=solver, tol=TOLERANCE, maxiter=1000, rng=0)
        return u * s, vh

    return decompose


def primme_svds() -> Decompose:
    """``svds`` of PRIMME."""
    import primme

    def decompose(matrix: Any, rank: int) -> Factors:
        u, s, vh = primme.svds(matrix, rank, tol=TOLERANCE)
        return u * s, vh

    return decompose


def dask_compressed() -> Decompose:
    """``svd_compressed`` of dask with four power iterations, on its threads."""
    import dask.array

    def decompose(matrix: Any, rank: int) -> Factors:
        rows = max(len(matrix) // 4, 1)
        blocks = dask.array.from_array(matrix, chunks=(rows, matrix.shape[1]))
        u, s, vh = dask.array.compute(*dask.array.linalg.svd_compressed(blocks, rank, n_power_iter=4, seed=0))
        return u * s, vh

    return decompose
