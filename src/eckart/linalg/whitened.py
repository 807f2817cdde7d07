"""The best low-rank matrix for given inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import balance


@dataclass(frozen=True)
class Whitened:
    r"""The best matrices of every rank for given inputs, computed once; see :func:`whitened`.

    Attributes:
        losses: ``E‖G^½ (W - W_k) x‖²`` of the best ``W_k`` for k = 0, 1, …, r: sums of the smallest squared singular
            values of ``G^½ W C^½``. Shape ``(…, r + 1)``, nonincreasing, with ``r = min(m, n)``.
        left: Shape ``(…, m, r)``; its first k columns and
        right: Shape ``(…, r, n)``; its first k rows are factors of ``W_k``.
        lost: The part of W of which a metric says nothing, ``(…, m, n)``; None without a metric.
    """

    losses: Tensor
    left: Tensor
    right: Tensor
    lost: Tensor | None = None

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Balanced factors of the best matrix of a rank.

        Args:
            rank: The rank, ``1 <= rank <= min(m, n)``.

        Raises:
            ValueError: If ``rank`` is outside ``[1, min(m, n)]``.
        """
        check_rank(rank, (self.right.shape[-2],))
        left, right = self.left[..., :rank], self.right[..., :rank, :]
        if self.lost is not None:
            # The metric says nothing of these outputs: they are fitted by the coefficients that there are.
            left = left + self.lost @ torch.linalg.pinv(right)
        return balance(left, right)


def whitened(weight: Tensor, moment: Tensor | None = None, metric: Tensor | None = None) -> Whitened:
    r"""Best approximations of a matrix for inputs of a given second moment.

    ``E‖G^½ (W - Ŵ) x‖²`` over all ``Ŵ`` of rank k is least at ``Ŵ = G^-½ [G^½ W C^½]_k C^-½``, where ``[·]_k`` is the
    truncated SVD. With U the leading left singular vectors of ``G^½ W C^½`` that is ``G^-½ U Uᵀ G^½ W``: the inverse of
    ``C^½`` cancels, so a singular C is handled exactly. Of all the best matrices this one is closest to W where the
    inputs never go, outside the range of C. If k exceeds the rank of ``G^½ W C^½``, the further directions are the best
    ones for what is left of W there. Outputs of which a singular G says nothing are fitted by what there is.

    Args:
        weight: W, real floating point, shape ``(m, n)``, or ``(J, m, n)`` for a batch. All is computed in float64.
        moment: C, symmetric positive semidefinite, shape ``(…, n, n)``: the second moment ``E[x xᵀ]`` of the inputs, or
            their covariance, if a bias absorbs their mean. None stands for the identity: the plain SVD of W.
        metric: G, symmetric positive semidefinite, shape ``(…, m, m)``, such as the second moment of the loss's
            gradient at the outputs, or its diagonal, ``(…, m)``. None stands for the identity.

    Returns:
        The losses at every rank, and the factors, in float64.

    Note:
        The losses are accurate to roundoff of the whole, ``losses[..., 0]``, not to that of the smallest.

    Example:
        >>> weight, moment = torch.diag(torch.tensor([3.0, 2.0])), torch.diag(torch.tensor([1.0, 9.0]))
        >>> best = whitened(weight, moment)
        >>> best.losses
        tensor([45., 9., 0.], dtype=torch.float64)
        >>> left, right = best.factors(1)
        >>> torch.allclose(left @ right, torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
        True

    References:
        Izenman, J. Multivariate Analysis 5, 1975 (reduced-rank regression); Wang, Zheng, Wan & Zhang, ICLR 2025
        (SVD-LLM, which needs C to be regular).
    """
    w = weight.detach().double()
    if w.dim() > 2:
        moments, metrics = (
            [None] * len(w) if given is None else given.expand(len(w), *given.shape[-sides:])
            for given, sides in ((moment, 2), (metric, 1 if metric is not None and metric.dim() < w.dim() else 2))
        )
        each = [whitened(*one) for one in zip(w, moments, metrics, strict=True)]
        losses, left, right = (
            torch.stack([getattr(one, name) for one in each]) for name in ("losses", "left", "right")
        )
        unseen = [one.lost for one in each if one.lost is not None]
        return Whitened(losses, left, right, torch.stack(unseen) if unseen else None)
    root, inverse = (None, None) if metric is None else _roots(metric.double())
    seen = _times(root, w)
    directions, squares = _directions(seen, None if moment is None else moment.double())
    right = directions.mT @ seen
    losses = torch.cat([squares.flip(-1).cumsum(-1).flip(-1), squares.new_zeros(1)])
    lost = None if inverse is None else w - _times(inverse, seen)
    return Whitened(losses, _times(inverse, directions), right, lost)


def loss_on_inputs(difference: Tensor, moment: Tensor | None = None, metric: Tensor | None = None) -> Tensor:
    r"""``E‖G^½ D x‖² = tr(G D C Dᵀ)``, from the entries of D.

    Args:
        difference: D, such as ``W - left @ right``, shape ``(…, m, n)``.
        moment: C as of :func:`whitened`.
        metric: G as of :func:`whitened`.

    Returns:
        Shape ``(…)``, float64.

    Example:
        >>> loss_on_inputs(torch.ones(1, 2), 3 * torch.eye(2))
        tensor(6., dtype=torch.float64)
    """
    d = difference.detach().double()
    image = d if moment is None else d @ moment.double()
    if metric is not None:
        image = metric.double()[..., None] * image if metric.dim() < d.dim() else metric.double() @ image
    return (image * d).sum((-2, -1))


def square_root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a symmetric positive semidefinite matrix.

    Args:
        matrix: Shape ``(n, n)``.

    Example:
        >>> square_root(torch.diag(torch.tensor([4.0, 9.0])))
        tensor([[2., 0.],
                [0., 3.]])
    """
    values, vectors = _spectrum(matrix)
    return (vectors * values.sqrt()) @ vectors.mT


def _roots(metric: Tensor) -> tuple[Tensor, Tensor]:
    """``G^½`` and its pseudo-inverse, as matrices, or as vectors of a diagonal."""
    if metric.dim() == 1:
        return metric.sqrt(), torch.where(metric > 0, metric, torch.inf).rsqrt()
    values, vectors = _spectrum(metric)
    inverse = torch.where(values > 0, values, torch.inf).rsqrt()
    return (vectors * values.sqrt()) @ vectors.mT, (vectors * inverse) @ vectors.mT


def _times(root: Tensor | None, matrix: Tensor) -> Tensor:
    if root is None:
        return matrix
    return root[:, None] * matrix if root.dim() == 1 else root @ matrix


def _spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a semidefinite matrix; values that are roundoff are zero."""
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    roundoff = len(matrix) * torch.finfo(matrix.dtype).eps * values[-1:].clamp(min=0)
    return torch.where(values > roundoff, values, 0), vectors


def _directions(w: Tensor, moment: Tensor | None) -> tuple[Tensor, Tensor]:
    """Left singular vectors of ``W C^½``, orthonormal, ``(m, r)``, and its squared singular values, ``(r,)``."""
    m, n = w.shape
    rank = min(m, n)
    if m <= n:
        gram = w @ (w.mT if moment is None else moment @ w.mT)
        values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
        u, squares = vectors.flip(-1), values.flip(-1).clamp(min=0)
    else:
        image = w
        if moment is not None:
            values, vectors = _spectrum(moment)
            image = w @ (vectors * values.sqrt())
        values, vectors = torch.linalg.eigh(image.mT @ image)
        # QR in place of a division by singular values: orthonormal also where they are zero.
        u, squares = torch.linalg.qr(image @ vectors.flip(-1)).Q, values.flip(-1).clamp(min=0)
    found = int((squares > max(m, n) * torch.finfo(w.dtype).eps * squares[:1]).sum())
    if moment is not None and found < rank:
        u = u[:, :found]
        further, _ = _directions(w - u @ (u.mT @ w), None)
        u = torch.linalg.qr(torch.cat([u, further[:, : rank - found]], dim=1)).Q
        squares = torch.cat([squares[:found], squares.new_zeros(rank - found)])
    return u, squares
