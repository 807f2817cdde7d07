"""Random matrix theory of a low-rank signal in noise: what an observed singular value holds of the signal."""

from typing import NamedTuple

from torch import Tensor


class Spikes(NamedTuple):
    """Signal in the singular triplets above the noise, for each of the ``h`` largest.

    Attributes:
        strength: Singular value of the signal itself, shape ``(h,)``.
        overlap: Inner product of the signal and the observed ``u_i v_i^T``. Keeping the triplet changes the squared
            error by ``s_i ** 2 - 2 * s_i * overlap_i``: it pays where the overlap is above half of ``s_i``.
    """

    strength: Tensor
    overlap: Tensor


def spikes(singular_values: Tensor, noise: Tensor, shape: tuple[int, int]) -> Spikes:
    r"""Strength and overlap of each singular value above those of the noise.

    With ``φ(y)`` the mean of ``y / (y² − f²)`` over the singular values f of the noise, ``ψ = β φ + (1 − β) / y`` and
    ``D = φ ψ``, a signal of strength x is observed at the y with ``D(y) = x⁻²``, and the squared cosines between its
    singular vectors and the observed ones are ``−2 φ / (x² D')`` and ``−2 ψ / (x² D')``. That holds for large matrices,
    any law of the noise whose singular vectors are in no relation to those of the signal, and few signals.

    Args:
        singular_values: Of the matrix, shape ``(r,)``, nonincreasing.
        noise: Of the noise, shape ``(min(m, n),)``, nonincreasing.
        shape: ``(m, n)``.

    Returns:
        Strengths and overlaps of the leading singular values, as far as they are above the noise.

    Example:
        >>> import torch
        >>> noise = torch.linspace(2, 0, 100, dtype=torch.float64)
        >>> found = spikes(torch.tensor([10.0, 1.0], dtype=torch.float64), noise, (100, 100))
        >>> [round(float(x), 1) for x in (*found.strength, *found.overlap)]
        [9.9, 9.7]

    References:
        Benaych-Georges & Nadakuditi, Journal of Multivariate Analysis 111, 2012.
    """
    beta = min(shape) / max(shape)
    y = singular_values[: leading(singular_values > 1.001 * noise[0])]
    left, left_slope = _transform(y, noise)
    right = beta * left + (1 - beta) / y
    right_slope = beta * left_slope - (1 - beta) / y.square()
    squared = 1 / (left * right)
    slope = left_slope * right + left * right_slope
    cosines = [(-2 * side / (squared * slope)).clamp(0, 1) for side in (left, right)]
    return Spikes(squared.sqrt(), (squared * cosines[0] * cosines[1]).sqrt())


def leading(kept: Tensor) -> int:
    """How many of the first entries are true, before the first that is not.

    Example:
        >>> import torch
        >>> leading(torch.tensor([True, True, False, True]))
        2
    """
    return int(kept.long().cumprod(0).sum())


def _transform(y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of ``y / (y ** 2 - f ** 2)`` over the noise, and its derivative."""
    squares, over = noise.square(), y[:, None].square() - noise.square()
    return (y[:, None] / over).mean(1), -((y[:, None].square() + squares) / over.square()).mean(1)
