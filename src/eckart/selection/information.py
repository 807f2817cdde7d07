"""Bai and Ng's information criterion, of factor models in econometrics."""

import math

import torch

from eckart.linalg.checks import require_count
from eckart.selection.screenot import default_upper
from eckart.selection.spectrum import Spectrum


def information(spectrum: Spectrum, *, kmax: int | None = None) -> tuple[int, str]:
    r"""The rank of least ``IC_p2(k) = log V(k) + k (m + n) / (m n) log min(m, n)``.

    V(k) is the mean squared residual of the best approximation of rank k. The noise may be weakly correlated and
    heteroscedastic; the singular values of the signal must grow with the matrix, so weak ones are left out.

    Args:
        spectrum: The matrix.
        kmax: Largest rank that is tried; :func:`~eckart.selection.screenot.default_upper` if None.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If ``kmax`` is not an integer of at least 1.

    Example:
        >>> information(Spectrum(torch.diag(torch.tensor([99.0] + 29 * [1.0]))))[0]
        1

    References:
        Bai & Ng, Econometrica 70(1), 2002, page 201.
    """
    if kmax is not None:
        require_count("kmax", kmax)
    m, n = spectrum.shape
    kmax = min(kmax or default_upper(spectrum.shape), min(m, n) - 1)
    ranks = torch.arange(kmax + 1, dtype=torch.float64)
    penalty = (m + n) / (m * n) * math.log(min(m, n))
    rank = int(((spectrum.tails[: kmax + 1] / (m * n)).log() + penalty * ranks).argmin())
    return rank, f"IC_p2 of Bai and Ng is least at rank {rank}, of 0 to {kmax}"
