"""Ranks by a budget: the least sum of losses whose costs fit, with a bound that proves how good it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Partial choices that are kept at once. Models of a hundred layers need some thousands.
MAX_PARTIAL = 200_000
# Of the sum of losses: what rounding in sums of hundreds of terms may change.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Allocation:
    """One option of each layer.

    Attributes:
        options: Index of the chosen option of each layer.
        loss: Sum of their losses.
        cost: Sum of their costs, at most the budget.
        bound: No choice within the budget has a smaller loss than this.
        price: Loss that one more unit of the budget is worth: the multiplier of the dual bound.
    """

    options: list[int]
    loss: float
    cost: float
    bound: float
    price: float

    @property
    def gap(self) -> float:
        """How much less the loss of the best choice can be; 0 where this is proven to be the best."""
        return max(self.loss - self.bound, 0.0)


class BudgetTooSmall(ValueError):
    """Even the cheapest options cost more than the budget.

    Attributes:
        smallest: What the cheapest options cost together.
    """

    def __init__(self, budget: float, smallest: float) -> None:
        self.smallest = smallest
        super().__init__(
            f"The budget must be at least {smallest:.12g}, what the least ranks cost. Found {budget:.12g}."
        )


def allocate(losses: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], budget: float) -> Allocation:
    r"""Choose one option of each layer so that the summed loss is least and the summed cost is within a budget.

    With the options of a layer its ranks, ``losses[l][i]`` what its ``i``-th rank adds to the loss of the model and
    ``costs[l][i]`` its parameters (or multiply-adds, or seconds). An option that costs more than one with no larger
    loss is never chosen: with the dense layer among the options (loss 0), a layer whose factors would be larger than
    its matrix stays dense.

    The Lagrangian dual separates by layer: for a price λ each layer takes the option of least ``loss + λ cost``, and
    the best λ lies at a corner of the lower convex hulls. What the hulls leave over is settled by dynamic programming
    over the layers: partial choices are kept that no other beats in both loss and cost, and whose dual bound is below
    the best choice known. So the result is the exact optimum, also for costs that are no integers, unless more than
    ``MAX_PARTIAL`` partial choices are left; then ``gap`` says what is not proven.

    Args:
        losses: Loss of each option of each layer; finite, in any order.
        costs: Cost of each option of each layer, of the same shape; finite. Whole numbers are added exactly.
        budget: Largest sum of costs.

    Returns:
        The choice, with its loss and cost, and the bound that certifies it.

    Raises:
        BudgetTooSmall: If the cheapest options together cost more than the budget; it says what they cost.
        ValueError: If there is no layer, or a layer has no option, as many losses as costs, or a number is not finite.

    Example:
        >>> losses, costs = [[9.0, 2.0, 0.0], [5.0, 1.0, 0.0]], [[1, 2, 3], [2, 4, 6]]
        >>> best = allocate(losses, costs, budget=6)
        >>> best.options, best.loss, best.cost, best.gap
        ([1, 1], 3.0, 6.0, 0.0)

    References:
        Multiple-choice knapsack problem: Sinha & Zoltners, Operations Research 27(3), 1979. Dynamic programming with
        bounds: Dyer, Riha & Walker, European Journal of Operational Research 81, 1995.
    """
    layers = [_Layer.of(place, loss, cost) for place, (loss, cost) in enumerate(_pairs(losses, costs))]
    smallest = sum(float(layer.cost[0]) for layer in layers)
    if not budget >= smallest:
        raise BudgetTooSmall(budget, smallest)
    price, low, high = _dual(layers, budget)
    reduced = [layer.loss + price * layer.cost for layer in layers]
    bound = sum(float(values.min()) for values in reduced) - price * budget
    best = _greedy(layers, low, high, budget)
    if price > 0:
        best, bound = _exact(layers, reduced, price, budget, best, bound)
    options = [int(layer.option[place]) for layer, place in zip(layers, best, strict=True)]
    loss = math.fsum(float(layer.loss[place]) for layer, place in zip(layers, best, strict=True))
    cost = math.fsum(float(layer.cost[place]) for layer, place in zip(layers, best, strict=True))
    return Allocation(options, loss, cost, min(bound, loss), price)


@dataclass(frozen=True)
class _Layer:
    """Options that no other beats in both, by rising cost and falling loss, and which of them the hull touches."""

    option: Integers
    cost: Floats
    loss: Floats
    hull: Integers

    @classmethod
    def of(cls, place: int, loss: Floats, cost: Floats) -> "_Layer":
        if loss.ndim != 1 or not len(loss) or loss.shape != cost.shape:
            law = f"Layer {place} must have at least one option, and as many losses as costs"
            raise ValueError(f"{law}. Found {loss.shape} and {cost.shape}.")
        if not (np.isfinite(loss).all() and np.isfinite(cost).all()):
            raise ValueError(f"Losses and costs must be finite. Found NaN or infinity in layer {place}.")
        order = np.lexsort((loss, cost))
        before = np.minimum.accumulate(np.concatenate([[np.inf], loss[order][:-1]]))
        order = order[loss[order] < before]
        return cls(order, cost[order], loss[order], _hull(cost[order], loss[order]))


def _pairs(losses: Sequence[Sequence[float]], costs: Sequence[Sequence[float]]) -> list[tuple[Floats, Floats]]:
    if not len(losses) or len(losses) != len(costs):
        law = "There must be at least one layer, and losses and costs of each"
        raise ValueError(f"{law}. Found {len(losses)} layers with losses and {len(costs)} with costs.")
    return [
        (np.asarray(loss, dtype=np.float64), np.asarray(cost, dtype=np.float64))
        for loss, cost in zip(losses, costs, strict=True)
    ]


def _hull(cost: Floats, loss: Floats) -> Integers:
    """Corners of the lower convex hull, by rising cost."""
    corners: list[int] = []
    for place in range(len(cost)):
        while len(corners) > 1:
            first, last = corners[-2], corners[-1]
            rise = (loss[last] - loss[first]) * (cost[place] - cost[first])
            if rise < (loss[place] - loss[first]) * (cost[last] - cost[first]):
                break
            corners.pop()
        corners.append(place)
    return np.array(corners)


def _dual(layers: Sequence[_Layer], budget: float) -> tuple[float, list[int], list[int]]:
    """The best price, with the choices just within the budget and just above it on the hulls.

    Edges of all hulls, taken by falling gain per cost, solve the relaxed problem: the edge that the budget cuts has the
    price.
    """
    edges = []
    for place, layer in enumerate(layers):
        cost, loss = layer.cost[layer.hull], layer.loss[layer.hull]
        gains = (loss[:-1] - loss[1:]) / (cost[1:] - cost[:-1])
        edges += [(-gain, place, corner + 1) for corner, gain in enumerate(gains.tolist())]
    edges.sort()
    chosen = [0] * len(layers)
    spent = sum(float(layer.cost[0]) for layer in layers)
    for gain, place, corner in edges:
        layer = layers[place]
        after = int(layer.hull[corner])
        step = float(layer.cost[after] - layer.cost[chosen[place]])
        if spent + step > budget:
            above = list(chosen)
            above[place] = after
            return -gain, chosen, above
        spent += step
        chosen[place] = after
    return 0.0, chosen, chosen


def _greedy(layers: Sequence[_Layer], low: list[int], high: list[int], budget: float) -> list[int]:
    """A good choice within the budget: the hull's, and then whatever still fits, the largest gains first."""
    starts = [_raised(layers, low, budget)]
    if high != low:
        changed = next(place for place, (a, b) in enumerate(zip(low, high, strict=True)) if a != b)
        # The layer at the edge takes the most that fits, and the others give nothing back.
        starts.append(_raised(layers, low, budget, first=changed))
    return min(starts, key=lambda chosen: sum(float(layer.loss[i]) for layer, i in zip(layers, chosen, strict=True)))


def _raised(layers: Sequence[_Layer], chosen: list[int], budget: float, first: int | None = None) -> list[int]:
    chosen = list(chosen)
    left = budget - math.fsum(float(layer.cost[i]) for layer, i in zip(layers, chosen, strict=True))
    places = sorted(range(len(layers)), key=lambda place: (place != first, -float(layers[place].loss[chosen[place]])))
    for place in places:
        layer, now = layers[place], chosen[place]
        most = int(np.searchsorted(layer.cost, layer.cost[now] + left, side="right")) - 1
        if most > now:
            left -= float(layer.cost[most] - layer.cost[now])
            chosen[place] = most
    return chosen


def _exact(
    layers: Sequence[_Layer], reduced: Sequence[Floats], price: float, budget: float, best: list[int], bound: float
) -> tuple[list[int], float]:
    """The optimum by dynamic programming, and the bound that is proven for it."""
    count = len(layers)
    known = sum(float(layer.loss[i]) for layer, i in zip(layers, best, strict=True))
    slack = ROUNDING * sum(float(np.abs(layer.loss).max()) for layer in layers)
    if known - bound <= slack:
        return best, known
    least = [float(values.min()) for values in reduced]
    # What an option loses against the best at this price; an option that loses the whole gap cannot be in a better
    # choice. The layers with most options left come last: by then little of the gap is left.
    lost = [values - value for values, value in zip(reduced, least, strict=True)]
    kept = [np.flatnonzero(values < known - bound - slack) for values in lost]
    order = sorted(range(count), key=lambda place: len(kept[place]))
    cheapest = np.cumsum([0.0, *(float(layers[place].cost[kept[place]].min()) for place in reversed(order))])[::-1]
    cost, waste = np.zeros(1), np.zeros(1)
    trail: list[tuple[Integers, Integers]] = []
    unproven = math.inf
    for step, place in enumerate(order):
        options = kept[place]
        costs = (cost[:, None] + layers[place].cost[options]).ravel()
        wastes = (waste[:, None] + lost[place][options]).ravel()
        # Money that is left at the end is waste as well, but only the cost so far is known: that it fits.
        inside = (costs + cheapest[step + 1] <= budget) & (wastes < known - bound - slack)
        places = np.flatnonzero(inside)
        places = places[_unbeaten(costs[places], wastes[places], price)]
        if len(places) > MAX_PARTIAL:
            ranked = places[np.argsort(wastes[places], kind="stable")]
            unproven = min(unproven, float(wastes[ranked[MAX_PARTIAL]]))
            places = np.sort(ranked[:MAX_PARTIAL])
        cost, waste = costs[places], wastes[places]
        trail.append((places // len(options), options[places % len(options)]))
        if not len(places):
            break
    if len(cost):
        losses = waste + price * (budget - cost)
        found = int(np.argmin(losses))
        if float(losses[found]) + bound < known:
            best = _followed(trail, order, found)
            known = sum(float(layer.loss[i]) for layer, i in zip(layers, best, strict=True))
    return best, min(known, bound + unproven)


def _unbeaten(costs: Floats, wastes: Floats, price: float) -> Integers:
    """Places of the partial choices that no other beats in cost and loss, by rising cost."""
    losses = wastes - price * costs
    order = np.lexsort((losses, costs))
    if not len(order):
        return order
    before = np.minimum.accumulate(np.concatenate([[np.inf], losses[order][:-1]]))
    return order[losses[order] < before]


def _followed(trail: list[tuple[Integers, Integers]], order: list[int], found: int) -> list[int]:
    """The options of a finished choice, back to the first layer."""
    chosen = [0] * len(order)
    for place, (parents, options) in zip(reversed(order), reversed(trail), strict=True):
        chosen[place] = int(options[found])
        found = int(parents[found])
    return chosen
