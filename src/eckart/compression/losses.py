"""The loss that each rank of each layer adds to the model: what a budget is spent on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from eckart.compression.candidate import Candidate, Option
from eckart.compression.layers import Layer, low_rank_like, replace
from eckart.compression.moments import Forward, samples_of
from eckart.compression.sensitivity import Divergence, measured, output_moments

KINDS = ("auto", "measured", "second_order", "relative")
# Multiply-adds that measuring may take, under which auto measures: some seconds.
MEASURED_UP_TO = 1e12
# Ranks of each layer that are measured.
MEASURED_RANKS = 8


def gradients(
    kind: str, model: nn.Module, layers: Sequence[Layer], batches: Sequence[Any], forward: Forward, seed: int
) -> tuple[dict[str, Tensor] | None, str]:
    """Moments of the gradients at the outputs of layers, and why there are none, if so.

    Args:
        kind: One of ``KINDS``.
        model: The dense model.
        layers: Its layers.
        batches: Batches that they are computed on.
        forward: Calls the model with a batch.
        seed: Seed of the labels.

    Raises:
        ValueError: If the kind needs them, and the model's outputs are not logits.
    """
    if kind == "relative" or not batches:
        return None, "each layer's error relative to its outputs"
    modules = {
        path: module
        for layer in layers
        for path, module in zip(layer.module_paths, layer.modules, strict=True)
        if not isinstance(module, nn.Embedding)
    }
    try:
        found = output_moments(model, modules, batches, forward=forward, seed=seed)
    except ValueError:
        if kind != "auto":
            raise
        return None, "each layer's error relative to its outputs, as those of the model are no logits"
    return found, ""


def losses(
    kind: str,
    model: nn.Module,
    candidates: Sequence[Candidate],
    batches: Sequence[Any],
    forward: Forward,
    multiply_adds: float | None,
) -> tuple[list[list[float]], str]:
    """Loss of each option of each candidate, and in what it is told.

    Args:
        kind: One of ``KINDS``.
        model: The dense model.
        candidates: Layers with what is known of them.
        batches: Batches that are measured on.
        forward: Calls the model with a batch.
        multiply_adds: Those of the model for one sample, if they are known.
    """
    known = [candidate for candidate in candidates if candidate.of_model]
    if kind == "relative" or not batches or (not known and kind == "auto"):
        return [_relative(candidate) for candidate in candidates], "error relative to its outputs"
    curves = sum(len(candidate.best) for candidate in candidates)
    samples = sum(samples_of(batch) for batch in batches)
    work = (multiply_adds or 0) * samples * curves * MEASURED_RANKS
    if kind == "measured" or (kind == "auto" and multiply_adds is not None and work <= MEASURED_UP_TO):
        return _measured(model, candidates, batches, forward), "measured divergence of the model's outputs"
    return [_second_order(candidate) for candidate in candidates], "divergence of the model's outputs to second order"


def _relative(candidate: Candidate) -> list[float]:
    scale = candidate.energy or 1.0
    return [option.loss / scale for option in candidate.options]


def _second_order(candidate: Candidate) -> list[float]:
    if candidate.of_model:
        return [option.loss / 2 for option in candidate.options]
    # Nothing is known of what the model minds: as if all of the outputs were worth one nat.
    return _relative(candidate)


def _measured(
    model: nn.Module, candidates: Sequence[Candidate], batches: Sequence[Any], forward: Forward
) -> list[list[float]]:
    divergence = Divergence(model, batches, forward)
    at: dict[Any, Callable[[int], Any]] = {}
    largest: dict[Any, int] = {}
    for candidate in candidates:
        for form in candidate.best:
            key = (candidate.layer.path, form)
            options = {option.rank: option for option in candidate.options if option.form == form and option.rank}
            if options:
                at[key] = _truncated(model, candidate, options)
                # Beyond the ranks that are cheaper than the dense layer nothing is lost.
                largest[key] = max(rank for rank in options if rank) + 1
    curves = measured(divergence, at, largest, count=MEASURED_RANKS)
    return [
        [0.0 if o.rank is None else curves[(candidate.layer.path, o.form)][o.rank - 1] for o in candidate.options]
        for candidate in candidates
    ]


def _truncated(model: nn.Module, candidate: Candidate, options: Mapping[int | None, Option]) -> Callable[[int], Any]:
    """Gives the model with this layer at a rank, for a while."""
    layer = candidate.layer

    @contextmanager
    def inside(rank: int) -> Iterator[None]:
        option = options[rank]
        replaced: list[Any] = [low_rank_like(module, rank, option.form) for module in layer.modules]
        candidate.fill(replaced, option)
        try:
            for path in layer.paths:
                replace(model, [path], replaced[layer.module_at(path)])
            yield
        finally:
            for path in layer.paths:
                replace(model, [path], layer.modules[layer.module_at(path)])

    return inside
