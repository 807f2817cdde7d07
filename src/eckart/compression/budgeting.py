"""A budget spent on the layers of a model: what each option costs, and the ranks of least loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from eckart.compression.allocation import Allocation, BudgetTooSmall, allocate
from eckart.compression.candidate import Candidate, Option
from eckart.compression.costs import MultiplyAdds
from eckart.compression.counting import count_parameters, evaluating
from eckart.compression.interpolation import rising, some_ranks
from eckart.compression.latency import SIZES, examples, feasible, pass_of, rank_seconds, resized, seconds
from eckart.compression.layers import Layer, low_rank_like
from eckart.compression.moments import Forward
from eckart.compression.speed import Speed

OF = ("parameters", "multiply_adds", "latency")
# Ranks of each form of a layer that are timed for a budget of latency.
TIMED_RANKS = 6
Chosen = tuple[Option, str]


@dataclass(frozen=True)
class Costs:
    """What a budget is a share of.

    Attributes:
        options: Cost of each option of each candidate.
        total: Cost of the dense model.
        name: What is counted.
    """

    options: list[list[float]]
    total: float
    name: str

    @property
    def fixed(self) -> float:
        """What no choice of ranks changes. The first option is the dense layer."""
        return max(self.total - sum(costs[0] for costs in self.options), 0.0)


def in_parameters(model: nn.Module, candidates: Sequence[Candidate]) -> Costs:
    """Costs in parameters."""
    options = [[float(option.parameters) for option in candidate.options] for candidate in candidates]
    return Costs(options, count_parameters(model), "parameters")


def in_multiply_adds(candidates: Sequence[Candidate], computed: MultiplyAdds) -> Costs:
    """Costs in multiply-adds for one sample."""
    options = []
    for candidate in candidates:
        layer = candidate.layer
        unit = {form: computed.of_layer(layer, 1, form) for form in {o.form for o in candidate.options[1:]}}
        dense = float(computed.of_layer(layer, None))
        options.append([dense if o.rank is None else float(o.rank * unit[o.form]) for o in candidate.options])
    return Costs(options, computed.total, "multiply-adds")


def in_seconds(
    model: nn.Module, candidates: Sequence[Candidate], batch: Any, forward: Forward, sizes: Sequence[int] = SIZES
) -> Costs:
    """Costs in measured time: the mean, over batches of several sizes, of the share of the dense model's time.

    Each layer is timed dense and at some ranks, with inputs of the shapes that it gets in the model; between these
    ranks a monotone curve is drawn. Layers of equal shapes are timed once.
    """
    modules = {candidate.layer.path: candidate.layer.modules[0] for candidate in candidates}
    options = [[0.0] * len(candidate.options) for candidate in candidates]
    sizes = sorted({feasible(model, batch, size, forward) for size in sizes})
    for size in sizes:
        inputs = resized(batch, size)
        with evaluating(model):
            whole = seconds([pass_of(model, inputs, forward)], typical=min)[0] * len(sizes)
        args = examples(model, modules, inputs, forward)
        known: dict[Any, tuple[list[float], float]] = {}
        for candidate, costs in zip(candidates, options, strict=True):
            for place, taken in enumerate(_seconds(candidate, args[candidate.layer.path], known)):
                costs[place] += taken / whole
    return Costs(options, 1.0, "latency")


def _seconds(candidate: Candidate, args: tuple[Any, ...], known: dict[Any, tuple[list[float], float]]) -> list[float]:
    """Seconds of each option of a layer."""
    layer = candidate.layer
    module = layer.modules[0]
    curves: dict[Any, list[float]] = {}
    whole = 0.0
    for form in {option.form for option in candidate.options[1:]} or {layer.forms()[0]}:
        largest = max([o.rank or 1 for o in candidate.options if o.form == form], default=1)
        key = (type(module), module.extra_repr(), form, largest, tuple(tuple(x.shape) for x in args))
        if key not in known:
            ranks = some_ranks(largest, TIMED_RANKS)
            low, whole = rank_seconds(module, _builder(layer, form), ranks, args)
            curve = low * largest if len(ranks) == 1 else rising(ranks, low, largest).tolist()
            known[key] = (curve, whole)
        curves[form], whole = known[key]
    uses = len(layer.modules)
    return [uses * (whole if o.rank is None else curves[o.form][o.rank - 1]) for o in candidate.options]


def _builder(layer: Layer, form: Any) -> Callable[[int], nn.Module]:
    return lambda rank: low_rank_like(layer.modules[0], rank, form)


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
        costs: Their costs.
        budget: Share of the dense model's cost, in (0, 1].
        told: What the losses are.
        speed: Measures ranks; None takes any.

    Returns:
        An option for each candidate, with the reason.

    Raises:
        ValueError: If the least ranks cost more than the budget; it says what they cost.
    """
    limits: dict[int, dict[Any, int]] = {}
    needed: dict[int, str] = {}
    found = _allocated(candidates, losses, costs, budget, limits)
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
            found, limits = _allocated(candidates, losses, costs, budget, tried), tried
        except ValueError:
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
    costs: Costs,
    budget: float,
    limits: dict[int, dict[Any, int]],
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
    try:
        found: Allocation = allocate(
            [[loss[place] for place in places] for loss, places in zip(losses, kept, strict=True)],
            [[cost[place] for place in places] for cost, places in zip(costs.options, kept, strict=True)],
            budget * costs.total - costs.fixed,
        )
    except BudgetTooSmall as error:
        least = (error.smallest + costs.fixed) / costs.total
        law = f"The budget must be at least {least:.4g} of the {costs.name}, what the least ranks leave"
        raise ValueError(f"{law}. Found {budget}.") from None
    return [places[option] for places, option in zip(kept, found.options, strict=True)]


def _why(
    candidate: Candidate,
    option: Option,
    budget: float,
    name: str,
    told: str,
    limits: dict[Any, int] | None,
    speed: Speed | None,
) -> str:
    if len(candidate.options) == 1:
        return "dense: no rank has fewer parameters"
    if option.rank is not None:
        return f"ranks of least summed loss within {budget:.4g} of the {name}: {told}"
    if limits and speed is not None:
        form = next(iter(limits))
        return f"dense: {speed.why(candidate.layer, form)}"
    return f"dense: fits into {budget:.4g} of the {name}"
