"""The paper's table: random 10×10 matrices, a net n → n → k → n for each rank, and its distance from the optimum."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 10
RANKS = tuple(range(1, 10))


def targets(count: int) -> NDArray[np.float64]:
    """Matrices with entries from U(0, 1), shape ``(count, 10, 10)``."""
    return np.random.default_rng(0).uniform(size=(count, SIZE, SIZE))


def excesses(matrices: Sequence[NDArray[Any]], products: Iterable[Any], ranks: Sequence[int]) -> NDArray[np.float64]:
    """Excess of each product over the optimum of its rank, in the 2-norm and the Frobenius norm.

    Args:
        matrices: The targets.
        products: What the nets stand for.
        ranks: Rank of each.

    Returns:
        Shape ``(count, 2)``, relative to the norm of the target; its absolute value, as in the paper.

    Example:
        >>> excesses([np.diag([2.0, 1.0])], [np.diag([2.0, 0.0])], [1])
        array([[0., 0.]])
    """
    found = []
    for matrix, product, rank in zip(matrices, products, ranks, strict=True):
        values = np.linalg.svd(matrix, compute_uv=False)
        errors = np.linalg.svd(matrix - np.asarray(product, dtype=np.float64), compute_uv=False)
        spectral = (errors[0] - values[rank]) / values[0]
        frobenius = (np.linalg.norm(errors) - np.linalg.norm(values[rank:])) / np.linalg.norm(values)
        found.append((abs(spectral), abs(frobenius)))
    return np.array(found)
