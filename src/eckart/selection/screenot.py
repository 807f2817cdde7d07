"""ScreeNOT: the best hard threshold for noise of any kind, from the singular values alone."""

import torch
from torch import Tensor

from eckart.selection.spectrum import Spectrum
from eckart.selection.spikes import leading, spikes


def screenot(spectrum: Spectrum, *, upper: int | None = None) -> tuple[int, str]:
    """Count the singular values above the best hard threshold for noise that may be correlated.

    The singular values below the ``upper`` largest are taken for noise, and the upper edge of the noise is
    extrapolated from them. Where the noise has a few large singular values of its own (heavy tails), they count as
    signal.

    Args:
        spectrum: The matrix.
        upper: Number that the rank cannot exceed; :func:`default_upper` if None.

    Returns:
        The rank, zero if nothing is above the threshold, and the reason.

    Raises:
        ValueError: If ``2 * upper + 1 >= min(m, n)``.

    Example:
        >>> matrix = torch.diag(torch.tensor([9.0] + [1 - i / 40 for i in range(39)]))
        >>> screenot(Spectrum(matrix), upper=5)[0]
        1

    References:
        Donoho, Gavish & Romanov, Annals of Statistics 51(1), 2023.
    """
    upper = default_upper(spectrum.shape) if upper is None else upper
    if upper < 0 or (upper > 0 and 2 * upper + 1 >= min(spectrum.shape)):
        raise ValueError(
            f"upper must satisfy 0 <= upper and 2 * upper + 1 < min(m, n) = {min(spectrum.shape)}. Found {upper}."
        )
    found = spikes(spectrum.s, imputed_noise(spectrum.s, upper), spectrum.shape)
    rank = leading(found.overlap > spectrum.s[: len(found.overlap)] / 2)
    return rank, "the singular values above the best threshold for noise of the spectrum that the others have"


def imputed_noise(singular_values: Tensor, upper: int) -> Tensor:
    """Singular values of the noise, if the ``upper`` largest hold signal: these are extrapolated from the next ones.

    Args:
        singular_values: Of the matrix, nonincreasing, shape ``(r,)``, ``2 * upper + 1 < r``.
        upper: How many to replace.

    Returns:
        Nonincreasing, shape ``(r,)``. The replaced ones follow the square root law of an edge.

    Example:
        >>> imputed_noise(torch.tensor([9.0, 8.0, 3.0, 2.0, 1.0, 0.5]), 2)[:3]
        tensor([6.4048, 4.2599, 3.0000])
    """
    noise = singular_values.clone()
    if upper:
        first, second = singular_values[upper], singular_values[2 * upper]
        place = torch.arange(upper, dtype=noise.dtype) / upper
        noise[:upper] = first + (1 - place ** (2 / 3)) / (2 ** (2 / 3) - 1) * (first - second)
    return noise


def default_upper(shape: tuple[int, int]) -> int:
    """Rank that is surely not exceeded: 20, or a tenth of the smaller side if that is more, at most a quarter of it.

    Example:
        >>> [default_upper((side, 1000)) for side in (3, 40, 150, 400)]
        [0, 10, 20, 40]
    """
    small = min(shape)
    return max(0, min(max(20, small // 10), small // 4, (small - 2) // 2))
