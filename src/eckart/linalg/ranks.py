"""The rank of a matrix: the ranks that its shape allows, and its numerical rank."""

import torch
from torch import Tensor


def numerical_rank(singular_values: Tensor, shape: tuple[int, ...]) -> Tensor:
    r"""Count the singular values that are larger than roundoff: those above ``max(m, n) * eps * s_1``.

    Args:
        singular_values: Shape ``(..., r)``, nonincreasing. Their dtype gives ``eps``, so pass them in the precision
            in which the matrix was computed.
        shape: Shape of the matrix, ``(..., m, n)``.

    Returns:
        Integers of shape ``(...)``; zero for the zero matrix.

    Example:
        >>> numerical_rank(torch.tensor([1.0, 1e-3, 1e-9]), shape=(10, 3))
        tensor(2)

    References:
        Golub & Van Loan, Matrix Computations, 4th ed., section 5.4.1.
    """
    threshold = max(shape[-2:]) * torch.finfo(singular_values.dtype).eps * singular_values[..., :1]
    return (singular_values > threshold).sum(-1)


def check_rank(rank: int, shape: tuple[int, ...], *, name: str = "The rank") -> None:
    """Refuse a rank that no matrix of this shape can have.

    Args:
        rank: The rank to check.
        shape: Shape of the matrix, ``(..., m, n)``, or the smaller of its sides alone, ``(min(m, n),)``.
        name: How the message calls the rank.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Example:
        >>> check_rank(3, shape=(2, 5))
        Traceback (most recent call last):
        ValueError: The rank must satisfy 1 <= rank <= min(m, n) = 2. Found 3.
    """
    if not 1 <= rank <= min(shape[-2:]):
        raise ValueError(f"{name} must satisfy 1 <= rank <= min(m, n) = {min(shape[-2:])}. Found {rank}.")
