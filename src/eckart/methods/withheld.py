"""Entries that a completion withholds from its own fit, and what their errors say of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.krylov import block_lanczos
from eckart.linalg.operators import Sparse
from eckart.linalg.random import stream

# Withheld entries wanted at least, and fewer than which tell nothing.
_WANTED, _FEWEST = 30, 10
# An error of at most this is none, whatever is left of it.
_EXACT = 1e-4
# Above it a fit explains too little of what it has not seen to be confirmed by it.
_EXPLAINED = 0.25
# A fit on what is observed is one up to this error.
_FITS = 1e-2
# Withheld errors scatter around what the fit predicts; a leading direction that is none scatters less.
_SCATTER, _DIRECTION = 1.5, 1.2
# The whole may be expected to be so many times farther off than what was withheld.
_FARTHER = 2.0
# Up to so many entries a dense decomposition takes less time than iteration.
_DENSE = 40_000
_VECTORS = 4


def withhold(entries: Entries, rank: int, *, share: float, seed: int) -> Tensor:
    """Choose entries to be withheld, boolean, shape ``(N,)``.

    The share is raised to 30 entries where there are few, and lowered so that each row and each column keeps ``rank``
    entries, or all that it has, and that at least half of the entries beyond the degrees of freedom stay. Fewer than 10
    would tell nothing; then none is withheld, nor where no entry is missing.

    Args:
        entries: All that are observed.
        rank: Rank of the fit.
        share: Share of the entries, from 0 to less than 1; 0 withholds none.
        seed: Draws them.

    Example:
        >>> entries = Entries.of_matrix(torch.ones(30, 20), torch.ones(30, 20).triu() > 0)
        >>> int(withhold(entries, 2, share=0.1, seed=0).sum()), int(withhold(entries, 9, share=0.1, seed=0).sum())
        (30, 0)
    """
    rows, cols = entries.shape
    count, freedom = len(entries), rank * (rows + cols - rank)
    chosen = torch.zeros(count, dtype=torch.bool)
    aim = min(max(_WANTED, round(share * count)), count // 5, (count - freedom) // 2)
    if share == 0 or aim < _FEWEST or count == rows * cols:
        return chosen
    order = torch.randperm(count, generator=stream(seed, "withheld"))
    # The first of each row and column, in this order, stay; so each keeps enough, whichever others are taken.
    turn = torch.minimum(_turn(entries.row.cpu()[order], rows), _turn(entries.col.cpu()[order], cols))
    found = order[turn >= rank][:aim]
    if len(found) >= _FEWEST:
        chosen[found] = True
    return chosen


def _turn(place: Tensor, side: int) -> Tensor:
    """How often a place occurred before, for each in a list."""
    by_place = torch.argsort(place, stable=True)
    counts = torch.bincount(place, minlength=side)
    starts = (counts.cumsum(0) - counts)[place[by_place]]
    turn = torch.empty_like(place)
    turn[by_place] = torch.arange(len(place)) - starts
    return turn


@dataclass(frozen=True)
class Evidence:
    """What a fit is judged by; nothing of it knows an entry that is not observed.

    Attributes:
        observed: Number of entries that the fit saw when it was held against those withheld.
        withheld: Number of those withheld; 0 where it was never held against any.
        freedom: Degrees of freedom, ``rank (m + n - rank)``.
        short: Rows and columns that the entries do not determine, as of :func:`eckart.linalg.determined.undetermined`.
        fit: Relative error on the entries that it saw then.
        error: Relative error on those withheld.
        directed: Whether what the fit left has a direction in common, as noise has not.
        final: Relative error on all observed entries at the end.
        rested: Whether the training ended by itself, and not at its last step.
        whole: Relative error that noise of the size that is left causes in the whole matrix, to first order.
    """

    observed: int
    withheld: int
    freedom: int
    short: int
    fit: float
    error: float
    directed: bool
    final: float
    rested: bool
    whole: float

    @property
    def expected(self) -> float:
        """Error on withheld entries that the fit predicts, if what it left is noise: by generalized cross-validation.

        Source: Golub, Heath & Wahba, Technometrics 21(2), 1979.
        """
        return self.fit / max(1 - self.freedom / self.observed, 1e-3)

    @property
    def as_promised(self) -> bool:
        """Whether the withheld entries were found about as well as the others, noise or not."""
        return self.error <= max(_SCATTER * self.expected, _EXACT)

    @property
    def confirmed(self) -> bool:
        """Whether the withheld entries were found as well as the fit promised."""
        if self.withheld == 0 or self.observed <= self.freedom or self.short:
            return False
        noise = self.error > _EXACT
        if not self.as_promised or (noise and (self.directed or not self.rested or self.error > _EXPLAINED)):
            return False
        # Rows with few entries can be far off without one of them being withheld.
        if self.whole > max(_FARTHER * self.error, _EXACT):
            return False
        return self.final <= max(_SCATTER * self.fit, _EXACT)

    @property
    def verdict(self) -> str:
        """``recovered``, ``fits, not confirmed`` or ``did not fit``.

        Example:
            >>> facts = {"observed": 900, "withheld": 50, "freedom": 500, "short": 0}
            >>> facts |= {"directed": False, "rested": True, "whole": 1e-12}
            >>> Evidence(**facts, fit=1e-13, error=1e-11, final=1e-13).verdict
            'recovered'
            >>> Evidence(**facts, fit=1e-13, error=0.9, final=1e-13).verdict
            'fits, not confirmed'
            >>> Evidence(**facts, fit=0.2, error=0.9, final=0.2).verdict
            'did not fit'
        """
        if self.confirmed:
            return "recovered"
        return "fits, not confirmed" if self.final <= _FITS else "did not fit"

    @property
    def reason(self) -> str:
        """The verdict in a sentence: what it rests on."""
        if self.verdict == "did not fit":
            left = f"a relative error of {self.final:.1e} is left on the observed entries"
            if self.directed:
                return f"{left}, and it is no noise: it has a leading direction"
            return left if self.rested else f"{left}, and the training did not come to rest"
        count = self.observed + self.withheld
        if count <= self.freedom:
            return f"{self.freedom} degrees of freedom are more than the {count} observed entries determine"
        if self.short:
            return f"{self.short} rows or columns have too few observed entries to be determined"
        if not self.withheld:
            return "too few entries are observed to withhold any as a check"
        found = f"relative error of {self.error:.1e} on {self.withheld} withheld entries"
        if self.confirmed:
            return found if self.error <= _EXACT else f"{found}, if what is left is noise"
        if not self.as_promised:
            return f"{found}, where the fit promised {self.expected:.1e}"
        if self.directed:
            return f"{found}, but what was left then had a leading direction"
        if not self.rested:
            return f"{found}, but the training was not at rest"
        if self.error > _EXPLAINED:
            return f"{found}, too much to tell"
        if self.whole > max(_FARTHER * self.error, _EXACT):
            few = "some rows or columns have too few entries for this noise"
            return f"{found}, but {self.whole:.1e} is expected of the whole: {few}"
        return f"{found}, but the fit to all entries is worse, {self.final:.1e}"


def has_direction(entries: Entries, residual: Tensor, seed: int) -> bool:
    """Whether a residual has a direction in common beyond chance: its largest singular value is that of no noise.

    It is compared with that of the same residual under random signs, which keep the size of each entry.

    Args:
        entries: Whose places the residual has.
        residual: Shape ``(N,)``.
        seed: Draws the signs.

    Source:
        Hong, Sheng & Dobriban, "Selecting the number of components in PCA via random signflips", 2020.

    Example:
        >>> entries, noise = Entries.of_matrix(torch.ones(40, 30)), torch.randn(1200, generator=stream(0, "example"))
        >>> has_direction(entries, noise.double(), 0), has_direction(entries, noise.double() + 1, 0)
        (False, True)
    """
    generator = stream(seed, "signs")
    flips = [torch.randint(2, residual.shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2)]
    largest = [_largest(entries, residual.cpu().double() * signs) for signs in (torch.ones(()), *flips)]
    return largest[0] > _DIRECTION * max(largest[1:])


def _largest(entries: Entries, values: Tensor) -> float:
    rows, cols = entries.shape
    places = torch.stack([entries.row, entries.col]).cpu()
    matrix = torch.sparse_coo_tensor(places, values, entries.shape, check_invariants=False)
    if rows * cols <= _DENSE:
        return float(torch.linalg.matrix_norm(matrix.to_dense(), ord=2))

    def converged(s: Tensor, residuals: Tensor) -> bool:
        return bool(residuals[0] <= 1e-2 * s[0])

    like = torch.empty(0, dtype=torch.float64)
    return float(block_lanczos(Sparse(matrix), _VECTORS, stream(0, "measuring"), converged, 100, like=like)[1][0])
