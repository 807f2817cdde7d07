"""The rank of a matrix of which some entries are known: withheld entries tell."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from eckart.linalg.checks import require_count
from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection.alternating import AlternatingFit
from eckart.selection.screenot import default_upper

# Below this share of the error of rank 0 the entries are free of noise.
WITHOUT_NOISE = 1e-10
ROUNDOFF = 1e-20
# Ranks that are tried even if the first of them do not help.
LOOK_AHEAD = 8
# Rules that look at the residual alone need no accurate fit.
TOLERANCE, SWEEPS = 1e-2, 10


def withheld(
    entries: Entries, *, seed: int = 0, folds: int | None = None, share: float = 0.05, kmax: int | None = None
) -> tuple[int | str | float, ...]:
    """The rank that predicts withheld entries best.

    The entries are dealt at random into parts. In turn one of them is withheld, and factors of rank 1, 2, ... are
    fitted to the others until two more ranks did not improve. Fewer entries make the best rank smaller, so parts are
    small.

    Args:
        entries: The observed entries.
        seed: Seed of the parts.
        folds: How many parts are withheld in turn; if None, as many as hold 12,500 entries together, at least one.
        share: Share of the entries in a part, in (0, 0.5].
        kmax: Largest rank that is tried.

    Returns:
        The rank, which may be zero, the reason, and the relative errors on the withheld entries from rank 0 on.

    Raises:
        ValueError: If a setting is outside of its range, or there are fewer than 4 entries.

    Example:
        >>> row, col = torch.arange(1.0, 13.0), torch.arange(1.0, 10.0)
        >>> matrix = torch.outer(row, col)
        >>> observed = torch.rand(matrix.shape, generator=stream(0, "example")) < 0.7
        >>> withheld(Entries.of_matrix(matrix, observed))[0]
        1

    References:
        Wold, Technometrics 20(4), 1978.
    """
    count = len(entries)
    if count < 4:
        raise ValueError(f"Withholding entries needs at least 4 of them. Found {count}.")
    if not 0 < share <= 0.5:
        raise ValueError(f"share must be in (0, 0.5]. Found {share}.")
    folds = max(1, 250_000 // count) if folds is None else folds
    require_count("folds", folds)
    limit = _largest_rank(entries, (1 - share) * count, kmax)
    parts = min(int(1 / share), count)
    part = torch.randperm(count, generator=stream(seed, "withheld")) * parts // count
    validations: list[_Validation] = []
    reach = 0
    # Equal singular values are no use before the last of them, so one fit looks far ahead, and the others follow. Close
    # to the least number of entries a fit gets stuck now and then: two more try, if the first finds nothing.
    for fold in range(min(folds, parts)):
        validation = _Validation(entries, part == fold)
        while fold < 3 and reach == 0 and len(validation.errors) <= limit and not validation.done(LOOK_AHEAD):
            validation.grow()
        if (exact := validation.exact_rank()) is not None:
            found = "without noise: this rank predicts withheld entries exactly"
            return exact, found, *_relative(np.array(validation.errors))
        validations.append(validation)
        reach = max(reach, int(np.argmin(validation.errors)))
    reach = min(reach + 2, limit)
    while True:
        for validation in validations:
            while len(validation.errors) <= reach:
                validation.grow()
        errors = np.sum([validation.errors[: reach + 1] for validation in validations], axis=0)
        if reach == limit or reach - int(errors.argmin()) >= 2:
            break
        reach += 1
    # No fit predicts what it has not seen exactly by chance: one that does outweighs others that got stuck.
    exacts = [exact for validation in validations if (exact := validation.exact_rank()) is not None]
    if exacts:
        return min(exacts), "without noise: this rank predicts withheld entries exactly", *_relative(errors)
    rank = int(errors.argmin())
    left = errors[rank] / errors[0] if errors[0] > 0 else 1.0
    said = f"rank {rank} predicts withheld entries best, with {left:.2g} of the squared error of rank 0"
    return rank, said, *_relative(errors)


def _relative(squares: NDArray[np.float64]) -> list[float]:
    return [float(error) for error in np.sqrt(squares / max(squares[0], 1e-300))]


class _Validation:
    """Fits of rank 0, 1, ... to the entries that are not withheld, and their squared errors on those that are."""

    def __init__(self, entries: Entries, held: torch.Tensor) -> None:
        self.held = entries[held]
        self.fit = AlternatingFit(entries[~held])
        self.errors = [float(self.held.norm() ** 2)]

    def grow(self) -> None:
        """Fit one rank more."""
        self.fit.grow()
        found = self.fit.predict(self.held.row.cpu().numpy(), self.held.col.cpu().numpy())
        self.errors.append(float(((self.held.value.double().cpu().numpy() - found) ** 2).sum()))

    def exact_rank(self) -> int | None:
        """The rank at which the error fell most, if there is a rank that leaves nothing."""
        errors = np.maximum(self.errors, ROUNDOFF * self.errors[0])
        if errors[0] == 0 or errors.min() > WITHOUT_NOISE * errors[0]:
            return None
        return int((errors[:-1] / errors[1:]).argmax()) + 1

    def done(self, look_ahead: int) -> bool:
        """Whether more ranks are of no use: nothing is left, or the error rose for long, or by much."""
        least = int(np.argmin(self.errors))
        since, rose = len(self.errors) - 1 - least, self.errors[-1] > 10 * self.errors[least]
        return self.errors[-1] <= ROUNDOFF * self.errors[0] or (since >= 2 and (len(self.errors) > look_ahead or rose))


def observed_energy(entries: Entries, *, share: float = 0.99, kmax: int | None = None) -> tuple[int, str]:
    """Least rank whose fit holds at least ``share`` of the squared norm of the observed entries.

    Args:
        entries: The observed entries.
        share: Share to hold, between 0 and 1, not 0.
        kmax: Largest rank that is tried; :func:`~eckart.selection.screenot.default_upper` if None, or as many degrees
            of freedom as half of the entries, if that is less.

    Returns:
        The rank and the reason.

    Raises:
        ValueError: If the share is not in ``(0, 1]``.

    Example:
        >>> observed_energy(Entries.of_matrix(torch.outer(torch.arange(1.0, 9.0), torch.ones(7))))[0]
        1
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]. Found {share}.")
    limit = _quick_limit(entries, kmax)
    fit = AlternatingFit(entries, tolerance=TOLERANCE, max_sweeps=SWEEPS)
    total, rank = fit.error, 0
    while rank < limit and fit.error > max(1 - share, ROUNDOFF) * total:
        fit.grow()
        rank += 1
    held = 1 - fit.error / total if total else 1.0
    tried = f", by the largest rank that is tried, {limit}" if held < share else ""
    return rank, f"holds {held:.2%} of the squared norm of the observed entries, {share:.2%} were asked{tried}"


def observed_information(entries: Entries, *, kmax: int | None = None) -> tuple[int, str]:
    r"""Bai and Ng's ``IC_p2`` with the mean squared residual of the observed entries, N of them.

    The penalty of a rank is ``(m + n) / N · log min(m, n)``.

    Args:
        entries: The observed entries.
        kmax: Largest rank that is tried.

    Returns:
        The rank, which may be zero, and the reason.

    Raises:
        ValueError: If ``kmax`` is not an integer of at least 1.

    Example:
        >>> noise = 0.1 * torch.randn(20, 15, generator=stream(0, "example"))
        >>> observed_information(Entries.of_matrix(noise + torch.outer(torch.arange(20.0), torch.ones(15))))[0]
        1
    """
    m, n = entries.shape
    count = len(entries)
    limit = _quick_limit(entries, kmax)
    fit, penalty = (
        AlternatingFit(entries, tolerance=TOLERANCE, max_sweeps=SWEEPS),
        (m + n) / count * math.log(min(m, n)),
    )
    total = fit.error
    criteria = [math.log(max(total, 1e-300))]
    for rank in range(1, limit + 1):
        fit.grow()
        if fit.error <= ROUNDOFF * total:
            return rank, "without noise: this rank fits the observed entries exactly"
        criteria.append(math.log(fit.error) + rank * penalty)
    rank = int(np.argmin(criteria))
    return rank, f"IC_p2 of Bai and Ng on the observed entries is least at rank {rank}, of 0 to {limit}"


def _quick_limit(entries: Entries, kmax: int | None) -> int:
    """Ranks to try: close to as many degrees of freedom as entries, the residual vanishes for lack of them."""
    return _largest_rank(entries, len(entries) / 2, kmax or default_upper(entries.shape) or 1)


def _largest_rank(entries: Entries, count: float, kmax: int | None) -> int:
    """The largest rank with fewer degrees of freedom than entries, and at most ``kmax``."""
    if kmax is not None:
        require_count("kmax", kmax)
    m, n = entries.shape
    ranks = range(1, min(kmax or min(m, n), min(m, n)) + 1)
    return max((rank for rank in ranks if rank * (m + n - rank) < count), default=1)
