"""A rank by the name of its rule, with the reason in one line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.entries import Entries
from eckart.selection.best import best
from eckart.selection.cross_validation import cross_validation
from eckart.selection.energy import energy
from eckart.selection.gavish_donoho import gavish_donoho
from eckart.selection.information import information
from eckart.selection.observed import observed_energy, observed_information, withheld
from eckart.selection.parallel_analysis import parallel_analysis
from eckart.selection.screenot import screenot
from eckart.selection.spectrum import Spectrum, safe_scale

_RULED: dict[str, Callable[..., tuple[int, str]]] = {
    "best": best,
    "energy": energy,
    "gavish_donoho": gavish_donoho,
    "screenot": screenot,
    "information": information,
    "parallel_analysis": parallel_analysis,
    "cross_validation": cross_validation,
}
_OBSERVED: dict[str, Callable[..., tuple[Any, ...]]] = {
    "best": withheld,
    "energy": observed_energy,
    "information": observed_information,
    "cross_validation": withheld,
}
RULES = tuple(_RULED)
DENSE_LIMIT = 100_000_000
SEEDED = ("best", "parallel_analysis", "cross_validation")


class Choice(NamedTuple):
    """A rank, at least 1, the rule that chose it, and why, in one line.

    Where the rule withheld entries, ``errors`` are the relative errors on them, from rank 0 on.
    """

    rule: str
    rank: int
    reason: str
    errors: tuple[float, ...] = ()


def choose(
    matrix: Tensor, rule: str = "best", *, seed: int = 0, max_rank: int | None = None, **settings: object
) -> Choice:
    """Choose the rank of a matrix that is known in full.

    Args:
        matrix: Real, shape ``(m, n)``.
        rule: One of ``RULES``.
        seed: Seed of the rules that draw random numbers.
        max_rank: Largest rank that may be chosen; ``min(m, n)`` if None.
        settings: Settings of the rule, such as ``share`` of ``energy``.

    Returns:
        The rank, at least 1, with the rule and the reason.

    Raises:
        ValueError: If the rule is unknown, the matrix has not two dimensions, or an entry is not finite.

    Example:
        >>> import torch
        >>> choose(torch.diag(torch.tensor([9.0, 1.0, 1.0, 1.0])), "gavish_donoho").rank
        1
    """
    require_one_of("rule", rule, RULES)
    return choose_spectrum(Spectrum(matrix), rule, seed=seed, max_rank=max_rank, **settings)


def choose_observed(
    entries: Entries, rule: str = "best", *, seed: int = 0, max_rank: int | None = None, **settings: object
) -> Choice:
    """Choose the rank of a matrix of which some entries are known.

    ``best`` and ``cross_validation`` withhold entries, ``energy`` and ``information`` look at fits to all of them: no
    dense matrix is made. The other rules need singular values: they get those of the matrix with zeros in the place
    of what is unknown, which hides weak components. If all entries are known, this is :func:`choose`.

    Args:
        entries: The known entries.
        rule: One of ``RULES``.
        seed: Seed of the rules that draw random numbers.
        max_rank: Largest rank that may be chosen; ``min(m, n)`` if None.
        settings: Settings of the rule.

    Returns:
        The rank, at least 1, with the rule and the reason.

    Raises:
        ValueError: If the rule is unknown, a value is not finite, or the rule needs a dense matrix that is too large.

    Example:
        >>> import torch
        >>> nan = torch.nan
        >>> known = torch.tensor([[1.0, 2.0, nan], [2.0, 4.0, 2.0], [nan, 2.0, 1.0], [3.0, nan, 3.0]])
        >>> choose_observed(Entries.of_matrix(known)).rank
        1
    """
    require_one_of("rule", rule, RULES)
    if not torch.isfinite(entries.value).all():
        raise ValueError("The entries must be finite numbers. Found NaN or infinity.")
    m, n = entries.shape
    if len(entries) == m * n:
        return choose(entries.dense(), rule, seed=seed, max_rank=max_rank, **settings)
    if rule in _OBSERVED:
        limit = _limit(entries.shape, max_rank)
        seeded = {"seed": seed} if rule in SEEDED else {}
        scaled = entries / safe_scale(entries.value.double())
        rank, reason, *errors = _OBSERVED[rule](scaled, **seeded, **{"kmax": max_rank, **settings})
        return _within(rule, rank, reason, limit)._replace(errors=tuple(errors))
    if m * n > DENSE_LIMIT:
        law = f"{rule} needs a dense matrix of at most {DENSE_LIMIT:,} entries; best does not"
        raise ValueError(f"{law}. Found {m:,}×{n:,}.")
    filled = Entries(entries.row, entries.col, entries.value.double(), entries.shape).dense().nan_to_num(0)
    choice = choose(filled, rule, seed=seed, max_rank=max_rank, **settings)
    return choice._replace(reason=f"{choice.reason} (zeros in the place of unknown entries)")


def all_choices(
    target: Tensor | Entries,
    *,
    seed: int = 0,
    max_rank: int | None = None,
    rules: Sequence[str] = RULES,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Choice]:
    """What each rule would choose, in the order of ``rules``; singular values are computed once.

    Args:
        target: The matrix, shape ``(m, n)``, or its known entries.
        seed: Seed of the rules that draw random numbers.
        max_rank: Largest rank that may be chosen; ``min(m, n)`` if None.
        rules: The rules that are asked; those of ``SEEDED`` take far longer than the others.
        settings: Settings of the rules by name, where they are not the usual ones.

    Returns:
        One choice for each rule; without those that need a dense matrix, if it is too large.

    Example:
        >>> import torch
        >>> {choice.rank for choice in all_choices(torch.outer(torch.arange(5.0), torch.ones(4)))}
        {1}
    """
    own = {rule: dict((settings or {}).get(rule, {})) for rule in rules}
    if isinstance(target, Tensor):
        spectrum = Spectrum(target)
        return [choose_spectrum(spectrum, rule, seed=seed, max_rank=max_rank, **own[rule]) for rule in rules]
    m, n = target.shape
    fit = [rule for rule in rules if rule in _OBSERVED or m * n <= DENSE_LIMIT]
    # With entries missing, best is cross-validation.
    same = len(target) < m * n and own.get("best") == own.get("cross_validation")
    chosen = {
        rule: choose_observed(target, rule, seed=seed, max_rank=max_rank, **own[rule])
        for rule in fit
        if not (same and rule == "cross_validation")
    }
    return [chosen[rule if rule in chosen else "best"]._replace(rule=rule) for rule in fit]


def choose_spectrum(
    spectrum: Spectrum, rule: str = "best", *, seed: int = 0, max_rank: int | None = None, **settings: object
) -> Choice:
    """:func:`choose` for a matrix whose singular values several rules share.

    Args:
        spectrum: The matrix.
        rule: One of ``RULES``.
        seed: Seed of the rules that draw random numbers.
        max_rank: Largest rank that may be chosen; ``min(m, n)`` if None.
        settings: Settings of the rule.

    Returns:
        The rank, at least 1, with the rule and the reason.

    Example:
        >>> choose_spectrum(Spectrum(torch.eye(3)), "energy", share=0.5).rank
        2
    """
    limit = _limit(spectrum.shape, max_rank)
    exact = spectrum.exact_rank
    if exact is not None and rule != "energy":
        rank, reason = exact, f"without noise: the matrix has exactly rank {exact}"
    elif min(spectrum.shape) == 1:
        rank, reason = 1, "a single row or column has rank 1"
    else:
        seeded = {"seed": seed} if rule in SEEDED else {}
        rank, reason = _RULED[rule](spectrum, **seeded, **settings)
    return _within(rule, rank, reason, limit)


def _limit(shape: tuple[int, int], max_rank: int | None) -> int:
    if max_rank is not None:
        require_count("max_rank", max_rank)
    return min(max_rank or min(shape), min(shape))


def _within(rule: str, rank: int, reason: str, limit: int) -> Choice:
    """A choice of at least 1 and at most the limit, which says so."""
    if rank == 0:
        reason = f"nothing stands out of the noise: rank 0 was found, 1 is the least ({reason})"
    elif rank > limit:
        reason += f"; rank {rank} was found, {limit} is the largest allowed"
    return Choice(rule, min(max(rank, 1), limit), reason)
