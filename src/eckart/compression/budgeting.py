"""A budget spent on the layers of a model: the ranks of least summed loss, and none that makes a layer slower."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eckart.compression.allocation import Allocation, BudgetTooSmall, allocate
from eckart.compression.candidate import Candidate, Option
from eckart.compression.costs import Costs
from eckart.compression.speed import Speed

Chosen = tuple[Option, str]


class OutOfReach(ValueError):
    """A budget that the least ranks exceed."""


def spend(
    candidates: Sequence[Candidate],
    losses: Sequence[Sequence[float]],
    costs: Costs,
    budget: float,
    told: str,
    speed: Speed | None = None,
) -> list[Chosen]:
    """Options of least summed loss within a budget, and why each was taken.

    A rank at which a layer is not faster than dense is not taken, as long as the budget can be met without.

    Args:
        candidates: The layers.
        losses: Loss of each option of each.
        costs: What the budget is a share of.
        budget: Share of the dense model's cost, in (0, 1].
        told: What the losses are.
        speed: Measures ranks; None takes any.

    Returns:
        An option for each candidate, with the reason.

    Raises:
        OutOfReach: If the least ranks cost more than the budget; it says what they cost.
    """
    prices = [costs.options(candidate) for candidate in candidates]
    limits: dict[int, dict[Any, int]] = {}
    needed: dict[int, str] = {}
    found = _allocated(candidates, losses, prices, costs, budget, limits)
    while speed is not None:
        slow = next(
            (
                place
                for place, option in enumerate(_options(candidates, found))
                if option.rank is not None
                and place not in needed
                and not speed.faster(candidates[place].layer, option.rank, option.form)
            ),
            None,
        )
        if slow is None:
            break
        option = _options(candidates, found)[slow]
        assert option.rank is not None
        layer = candidates[slow].layer
        least = speed.limit(layer, option.rank, option.form)
        tried = limits | {slow: limits.get(slow, {}) | {option.form: least}}
        try:
            found, limits = _allocated(candidates, losses, prices, costs, budget, tried), tried
        except OutOfReach:
            # Without this layer the budget cannot be met: it keeps what it got.
            needed[slow] = f", although {speed.why(layer, option.form)}: the budget needs it"
    return [
        (option, _why(candidate, option, budget, costs.name, told, limits.get(place), speed) + needed.get(place, ""))
        for place, (candidate, option) in enumerate(zip(candidates, _options(candidates, found), strict=True))
    ]


def _options(candidates: Sequence[Candidate], found: Sequence[int]) -> list[Option]:
    return [candidate.options[place] for candidate, place in zip(candidates, found, strict=True)]


def _allocated(
    candidates: Sequence[Candidate],
    losses: Sequence[Sequence[float]],
    prices: Sequence[Sequence[float]],
    costs: Costs,
    budget: float,
    limits: Mapping[int, Mapping[Any, int]],
) -> list[int]:
    """Places of the chosen options, of those that limits on the ranks leave."""
    kept = [
        [
            place
            for place, option in enumerate(candidate.options)
            if option.rank is None or option.rank <= limits.get(number, {}).get(option.form, option.rank)
        ]
        for number, candidate in enumerate(candidates)
    ]
    # What no choice changes. The first option is the dense layer.
    fixed = max(costs.total - sum(price[0] for price in prices), 0.0)
    try:
        found: Allocation = allocate(
            [[loss[place] for place in places] for loss, places in zip(losses, kept, strict=True)],
            [[cost[place] for place in places] for cost, places in zip(prices, kept, strict=True)],
            budget * costs.total - fixed,
        )
    except BudgetTooSmall as error:
        least = _rounded_up((error.smallest + fixed) / costs.total)
        law = f"The budget must be at least {least:.4g} of the {costs.name}, what the least ranks leave"
        raise OutOfReach(f"{law}. Found {budget}.") from None
    return [places[option] for places, option in zip(kept, found.options, strict=True)]


def _rounded_up(share: float) -> float:
    """A share with four digits that is no smaller: what is told as enough is enough.

    Example:
        >>> _rounded_up(0.123412)
        0.1235
    """
    digits = 3 - math.floor(math.log10(share))
    return round(math.ceil(share * 10**digits) / 10**digits, digits)


def _why(
    candidate: Candidate,
    option: Option,
    budget: float,
    name: str,
    told: str,
    limits: Mapping[Any, int] | None,
    speed: Speed | None,
) -> str:
    if len(candidate.options) == 1:
        return "dense: no rank has fewer parameters"
    if option.rank is not None:
        why = f"ranks of least summed loss within {budget:.4g} of the {name}: {told}"
        if limits and speed is not None and option.rank == limits.get(option.form):
            # The loss may be much larger than the budget asks for: a user must see what to change.
            why += (
                f"; the largest that is faster ({speed.why(candidate.layer, option.form)}): "
                "method.keep_slower=true (in Python keep_slower=True) lifts that"
            )
        return why
    if limits and speed is not None:
        form = next(iter(limits))
        return f"dense: {speed.why(candidate.layer, form)}"
    return f"dense: fits into {budget:.4g} of the {name}"
