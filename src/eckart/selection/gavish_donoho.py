"""Gavish and Donoho's hard threshold: best for white noise."""

import functools
import math

from eckart.selection.spectrum import Spectrum


def gavish_donoho(spectrum: Spectrum, *, noise: float | None = None) -> tuple[int, str]:
    """Count the singular values above the optimal hard threshold for white noise.

    Asymptotically no other threshold has a smaller squared error, if the entries of the noise are independent and of
    one variance. The noise level, if it is not given, follows from the median singular value.

    Args:
        spectrum: The matrix.
        noise: Standard deviation of the noise of an entry; estimated if None.

    Returns:
        The rank, zero if nothing is above the threshold, and the reason.

    Example:
        >>> import torch
        >>> gavish_donoho(Spectrum(torch.diag(torch.tensor([9.0, 1.0, 1.0, 1.0]))))[0]
        1

    References:
        Gavish & Donoho, IEEE Transactions on Information Theory 60(8), 2014.
    """
    small, large = sorted(spectrum.shape)
    beta = small / large
    if noise is not None:
        cut = known_noise_coefficient(beta) * math.sqrt(large) * noise / spectrum.scale
    else:
        # The median of the paper is that of the middle two, which torch.median is not.
        cut = unknown_noise_coefficient(beta) * float(spectrum.s.quantile(0.5))
    rank = int((spectrum.s > cut).sum())
    return rank, f"the singular values above {spectrum.scale * cut:.4g}, the best threshold for white noise"


def known_noise_coefficient(beta: float) -> float:
    """Optimal threshold in units of ``sqrt(max(m, n))`` times the noise; ``4 / sqrt(3)`` for square matrices.

    Args:
        beta: Aspect ratio, the smaller side by the larger one.

    Returns:
        The coefficient, equation (11) of the paper.

    Example:
        >>> round(known_noise_coefficient(1.0), 4)
        2.3094
    """
    return math.sqrt(2 * (beta + 1) + 8 * beta / ((beta + 1) + math.sqrt(beta**2 + 14 * beta + 1)))


@functools.cache
def unknown_noise_coefficient(beta: float) -> float:
    """Optimal threshold in units of the median singular value; 2.858 for square matrices.

    Args:
        beta: Aspect ratio, the smaller side by the larger one.

    Returns:
        The coefficient: that for known noise by the square root of the median of the Marchenko-Pastur law.

    Example:
        >>> round(unknown_noise_coefficient(1.0), 3)
        2.858
    """
    return known_noise_coefficient(beta) / math.sqrt(marchenko_pastur_median(beta))


@functools.cache
def marchenko_pastur_median(beta: float) -> float:
    """Median of the squared singular values of white noise, in units of ``max(m, n)`` times its variance.

    Args:
        beta: Aspect ratio, the smaller side by the larger one.

    Returns:
        The median of the Marchenko-Pastur law.

    Example:
        >>> round(marchenko_pastur_median(1.0), 4)
        0.6528
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq

    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2

    def below(angle: float) -> float:
        if angle <= -math.pi / 2:
            return 0.0
        # x = middle + half * sin(angle) makes the square roots at the edges smooth.
        middle, half = (low + high) / 2, (high - low) / 2
        return quad(
            lambda t: (half * math.cos(t)) ** 2 / (2 * math.pi * beta * (middle + half * math.sin(t))),
            -math.pi / 2,
            angle,
        )[0]

    angle = brentq(lambda t: below(t) - 0.5, -math.pi / 2, math.pi / 2)
    return (low + high) / 2 + (high - low) / 2 * math.sin(angle)
