"""Ranks by a rule or as asked for, and what the options of layers lose, for those by a budget."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eckart.compression.budgeting import Chosen
from eckart.compression.candidate import Candidate
from eckart.compression.layers import Form, matches
from eckart.compression.sensitivity import measured
from eckart.selection.choosing import choose

Rank = int | str | Mapping[str, int | str]


def by_rank(candidates: Sequence[Candidate], rank: Rank, rule: Mapping[str, Any], seed: int) -> list[Chosen]:
    """Ranks that are given, or found from the weights by a rule, with reasons.

    Args:
        candidates: The layers.
        rank: A rank, ``"auto"``, or either by patterns of paths.
        rule: Name of the rule of ``"auto"``, under ``rule``, and its settings.
        seed: Seed of the rule.

    Raises:
        ValueError: If a pattern matches no layer, or the rule is unknown.
    """
    paths = [path for candidate in candidates for path in candidate.layer.paths]
    for pattern in rank if isinstance(rank, Mapping) else ():
        if not any(matches(path, pattern) for path in paths):
            raise ValueError(f"Each pattern of rank must match a layer. Found {pattern!r}, which matches none.")
    return [_of_one(candidate, rank, rule, seed) for candidate in candidates]


def _of_one(candidate: Candidate, rank: Rank, rule: Mapping[str, Any], seed: int) -> Chosen:
    layer = candidate.layer
    if isinstance(rank, Mapping):
        pattern = next((pattern for pattern in rank if any(matches(path, pattern) for path in layer.paths)), None)
        if pattern is None:
            return candidate.options[0], "dense: no pattern of rank names it"
        rank = rank[pattern]
    form, why = layer.forms()[0], "the rank that was asked for"
    if rank == "auto":
        matrices = layer.matrix(form).double()
        choices = [choose(part, seed=seed, **rule) for part in (matrices if matrices.dim() > 2 else matrices[None])]
        choice = max(choices, key=lambda choice: choice.rank)
        rank, why = choice.rank, f"{choice.rule}: {choice.reason}"
    option = next((option for option in candidate.options if (option.rank, option.form) == (rank, form)), None)
    if option is None:
        m, n = layer.sides(form)
        return candidate.options[0], f"dense: rank {rank} has no fewer parameters than {m}×{n}"
    return option, why


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
