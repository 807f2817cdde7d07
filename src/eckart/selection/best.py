"""The rank of least error, by noise like that of the matrix: the default."""

from torch import Generator, Tensor

from eckart.linalg.random import stream
from eckart.selection.information import information
from eckart.selection.noise import Blocks, correlated_blocks, described, noise_spectrum
from eckart.selection.screenot import default_upper, screenot
from eckart.selection.spectrum import Spectrum
from eckart.selection.spikes import Spikes, leading, spikes

# Fourth moment of the residual's singular values over that of noise with random signs: 1.02 to 1.35 in the noises of
# the benchmark; 1.34 to 1.56 where the columns of its AR noise are permuted, at 300×150 and 60×60.
HIDDEN_CORRELATION = 1.4
# The same of all singular values but the largest quarter: up to 1.06 with more components than the pilot may find, 1.09
# to 1.19 with permuted columns.
DEEP_CORRELATION = 1.07
# Norm of the noise over that of the step before.
SETTLED = 0.99
MAX_STEPS = 30


def best(spectrum: Spectrum, *, seed: int = 0) -> tuple[int, str]:
    """Keep the singular triplets that lower the expected error, given noise like that of the matrix.

    First the residual of a pilot rank is looked at. If neighbors in it are correlated, blocks of them keep their signs
    together in all that follows. If its singular values are spread more than random signs of such blocks explain,
    distant entries are correlated, and ScreeNOT decides, which sees singular values alone. Otherwise noise is drawn by
    random signs: that keeps rows, columns and entries of any variance. The theory of spiked matrices then says how much
    of the signal each triplet holds; those that hold enough are taken out, which leaves a better view of the
    noise, until no more are found.

    Args:
        spectrum: The matrix.
        seed: Seed of the random signs.

    Returns:
        The rank, which may be zero, and the reason: what the noise looks like and which threshold followed.

    Example:
        >>> import torch
        >>> a = torch.randn(40, 20, generator=stream(0, "example"))
        >>> best(Spectrum(a + 3 * torch.ones(40, 1) @ a[:1]))
        (1, 'noise of independent entries; the singular values above ... lower the expected error')
    """
    generator = stream(seed, "random signs")
    upper = default_upper(spectrum.shape)
    pilot, _ = screenot(spectrum, upper=upper)
    blocks = correlated_blocks(truncation_error(spectrum, pilot))
    if _excess_spread(spectrum, pilot, 0, blocks, generator) > HIDDEN_CORRELATION:
        # Noise with correlations between distant entries, or more components than the pilot may find: then at least
        # the lower singular values are spread as those of random signs.
        deep = min(spectrum.shape) // 4
        blocks = correlated_blocks(truncation_error(spectrum, deep))
        if _excess_spread(spectrum, deep, deep, blocks, stream(seed, "deep")) > DEEP_CORRELATION:
            rank, reason = screenot(spectrum, upper=upper)
            return rank, f"noise with correlations between distant entries, so ScreeNOT; {reason}"
    # Half of what two careful rules find: strong components hide others, and noise must not be taken out.
    start = min(pilot, information(spectrum, kmax=max(upper, 1))[0]) // 2
    rank, noise = _kept(spectrum, start, blocks, generator)
    cut = spectrum.scale * float(spectrum.s[min(rank, len(spectrum.s) - 1)])
    which = f"the singular values above {cut:.4g} lower" if rank else "no singular value lowers"
    return rank, f"{described(noise, blocks)}; {which} the expected error"


def truncation_error(spectrum: Spectrum, rank: int) -> Tensor:
    """The matrix without its leading triplets, scaled up for the degrees of freedom that they took."""
    m, n = spectrum.shape
    u, s, vh = spectrum.factors
    left = spectrum.matrix - (u[:, :rank] * s[:rank]) @ vh[:rank]
    return left * (m * n / max((m - rank) * (n - rank), 1)) ** 0.5


def _kept(spectrum: Spectrum, start: int, blocks: Blocks, generator: Generator) -> tuple[int, Tensor]:
    """How many triplets lower the expected error, and the noise that they leave."""
    small = min(spectrum.shape)
    draws = 2 if small < 500 else 1
    noise, rank = truncation_error(spectrum, start), -1
    for _ in range(MAX_STEPS):
        values = noise_spectrum(noise, blocks, generator, draws)
        found = spikes(spectrum.s, values, spectrum.shape)
        more = _enough(spectrum, found, 0.5)
        if more < rank or more == 0:
            break
        less = _without_signal(spectrum, found, more)
        # Strengths follow from the noise, so a first view that was too large takes several steps to shrink.
        settled = more == rank and float(less.norm()) > SETTLED * float(noise.norm())
        noise, rank = less, more
        if settled:
            break
    # The theory is of large matrices. In small ones weak signal is mixed with noise above the edge and below; taking it
    # out and keeping a little more has the least errors (docs/rank.md).
    size = min(max((100 - small) / 40, 0.0), 1.0)
    values = noise_spectrum(noise, blocks, generator, 3 * draws)
    if size:
        found = spikes(spectrum.s, values, spectrum.shape)
        noise = _without_signal(spectrum, found, _enough(spectrum, found, 0.5 * (1 - size)))
        values = noise_spectrum(noise, blocks, generator, 3 * draws)
    found = spikes(spectrum.s, values, spectrum.shape)
    return _enough(spectrum, found, 0.5 - 0.2 * size), noise


def _enough(spectrum: Spectrum, found: Spikes, share: float) -> int:
    """How many triplets hold a share of themselves of signal: at most half of all, as the others show the noise."""
    kept = leading(found.overlap >= share * spectrum.s[: len(found.overlap)])
    return min(kept, min(spectrum.shape) // 2)


def _without_signal(spectrum: Spectrum, found: Spikes, rank: int) -> Tensor:
    """The matrix without its signal in the leading triplets, of the norm that the theory leaves to the noise."""
    u, s, vh = spectrum.factors
    noise = spectrum.matrix - (u[:, :rank] * found.overlap[:rank]) @ vh[:rank]
    left = s.square().sum() - found.strength[:rank].square().sum()
    return noise * (left.clamp(min=0) / noise.square().sum().clamp(min=1e-300)).sqrt()


def _excess_spread(spectrum: Spectrum, rank: int, skipped: int, blocks: Blocks, generator: Generator) -> float:
    """Spread of the singular values after a rank, over that of noise with random signs after those that are skipped."""
    drawn = noise_spectrum(truncation_error(spectrum, rank), blocks, generator, 2)
    return _spread(spectrum.s[rank:]) / max(_spread(drawn[skipped:]), 1e-300)


def _spread(values: Tensor) -> float:
    """Fourth moment by the squared second moment."""
    squares = values.square()
    return float(squares.square().sum() / squares.sum().square().clamp(min=1e-300))
