"""Relative errors of an approximation, and how far they are above the least that its rank allows."""

import torch
from torch import Tensor

from eckart.linalg.checks import require_nonzero
from eckart.linalg.norms import residual_norms
from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import singular_values


def relative_errors(target: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    r"""Spectral and Frobenius norm of ``target - left @ right``, each relative to that of ``target``.

    Computed in double precision whatever the dtype of the arguments, to about 1e-12 relative, with a floor of a few
    ``eps``. Leading dimensions are a batch and broadcast.

    Args:
        target: Real floating point, shape ``(..., m, n)``, not all zero.
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.

    Returns:
        ``(relative_2norm, relative_frobenius)``, each of shape ``(...)``, float64, on the device of ``target`` (on the
        CPU if that device has no float64). Inf or nan for factors that are not finite.

    Raises:
        ValueError: If a target is all zero.

    Example:
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> relative_errors(target, left=torch.tensor([[1.0], [0.0]]), right=torch.tensor([[4.0, 0.0]]))
        (tensor(0.7500, dtype=torch.float64), tensor(0.6000, dtype=torch.float64))
    """
    target, left, right = in_double(target, left, right)
    target_norms = residual_norms(target, left[..., :0], right[..., :0, :])
    require_nonzero(target_norms[1])
    two_norm, frobenius = residual_norms(target, left, right)
    return two_norm / target_norms[0], frobenius / target_norms[1]


def optimum(spectrum: Tensor, rank: int | Tensor) -> tuple[Tensor, Tensor]:
    r"""Relative errors of the best approximation of a given rank, from the singular values of the target.

    No matrix of rank at most ``rank`` has a smaller error in either norm (Eckart-Young-Mirsky), and the truncated SVD
    attains both.

    Args:
        spectrum: All singular values of the target, shape ``(..., r)`` with ``r = min(m, n)``, nonincreasing.
        rank: ``1 <= rank <= r``; an integer, or int64 of the shape of the batch if the members differ in rank.

    Returns:
        ``(optimum_2norm, optimum_frobenius)``, each of shape ``(...)``, float64; zero where ``rank = r``.

    Raises:
        ValueError: If a rank is outside ``[1, r]`` or a target is all zero.

    Example:
        >>> optimum(torch.tensor([4.0, 3.0, 0.0]), rank=1)
        (tensor(0.7500, dtype=torch.float64), tensor(0.6000, dtype=torch.float64))

    References:
        Eckart & Young, Psychometrika 1(3), 1936; Mirsky, Quart. J. Math. 11(1), 1960.
    """
    (spectrum,) = in_double(spectrum)
    require_nonzero(spectrum[..., 0])
    ranks = torch.as_tensor(rank, device=spectrum.device)
    for extreme in (ranks.min(), ranks.max()):
        check_rank(int(extreme), (spectrum.shape[-1],))
    scaled = torch.nn.functional.pad(spectrum / spectrum[..., :1], (0, 1))
    # The sums start with the smallest values, which would be lost if they were added to the large ones.
    tails = scaled.square().flip(-1).cumsum(-1).flip(-1).sqrt()
    batch = (ranks + spectrum[..., 0]).shape
    index = ranks.expand(batch)[..., None]
    two_norm, frobenius = (part.expand(*batch, -1).gather(-1, index)[..., 0] for part in (scaled, tails))
    return two_norm, frobenius / tails[..., 0]


def errors_of(
    residual: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], best: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Relative errors and their excess over the optimum, from norms. Each pair is 2-norm first, then Frobenius norm.

    Args:
        residual: Norms of ``target - left @ right``, each of shape ``(...)``.
        target: Norms of the target, not zero.
        best: Relative errors of the best approximation, from :func:`optimum`.

    Returns:
        ``relative_2norm``, ``relative_frobenius``, ``excess_2norm`` and ``excess_frobenius``, each of shape ``(...)``.
        The excess is the error minus the optimum: nonnegative up to roundoff if the approximation has at most the rank
        of the optimum.

    Example:
        >>> one, two = torch.tensor(1.0), torch.tensor(2.0)
        >>> errors_of((one, one), (two, two), (one / 4, one / 2))["excess_2norm"]
        tensor(0.2500)
    """
    two_norm, frobenius = residual[0] / target[0], residual[1] / target[1]
    return {
        "relative_2norm": two_norm,
        "relative_frobenius": frobenius,
        "excess_2norm": two_norm - best[0],
        "excess_frobenius": frobenius - best[1],
    }


def excess(target: Tensor, left: Tensor, right: Tensor, rank: int | Tensor) -> tuple[Tensor, Tensor]:
    r"""Relative errors minus the least that the rank allows, as of :func:`errors_of`.

    Args:
        target: Real floating point, shape ``(..., m, n)``, not all zero.
        left: Shape ``(..., m, k)``.
        right: Shape ``(..., k, n)``.
        rank: The rank that the approximation may have at most, as of :func:`optimum`.

    Returns:
        ``(excess_2norm, excess_frobenius)``, each of shape ``(...)``, float64, nonnegative up to roundoff.

    Raises:
        ValueError: If a rank is outside ``[1, min(m, n)]`` or a target is all zero.

    Example:
        >>> target = torch.diag(torch.tensor([4.0, 3.0]))
        >>> excess(target, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 3.0]]), rank=1)
        (tensor(0.2500, dtype=torch.float64), tensor(0.2000, dtype=torch.float64))
    """
    target, left, right = in_double(target, left, right)
    spectrum = singular_values(target)
    norms = spectrum[..., 0], torch.linalg.vector_norm(spectrum, dim=-1)
    errors = errors_of(residual_norms(target, left, right), norms, optimum(spectrum, rank))
    return errors["excess_2norm"], errors["excess_frobenius"]


def in_double(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Detached float64 versions of tensors, on their devices; on the CPU for Apple's accelerator, which has no float64.

    Example:
        >>> in_double(torch.ones(2, requires_grad=True))
        (tensor([1., 1.], dtype=torch.float64),)
    """
    return tuple((tensor.cpu() if tensor.device.type == "mps" else tensor).detach().double() for tensor in tensors)
