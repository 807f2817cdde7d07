"""The rank that holds a share of the squared norm: what is wanted, whatever the noise is."""

from eckart.selection.spectrum import Spectrum


def energy(spectrum: Spectrum, *, share: float = 0.99) -> tuple[int, str]:
    """Least rank whose best approximation holds at least ``share`` of the squared Frobenius norm.

    Args:
        spectrum: The matrix.
        share: Share to hold, between 0 and 1, not 0.

    Returns:
        The rank and the reason.

    Raises:
        ValueError: If the share is not in ``(0, 1]``.

    Example:
        >>> import torch
        >>> energy(Spectrum(torch.diag(torch.tensor([3.0, 1.0, 0.1]))), share=0.8)[0]
        1
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]. Found {share}.")
    tails = spectrum.tails
    rank = int((tails > (1 - share) * tails[0] * (1 + 1e-12)).sum())
    if share == 1:
        rank = spectrum.exact_rank or rank
    held = 1 - float(tails[min(rank, len(tails) - 1)] / tails[0]) if tails[0] > 0 else 1.0
    return rank, f"holds {held:.2%} of the squared norm, at least {share:.2%} were asked"
