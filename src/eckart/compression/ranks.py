"""The rank of each layer: by a budget, by a rule, or as asked for."""

from collections.abc import Callable, Mapping, Sequence

from eckart.compression.allocation import BudgetTooSmall, allocate
from eckart.compression.candidate import Candidate, Option
from eckart.compression.costs import Costs
from eckart.compression.layers import Form, matches
from eckart.compression.sensitivity import measured
from eckart.selection.choosing import choose

Rank = int | str | Mapping[str, int | str]
Chosen = tuple[Option, str]


def by_rank(candidates: Sequence[Candidate], rank: Rank, seed: int) -> list[Chosen]:
    """Ranks that are given, or found from the weights by the default rule, with reasons.

    Args:
        candidates: The layers.
        rank: A rank, ``"auto"``, or either by patterns of paths.
        seed: Seed of the rule.

    Raises:
        ValueError: If a pattern matches no layer.
    """
    paths = [path for candidate in candidates for path in candidate.layer.paths]
    for pattern in rank if isinstance(rank, Mapping) else ():
        if not any(matches(path, pattern) for path in paths):
            raise ValueError(f"Each pattern of rank must match a layer. Found {pattern!r}, which matches none.")
    return [_of_one(candidate, rank, seed) for candidate in candidates]


def _of_one(candidate: Candidate, rank: Rank, seed: int) -> Chosen:
    layer = candidate.layer
    if isinstance(rank, Mapping):
        pattern = next((pattern for pattern in rank if any(matches(path, pattern) for path in layer.paths)), None)
        if pattern is None:
            return candidate.options[0], "dense: no pattern of rank names it"
        rank = rank[pattern]
    form, why = layer.forms()[0], "the rank that was asked for"
    if rank == "auto":
        matrices = layer.matrix(form).double()
        choices = [choose(matrix, seed=seed) for matrix in (matrices if matrices.dim() > 2 else matrices[None])]
        choice = max(choices, key=lambda choice: choice.rank)
        rank, why = choice.rank, f"rank {choice.rank} of its weight: {choice.reason}"
    option = next((option for option in candidate.options if (option.rank, option.form) == (rank, form)), None)
    if option is None:
        m, n = layer.sides(form)
        return candidate.options[0], f"dense: rank {rank} has no fewer parameters than {m}×{n}"
    return option, why


def by_budget(
    candidates: Sequence[Candidate],
    losses: Sequence[Sequence[float]],
    budget: float,
    costs: Costs,
    stay_dense: Mapping[int, str],
    prices: Sequence[Sequence[float]],
) -> list[Chosen]:
    """Ranks of least summed loss within a budget, with reasons.

    Args:
        candidates: The layers.
        losses: What each option of each adds to the loss of the model.
        budget: Share of the costs of the whole dense model.
        costs: What it is a share of.
        stay_dense: Layers that must stay dense, by their index, with the reason.
        prices: Cost of each option of each layer.

    Raises:
        ValueError: If the budget is below what the least ranks take.
    """
    fixed = costs.total - sum(price[0] for price in prices)
    ends = [1 if place in stay_dense else None for place in range(len(candidates))]
    try:
        found = allocate(
            [loss[:end] for loss, end in zip(losses, ends, strict=True)],
            [price[:end] for price, end in zip(prices, ends, strict=True)],
            budget * costs.total - fixed,
        )
    except BudgetTooSmall as error:
        least = (error.smallest + fixed) / costs.total
        law = f"The budget must be at least {least:.4g} of the {costs.name}, what the least ranks leave"
        slow = "" if not stay_dense else f" with {len(stay_dense)} layers dense that would be slower: see keep_slower"
        raise ValueError(f"{law}{slow}. Found {budget}.") from None
    why = f"ranks of least summed loss within {budget:.4g} of the {costs.name}"
    chosen = []
    for place, (candidate, option) in enumerate(zip(candidates, found.options, strict=True)):
        reason = why
        if place in stay_dense:
            reason = stay_dense[place]
        elif len(candidate.options) == 1:
            reason = "dense: no rank has fewer parameters"
        elif option == 0:
            reason = f"dense: fits into {budget:.4g} of the {costs.name}"
        chosen.append((candidate.options[option], reason))
    return chosen


def relative_losses(candidates: Sequence[Candidate]) -> list[list[float]]:
    """Losses of every option relative to the outputs of the layer."""
    return [[option.loss / (candidate.energy or 1.0) for option in candidate.options] for candidate in candidates]


def predicted_losses(candidates: Sequence[Candidate]) -> list[list[float]]:
    """What every option adds to the loss of the model to second order, for candidates that know its gradients."""
    return [[option.loss / 2 for option in candidate.options] for candidate in candidates]


def measured_losses(candidates: Sequence[Candidate], loss: Callable[[], float]) -> list[list[float]]:
    """What every option adds to the loss of the model, measured at some ranks of each form, one layer at a time.

    Args:
        candidates: The layers.
        loss: Computes the loss of the model that the layers are in.
    """
    found = []
    for candidate in candidates:
        values: dict[Form, list[float]] = {}
        for form in {option.form for option in candidate.options[1:]}:
            largest = len(candidate.losses(form)) - 1
            with candidate.trying(form) as truncated:
                values[form] = measured(loss, {"": candidate.layer.weight.data}, {"": truncated}, {"": largest})[""]
        found.append([0.0 if o.rank is None else values[o.form][o.rank - 1] for o in candidate.options])
    return found
