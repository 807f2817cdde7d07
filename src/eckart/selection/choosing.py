"""A rank by the name of its rule, with the reason in one line."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from eckart.linalg.checks import require_count, require_one_of
from eckart.selection.best import best
from eckart.selection.cross_validation import cross_validation
from eckart.selection.energy import energy
from eckart.selection.gavish_donoho import gavish_donoho
from eckart.selection.information import information
from eckart.selection.parallel_analysis import parallel_analysis
from eckart.selection.screenot import screenot
from eckart.selection.spectrum import Spectrum

_RULED: dict[str, Callable[..., tuple[int, str]]] = {
    "best": best,
    "energy": energy,
    "gavish_donoho": gavish_donoho,
    "screenot": screenot,
    "information": information,
    "parallel_analysis": parallel_analysis,
    "cross_validation": cross_validation,
}
RULES = tuple(_RULED)
SEEDED = ("best", "parallel_analysis", "cross_validation")


class Choice(NamedTuple):
    """A rank, at least 1, the rule that chose it, and why, in one line."""

    rule: str
    rank: int
    reason: str


class Observed(Protocol):
    """Entries of a matrix: rows, columns and values, shape ``(N,)`` each, and the shape of the matrix."""

    row: Tensor
    col: Tensor
    value: Tensor
    shape: tuple[int, int]


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
    return _choose(Spectrum(matrix), rule, seed, max_rank, settings)


def choose_observed(
    entries: Observed, rule: str = "best", *, seed: int = 0, max_rank: int | None = None, **settings: object
) -> Choice:
    """Choose the rank of a matrix of which some entries are known.

    Args:
        entries: The known entries.
        rule: One of ``RULES``.
        seed: Seed of what is withheld.
        max_rank: Largest rank that may be chosen.
        settings: Settings of the rule.

    Returns:
        The rank, at least 1, with the rule and the reason.

    Raises:
        ValueError: If the rule is unknown.
    """
    require_one_of("rule", rule, RULES)
    filled = torch.zeros(entries.shape, dtype=torch.float64)
    filled[entries.row, entries.col] = entries.value.double()
    return _choose(Spectrum(filled), rule, seed, max_rank, settings)


def all_choices(
    matrix: Tensor,
    *,
    seed: int = 0,
    max_rank: int | None = None,
    rules: Sequence[str] = RULES,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Choice]:
    """What each rule would choose, in the order of ``rules``; the singular values are computed once.

    Args:
        matrix: Real, shape ``(m, n)``.
        seed: Seed of the rules that draw random numbers.
        max_rank: Largest rank that may be chosen; ``min(m, n)`` if None.
        rules: The rules that are asked; those of ``SEEDED`` take far longer than the others.
        settings: Settings of the rules by name, where they are not the usual ones.

    Returns:
        One choice for each rule.
    """
    spectrum = Spectrum(matrix)
    return [_choose(spectrum, rule, seed, max_rank, dict((settings or {}).get(rule, {}))) for rule in rules]


def _choose(spectrum: Spectrum, rule: str, seed: int, max_rank: int | None, settings: dict[str, object]) -> Choice:
    if max_rank is not None:
        require_count("max_rank", max_rank)
    limit = min(max_rank or min(spectrum.shape), min(spectrum.shape))
    exact = spectrum.exact_rank
    if exact is not None and rule != "energy":
        rank, reason = exact, f"without noise: the matrix has exactly rank {exact}"
    elif limit == min(spectrum.shape) == 1:
        rank, reason = 1, "a single row or column has rank 1"
    else:
        seeded = {"seed": seed} if rule in SEEDED else {}
        rank, reason = _RULED[rule](spectrum, **seeded, **settings)
    if rank == 0:
        reason = f"nothing stands out of the noise: rank 0 was found, 1 is the least ({reason})"
    elif rank > limit:
        reason += f"; rank {rank} was found, {limit} is the largest allowed"
    return Choice(rule, min(max(rank, 1), limit), reason)
