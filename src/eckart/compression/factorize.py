"""Any model made low-rank: the front door."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.budgeting import Chosen, spend
from eckart.compression.candidate import Candidate, Certificate, Option
from eckart.compression.costs import Called, Costs, MultiplyAdds, Parameters, Seconds
from eckart.compression.counting import count_parameters, evaluating
from eckart.compression.factorized import Factorized, LayerReport, Place
from eckart.compression.latency import measure
from eckart.compression.layers import (
    DENSE,
    Found,
    Layer,
    find,
    low_rank_like,
    matches,
    open_attention,
    replace,
    slow_paths,
)
from eckart.compression.moments import Forward, Moments, gather, plain_forward, samples_of, to_device
from eckart.compression.ranks import (
    Rank,
    by_rank,
    measured_losses,
    predicted_losses,
    relative_losses,
)
from eckart.compression.sensitivity import Divergence, NoLogits, output_moments
from eckart.compression.speed import Speed
from eckart.linalg.checks import require_one_of
from eckart.nn.low_rank_attention import ProjectedAttention

# Samples that losses are measured on, and multiply-adds up to which they are by default: some seconds.
MEASURED_SAMPLES = 1024
MEASURED_UP_TO = 1e12
MEASURED_RANKS = 8
TOLD = {
    "measured": "the measured loss of the model",
    "second_order": "the loss of the model, to second order",
    "relative": "errors relative to the outputs of each layer",
}


def factorize(
    model: nn.Module,
    budget: float | None = None,
    inputs: Iterable[Any] | None = None,
    *,
    of: str = "parameters",
    rank: Rank | None = None,
    layers: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    embeddings: bool = False,
    sensitivity: str | None = None,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    forward: Forward = plain_forward,
    keep_slower: bool = False,
    inplace: bool = False,
    seed: int = 0,
) -> Factorized:
    """Replace layers of a model by layers of low rank, the best ones for given inputs.

    Linear layers, convolutions of one and two dimensions and the projections of ``nn.MultiheadAttention`` are replaced
    where they are, so that ``model.get_submodule`` finds each by its path; embeddings by choice. Layers with one weight
    keep one pair of factors. Each layer is the best of its rank for the inputs that reach it in the dense model:
    see :func:`eckart.linalg.whitened.whitened`. A layer that cannot be factorized, or whose factors would not be
    smaller than its weight, stays dense, and the result says why.

    Args:
        model: Any module, such as a LightningModule. Weights of float16, bfloat16, float32 or float64; all is computed
            in float64 and rounded to the type of the weights.
        budget: Share of the whole dense model that is left, in (0, 1]: ranks are chosen so that the summed loss is
            least. One of ``budget`` and ``rank`` must be given.
        inputs: Batches, such as a ``DataLoader``, that represent what the model is used for. None gives the plain
            truncated SVD of the weights.
        of: What the budget is a share of: ``parameters`` (with all biases), ``multiply_adds`` for one sample, or
            ``latency``, measured with one sample and with 256 at once.
        rank: Instead of a budget: a rank for all layers; ``"auto"``, chosen for each from its weight by the default
            rule of ``rank=auto``; or ranks by patterns of paths, the first that matches.
        layers: Patterns of paths of the layers that may be factorized, as of ``fnmatch``.
        exclude: Patterns of paths of layers that are left as they are.
        embeddings: Whether embeddings are factorized as well.
        sensitivity: What the budget's summed loss is made of. ``measured``: the change of ``loss``, or without one the
            divergence of the logits, measured at some ranks of one layer at a time. ``second_order``: the loss of the
            model to second order, with the gradients of its outputs read as logits. In both, layers are the best ones
            in the metric of these gradients. ``relative``: errors of layers relative to their outputs. By default
            ``measured`` where that takes few multiply-adds, else ``second_order``; ``relative`` for models without
            logits.
        loss: Loss of the model on a batch, for ``measured``: called with the model and the batch, gives a scalar.
        forward: Calls the model with a batch. By default a tensor is the argument, a sequence starts with it, and a
            mapping has keyword arguments.
        keep_slower: Whether layers may be of low rank that are not faster than the dense ones. Otherwise ranks are
            measured on this machine, with one sample and with 256 at once, and a layer gets none at which it is not
            faster, unless the budget cannot be met without: then the reason says so.
        inplace: Whether the model itself is changed, instead of a copy.
        seed: Seed of ``rank="auto"``.

    Returns:
        The factorized model, and what each layer got.

    Raises:
        ValueError: If an argument is out of its range, the budget is smaller than what the smallest ranks take, the
            model has no layer that can be factorized, a layer that is named cannot be, or the inputs are none, are not
            finite, or do not reach a layer.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> factorized = factorize(model, budget=0.5, inputs=[torch.eye(8)], keep_slower=True)
        >>> factorized.dense_parameters, factorized.parameters <= 106
        (212, True)
        >>> factorized.model(torch.ones(3, 8)).shape
        torch.Size([3, 4])
    """
    _check(budget, rank, of, sensitivity, inputs)
    if inputs is not None and iter(inputs) is inputs:
        # A generator gives its batches once, and they are needed more than once.
        inputs = list(inputs)
    given, model = model, model if inplace else copy.deepcopy(model)
    originals = _open(model, layers, exclude)
    try:
        found = find(model, layers, exclude, embeddings=embeddings)
        _check_found(model, found)
        known = _Known(model, found.layers, inputs, forward)
        mode = (sensitivity or "auto") if budget is not None and inputs is not None else "relative"
        gradients = known.gradients(mode, seed)
        candidates = [Candidate(layer, known.moments, gradients) for layer in found.layers]
        mode = known.mode(candidates, mode if gradients is not None else "relative")
        losses = known.losses(candidates, mode, loss)
        chosen = _chosen(candidates, losses, TOLD[mode], budget, rank, known, of, keep_slower, seed)
    except BaseException:
        _put_back(model, originals)
        raise
    dense_parameters = count_parameters(model)
    built = [_build(model, candidate, *choice, known) for candidate, choice in zip(candidates, chosen, strict=True)]
    _put_back(model, originals)
    slow_paths(model)
    computed = known.multiply_adds
    counts: dict[str, int | None] = {"dense_parameters": dense_parameters, "parameters": count_parameters(model)}
    counts["dense_multiply_adds"] = None if computed is None else int(computed.total)
    counts["multiply_adds"] = None if computed is None else computed.of_model(model)
    places = [place for _, several in built for place in several]
    factorized = Factorized(model, places, [report for report, _ in built], counts, found.refused)
    opened = [path for path in originals if isinstance(model.get_submodule(path), ProjectedAttention)]
    if keep_slower or inplace or known.inputs is None or not opened or not _slower(given, model, known):
        return factorized
    # Attention with a module for each projection has lost torch's own, which is one operation: it stays dense.
    settings: dict[str, Any] = {"of": of, "rank": rank, "layers": layers, "embeddings": embeddings, "seed": seed}
    settings |= {"sensitivity": sensitivity, "loss": loss, "forward": forward}
    others = [exclude] if isinstance(exclude, str) else list(exclude)
    try:
        return factorize(given, budget, inputs, exclude=[*others, *(f"{path}.*" for path in opened)], **settings)
    except ValueError:
        why = ", although the model is slower than with torch's own attention: the budget needs it"
        inside = [any(layer.path.startswith(f"{path}.") for path in opened) for layer in factorized.layers]
        factorized.layers = [
            dataclasses.replace(layer, why=layer.why + why) if within and layer.rank is not None else layer
            for layer, within in zip(factorized.layers, inside, strict=True)
        ]
        return factorized


def _slower(dense: nn.Module, model: nn.Module, known: "_Known") -> bool:
    """Whether a model is slower than the dense one, beyond the noise, for any size of a batch."""
    _, found = measure(dense, model, known.batch, forward=known.forward)
    return any(comparison.slower for comparison in found.values())


class _Known:
    """What the inputs say of a dense model and its layers; nothing without inputs."""

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], inputs: Iterable[Any] | None, forward: Forward
    ) -> None:
        self.model, self.layers, self.inputs, self.forward = model, layers, inputs, forward
        self.moments: dict[str, Moments] | None = None
        self.multiply_adds: MultiplyAdds | None = None
        self.speed: Speed | None = None
        if inputs is not None:
            self.moments, self.batch = gather(model, layers, inputs, forward)
            self.multiply_adds = MultiplyAdds(model, layers, self.batch, forward)

    def gradients(self, mode: str, seed: int) -> dict[str, Tensor] | None:
        """Second moments of the gradients at the outputs of layers; None where they are not wanted, or, by default,
        where the outputs of the model are no logits.
        """
        if mode == "relative":
            return None
        modules = {
            path: module
            for layer in self.layers
            for path, module in zip(layer.module_paths, layer.modules, strict=True)
        }
        try:
            return output_moments(Called(self.model, self.forward), modules, self._batches(), seed=seed)
        except NoLogits:
            if mode != "auto":
                raise
            return None

    def mode(self, candidates: Sequence[Candidate], mode: str) -> str:
        """What the losses are made of: by default they are measured, where that takes few multiply-adds."""
        if mode != "auto":
            return mode
        assert self.multiply_adds is not None
        passes = sum(len(candidate.best) for candidate in candidates) * MEASURED_RANKS
        samples = sum(samples_of(batch) for (batch,) in self._some())
        return "measured" if self.multiply_adds.total * passes * samples <= MEASURED_UP_TO else "second_order"

    def losses(
        self, candidates: Sequence[Candidate], mode: str, loss: Callable[[nn.Module, Any], Tensor] | None
    ) -> list[list[float]]:
        """What each option of each layer adds to the loss of the model."""
        if mode == "second_order":
            return predicted_losses(candidates)
        if mode == "relative":
            return relative_losses(candidates)
        if loss is None:
            return measured_losses(candidates, Divergence(Called(self.model, self.forward), self._some()))
        return measured_losses(candidates, lambda: self._mean(loss))

    def _batches(self) -> Iterator[tuple[Any]]:
        assert self.inputs is not None
        device = next(self.model.parameters()).device
        return ((to_device(batch, device),) for batch in self.inputs)

    def _some(self) -> list[tuple[Any]]:
        """The first batches: as many as have few samples together, and one at least."""
        found, samples = list[tuple[Any]](), 0
        for (batch,) in self._batches():
            samples += samples_of(batch)
            if found and samples > MEASURED_SAMPLES:
                break
            found.append((batch,))
        return found

    def _mean(self, loss: Callable[[nn.Module, Any], Tensor]) -> float:
        with evaluating(self.model), torch.no_grad():
            values = [float(loss(self.model, batch)) for (batch,) in self._some()]
        return sum(values) / len(values)


def _chosen(
    candidates: Sequence[Candidate],
    losses: Sequence[Sequence[float]],
    told: str,
    budget: float | None,
    rank: Rank | None,
    known: _Known,
    of: str,
    keep_slower: bool,
    seed: int,
) -> list[Chosen]:
    """Ranks with reasons."""
    if not keep_slower and known.inputs is not None:
        known.speed = Speed(known.model, known.layers, known.batch, known.forward)
    speed = known.speed
    if budget is not None:
        return spend(candidates, losses, _costs(known, of), budget, told, speed)
    assert rank is not None
    chosen = by_rank(candidates, rank, seed)
    return [
        choice
        if choice[0].rank is None or speed is None or speed.faster(c.layer, choice[0].rank, choice[0].form)
        else (c.options[0], f"dense: {speed.why(c.layer, choice[0].form)}")
        for c, choice in zip(candidates, chosen, strict=True)
    ]


def _costs(known: _Known, of: str) -> Costs:
    if of == "parameters":
        return Parameters(known.model)
    if of == "latency":
        return Seconds(known.model, known.layers, known.batch, known.forward)
    assert known.multiply_adds is not None
    return known.multiply_adds


def _check(
    budget: float | None, rank: Rank | None, of: str, sensitivity: str | None, inputs: Iterable[Any] | None
) -> None:
    if (budget is None) == (rank is None):
        raise ValueError(f"One of budget and rank must be given. Found budget={budget}, rank={rank}.")
    if budget is not None and not 0 < budget <= 1:
        raise ValueError(f"The budget must be a share of the dense model, 0 < budget <= 1. Found {budget}.")
    require_one_of("of", of, ["parameters", "multiply_adds", "latency"])
    if of != "parameters" and inputs is None:
        raise ValueError(f"A budget of {of} needs inputs. Found None.")
    if sensitivity is not None:
        require_one_of("sensitivity", sensitivity, ["second_order", "measured", "relative"])
    for name, value in (rank if isinstance(rank, Mapping) else {"*": rank}).items():
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if rank is not None and not whole and value != "auto":
            where = f" for {name!r}" if isinstance(rank, Mapping) else ""
            raise ValueError(f"The rank must be at least 1, or auto. Found {value!r}{where}.")


def _check_found(model: nn.Module, found: Found) -> None:
    if found.layers:
        return
    law = f"The model must have a layer that can be factorized ({', '.join(sorted(DENSE.values()))})"
    told = "; ".join(f"{path} {why}" for path, why in list(found.refused.items())[:3])
    raise ValueError(f"{law}. Found none in {type(model).__name__}{': ' + told if told else ''}.")


def _open(model: nn.Module, layers: str | Sequence[str], exclude: str | Sequence[str]) -> dict[str, nn.Module]:
    """Open the attention whose projections may be factorized; the dense ones are returned by path."""
    originals = dict[str, nn.Module]()
    for path, module in model.named_modules(remove_duplicate=False):
        if type(module) is nn.MultiheadAttention and path:
            inside = [f"{path}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")]
            if any(matches(name, layers) and not matches(name, exclude) for name in inside):
                originals[path] = module
    open_attention(model, originals)
    return originals


def _put_back(model: nn.Module, originals: Mapping[str, nn.Module]) -> None:
    """Put dense attention back where no projection is of low rank."""
    for path, module in originals.items():
        opened = model.get_submodule(path)
        parts = [opened.get_submodule(name) for name in ("q_proj", "k_proj", "v_proj", "out_proj")]
        if isinstance(opened, ProjectedAttention) and all(isinstance(part, nn.Linear) for part in parts):
            replace(model, [path], module)


def _build(
    model: nn.Module, candidate: Candidate, option: Option, why: str, known: _Known
) -> tuple[LayerReport, list[Place]]:
    """Put layers of low rank into the model, and measure them."""
    layer, places = candidate.layer, list[Place]()
    computed = known.multiply_adds
    certificate = Certificate(0.0, 0.0, True)
    dense = None if computed is None else computed.of_layer(layer, None)
    now = None if computed is None else computed.of_layer(layer, option.rank, option.form)
    if option.rank is not None:
        replaced: list[Any] = [low_rank_like(module, option.rank, option.form) for module in layer.modules]
        candidate.fill(replaced, option)
        for other in replaced[1:]:
            other.left, other.right = replaced[0].left, replaced[0].right
        certificate = candidate.certificate(replaced, option)
        for path in layer.paths:
            place = layer.module_at(path)
            earlier = layer.module_paths[place]
            same = earlier != path
            tied = earlier if same else (None if place == 0 else layer.path)
            replace(model, [path], replaced[place])
            places.append(Place(path, option.rank, option.form, tied, same))
    report = LayerReport(
        layer.path,
        tuple(layer.paths[1:]),
        layer.kind,
        tuple(candidate.dense.shape),
        option.rank,
        option.form,
        layer.parameters(None),
        option.parameters,
        dense,
        now,
        certificate.error,
        certificate.optimum,
        certificate.exact,
        None if known.speed is None or option.rank is None else known.speed.ratio(layer, option.rank, option.form),
        why,
    )
    return report, places
