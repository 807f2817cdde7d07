"""Exact line search along a direction of a factor pair."""

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TURN = 2 * math.pi / 3
# Device whose numbers numpy takes where they are.
_HOST = "cpu"
# Places of the blocks of the Gram matrix of old and new columns; that of old with old is the first.
_OLD_NEW, _NEW_OLD, _NEW_NEW = 1, 2, 3


def inner(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """Inner product of the tensors of each member, shape ``(J,)``."""
    parts = [(x * y).sum(tuple(range(1, x.ndim))) for x, y in zip(a, b, strict=True)]
    return functools.reduce(torch.add, parts)


def along_by_products(
    left: Tensor, right: Tensor, direction: tuple[Tensor, Tensor], images: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What :func:`minimize_along` takes besides the slope, where neither the residual nor its changes are formed.

    Args:
        left: Shape ``(J, m, k)``.
        right: Shape ``(J, k, n)``.
        direction: What is added to both, times t.
        images: ``target direction[1]ᵀ``, shape ``(J, m, k)``.

    Example:
        >>> left, right = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> along_by_products(left, right, (left, 0 * right), torch.zeros(1, 2, 1))
        (tensor([1.]), tensor([0.]), tensor([0.]))
    """
    # With a = d₁ right, b = left d₂ and c = d₁ d₂ the product moves by t (a + b) + t² c. The inner products of a, b, c
    # and left right are those of the k×k blocks of two Gram matrices: all sixteen from one product.
    rank = left.shape[2]
    lefts, rights = torch.cat([left, direction[0]], 2), torch.cat([right, direction[1]], 1)
    rows, cols = _blocks(lefts.mT @ lefts, rank), _blocks(rights @ rights.mT, rank)
    # Of ⟨x y, x' y'⟩ with x and y old or new: x and x' are the blocks of the rows, y and y' those of the columns.
    at = (rows @ cols.mT).flatten(1).unbind(1)
    linear = at[_NEW_NEW * 4] + at[_NEW_NEW] + 2 * at[_NEW_OLD * 4 + _OLD_NEW]
    beyond = at[_OLD_NEW * 4 + _OLD_NEW] - (direction[0] * images).sum((1, 2))
    cubic = at[_NEW_NEW * 4 + _OLD_NEW] + at[_OLD_NEW * 4 + _NEW_NEW]
    return linear + 2 * beyond, cubic, at[_NEW_NEW * 4 + _NEW_NEW]


def _blocks(gram: Tensor, rank: int) -> Tensor:
    """The four blocks of a Gram matrix ``(J, 2k, 2k)``, each as a row, shape ``(J, 4, k²)``."""
    return gram.view(len(gram), 2, rank, 2, rank).transpose(2, 3).reshape(len(gram), 4, rank * rank)


def minimize_along(slope: Tensor, q: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Global minimizer over ``t >= 0`` of ``½ ‖residual + t linear + t² quadratic‖²``.

    Args:
        slope: ``⟨residual, linear⟩`` of each member, negative, shape ``(J,)``.
        q: ``‖linear‖² + 2 ⟨residual, quadratic⟩``, of the same shape, as the others.
        c: ``⟨linear, quadratic⟩``.
        d: ``‖quadratic‖²``.

    Returns:
        Step of each member, shape ``(J,)``.

    Example:
        >>> one = torch.ones(1)
        >>> minimize_along(-2 * one, one, 0 * one, 0 * one)
        tensor([2.])
    """
    if slope.device.type != _HOST:
        return _minimize(torch, slope, q, c, d)
    # Dozens of operations on a few numbers each: numpy takes a fifth of the time of torch to start one.
    with np.errstate(all="ignore"):
        return torch.from_numpy(_minimize(np, *(part.detach().numpy() for part in (slope, q, c, d))))


def _minimize(xp: Any, slope: Any, q: Any, c: Any, d: Any) -> Any:
    tiny, eps = xp.finfo(slope.dtype).tiny, xp.finfo(slope.dtype).eps
    b = xp.where(slope > -tiny, -tiny, slope)
    # The derivative is b + q t + 3c t² + 2d t³ with b < 0. In u = 1/t its leading coefficient b cannot vanish.
    candidates = _roots(xp, q / b, 3 * c / b, 2 * d / b)
    steps = xp.where(candidates > 0, 1 / candidates, 0)
    c3, c6, d2, d6 = 3 * c, 6 * c, 2 * d, 6 * d
    for _ in range(3):
        first = b + steps * (q + steps * (c3 + steps * d2))
        second = q + steps * (c6 + steps * d6)
        polished = steps - first / second
        steps = xp.where((second > 0) & (steps > 0) & (polished > 0), polished, steps)
    value = steps * (b + steps * (q / 2 + steps * (c + steps * d / 2)))
    # Two roots can be equally good but for rounding, which is that of the largest term: the nearer one is taken then.
    rounding = steps * (abs(b) + steps * (abs(q) / 2 + steps * (abs(c) + steps * d / 2)))
    value = value + 16 * eps * rounding
    best, least = steps[0], xp.where(value[0] == value[0], value[0], xp.inf)
    for step, reached in zip(steps[1:], value[1:], strict=True):
        better = reached < least
        best, least = xp.where(better, step, best), xp.where(better, reached, least)
    return best


def cubic_roots(a2: Tensor, a1: Tensor, a0: Tensor) -> Tensor:
    """Real roots of ``u³ + a2 u² + a1 u + a0``, shape ``(3, J)``; a single one stands three times.

    Example:
        >>> cubic_roots(*(torch.tensor([a]) for a in (-6.0, 11.0, -6.0))).sort(0).values.round(decimals=4)[:, 0]
        tensor([1., 2., 3.])
    """
    if a2.device.type != _HOST:
        return _roots(torch, a2, a1, a0)
    with np.errstate(all="ignore"):
        return torch.from_numpy(_roots(np, *(part.detach().numpy() for part in (a2, a1, a0)))).expand(3, -1)


def _roots(xp: Any, a2: Any, a1: Any, a0: Any) -> Any:
    """The roots, shape ``(3, J)``, or ``(1, J)`` where no member has more than one."""
    shift = a2 / 3
    p = (a1 - a2 * shift) / 3
    half = (2 * shift * shift * shift - shift * a1 + a0) / 2
    discriminant = half * half + p * p * p
    root = xp.sqrt(xp.where(discriminant < 0, 0, discriminant))
    # The sign avoids cancellation; the other cube root follows from their product, -p.
    big = -xp.copysign(xp.exp(xp.log(abs(half) + root) / 3), half)
    single = big - xp.where(big == 0, 0, p / big)
    if xp is np and (discriminant > 0).all():
        # None has three roots, and a test costs nothing on the CPU.
        return (single - shift)[None]
    # All three meet where p is 0; the angle is then any.
    cube = xp.where(p > 0, 0, -p)
    size = xp.sqrt(cube)
    bound, tiny = cube * size, xp.finfo(a2.dtype).tiny
    cosine = -half / xp.where(bound < tiny, tiny, bound)
    cosine = xp.where(cosine > 1, 1, xp.where(cosine < -1, -1, cosine))
    angle = xp.arccos(cosine) / 3
    turned = xp.stack([angle, angle - _TURN, angle - 2 * _TURN])
    return xp.where(discriminant > 0, single, 2 * size * xp.cos(turned)) - shift
