"""Exact line search along a direction of a factor pair."""

import functools

import torch
from torch import Tensor


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
    # With a = d₁ right, b = left d₂ and c = d₁ d₂ the product moves by t (a + b) + t² c.
    rank = left.shape[2]
    lefts, rights = torch.cat([left, direction[0]], 2), torch.cat([right, direction[1]], 1)
    grams = lefts.mT @ lefts, rights @ rights.mT
    old, new = slice(None, rank), slice(rank, None)

    def dot(*blocks: tuple[slice, slice]) -> Tensor:
        (p, q), (r, s) = blocks
        return (grams[0][:, p, q] * grams[1][:, r, s]).sum((1, 2))

    linear = dot((new, new), (old, old)) + dot((old, old), (new, new)) + 2 * dot((new, old), (old, new))
    beyond = dot((old, new), (old, new)) - (direction[0] * images).sum((1, 2))
    cubic = dot((new, new), (old, new)) + dot((old, new), (new, new))
    return linear + 2 * beyond, cubic, dot((new, new), (new, new))


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
    b = slope.clamp(max=-torch.finfo(slope.dtype).tiny)
    # The derivative is b + q t + 3c t² + 2d t³ with b < 0. In u = 1/t its leading coefficient b cannot vanish.
    candidates = cubic_roots(q / b, 3 * c / b, 2 * d / b)
    steps = torch.where(candidates > 0, 1 / candidates, 0)
    for _ in range(3):
        first = b + steps * (q + steps * (3 * c + steps * 2 * d))
        second = q + steps * (6 * c + steps * 6 * d)
        polished = torch.where(second > 0, steps - first / second, steps)
        steps = torch.where((steps > 0) & (polished > 0), polished, steps)
    value = steps * (b + steps * (q / 2 + steps * (c + steps * d / 2)))
    # Two roots can be equally good but for rounding, which is that of the largest term: the nearer one is taken then.
    rounding = steps * (b.abs() + steps * (q.abs() / 2 + steps * (c.abs() + steps * d / 2)))
    value = (value + 16 * torch.finfo(value.dtype).eps * rounding).nan_to_num(nan=torch.inf)
    return steps.gather(0, value.argmin(0, keepdim=True))[0]


def cubic_roots(a2: Tensor, a1: Tensor, a0: Tensor) -> Tensor:
    """Real roots of ``u³ + a2 u² + a1 u + a0``, shape ``(3, J)``; a single one stands three times.

    Example:
        >>> cubic_roots(*(torch.tensor([a]) for a in (-6.0, 11.0, -6.0))).sort(0).values.round(decimals=4)[:, 0]
        tensor([1., 2., 3.])
    """
    shift = a2 / 3
    p = (a1 - a2 * shift) / 3
    half = (2 * shift**3 - shift * a1 + a0) / 2
    discriminant = half**2 + p**3
    root = discriminant.clamp(min=0).sqrt()
    # The sign avoids cancellation; the other cube root follows from their product, -p.
    big = -torch.copysign(((half.abs() + root).log() / 3).exp(), half)
    single = big - torch.where(big == 0, 0, p / big)
    radius = 2 * (-p).clamp(min=0).sqrt()
    # All three meet where p is 0; the angle is then any.
    cube = (-p).clamp(min=0)
    cosine = -half / (cube * cube.sqrt()).clamp(min=torch.finfo(p.dtype).tiny)
    angle = torch.acos(cosine.clamp(-1, 1)) / 3
    turns = torch.arange(0, 6, 2, dtype=p.dtype, device=p.device)[:, None] * (torch.pi / 3)
    triple = radius * torch.cos(angle - turns)
    return torch.where(discriminant > 0, single, triple) - shift
