"""Parallel analysis: singular values that are larger than those of the same entries without structure."""

import torch
from torch import Generator, Tensor

from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.random import stream
from eckart.selection.spectrum import Spectrum
from eckart.selection.spikes import leading

NULLS = ("signs", "permutation")


def parallel_analysis(
    spectrum: Spectrum, *, seed: int = 0, draws: int = 20, quantile: float = 0.95, null: str = "signs"
) -> tuple[int, str]:
    """Count the leading singular values above a quantile of those of matrices without structure.

    A draw flips the sign of each entry at random, or permutes the entries of each column. Both keep how large entries
    are, but lose correlations, so correlated noise counts as signal. Permutations also lose how rows differ in size,
    and keep the means of columns, so they are for centered columns. Strong components raise the threshold for weak
    ones.

    Args:
        spectrum: The matrix.
        seed: Seed of the draws.
        draws: How many.
        quantile: Quantile of each singular value over the draws.
        null: ``signs``, or ``permutation`` within columns.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If a setting is outside of its range.

    Example:
        >>> a = torch.randn(40, 20, generator=stream(0, "example"))
        >>> parallel_analysis(Spectrum(a + 2 * torch.ones(40, 1) @ a[:1]), draws=5)[0]
        1

    References:
        Horn, Psychometrika 30(2), 1965; Buja & Eyuboglu, Multivariate Behavioral Research 27(4), 1992 (permutations);
        Hong, Sheng & Dobriban, arXiv:2012.02985 (signs).
    """
    require_count("draws", draws)
    require_one_of("null", null, NULLS)
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must be in [0, 1]. Found {quantile}.")
    draw = _permuted if null == "permutation" else _flipped
    generator = stream(seed, "parallel analysis")
    values = torch.stack([torch.linalg.svdvals(draw(spectrum.matrix, generator)) for _ in range(draws)])
    rank = leading(spectrum.s > values.quantile(quantile, dim=0))
    word = "permuted columns" if null == "permutation" else "random signs"
    return rank, f"as many leading singular values are above their {quantile:.0%} quantile over {draws} draws of {word}"


def _permuted(matrix: Tensor, generator: Generator) -> Tensor:
    """The entries of each column in a random order."""
    order = torch.rand(matrix.shape, generator=generator).argsort(0)
    return matrix.gather(0, order)


def _flipped(matrix: Tensor, generator: Generator) -> Tensor:
    """The entries with random signs."""
    return matrix * (2 * torch.randint(2, matrix.shape, generator=generator) - 1)
