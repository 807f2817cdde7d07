"""Any model made low-rank: the front door."""

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from eckart.compression.budgeting import Chosen, OutOfReach, spend
from eckart.compression.candidate import Candidate, Certificate, Option
from eckart.compression.counting import count_parameters
from eckart.compression.evidence import SENSITIVITIES, Evidence, Loss
from eckart.compression.factorized import Factorized, LayerReport
from eckart.compression.latency import measure
from eckart.compression.layers import DENSE, Found, find, matches
from eckart.compression.moments import Forward, plain_forward
from eckart.compression.places import Place
from eckart.compression.ranks import Rank, by_rank
from eckart.compression.replacing import low_rank_like, open_attention, replace, slow_paths
from eckart.linalg.checks import require_one_of
from eckart.nn.low_rank_attention import ProjectedAttention

TOLD = {
    "measured": "the measured loss of the model",
    "second_order": "the loss of the model, to second order",
    "relative": "errors relative to the outputs of each layer",
}
# Share of the parameters from which a module that stays dense is named, where it can be why a budget is out of reach.
_TOLD_SHARE = 0.05


def factorize(
    model: nn.Module,
    budget: float | None = None,
    inputs: Iterable[Any] | None = None,
    *,
    of: str = "parameters",
    rank: Rank | None = None,
    rule: str | Mapping[str, Any] = "best",
    layers: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    embeddings: bool = False,
    sensitivity: str | None = None,
    loss: Loss | None = None,
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
        rank: Instead of a budget: a rank for all layers; ``"auto"``, chosen for each from its weight by a rule;
            or ranks by patterns of paths, the first that matches.
        rule: The rule of ``rank="auto"``, one of :data:`eckart.selection.RULES`, or a mapping of it, under ``rule``,
            and its settings.
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
        known = Evidence(model, found.layers, inputs, forward, loss, timed=not keep_slower)
        candidates, sensitivity = known.candidates("relative" if budget is None else sensitivity, seed)
        if budget is not None:
            losses, told = known.losses(candidates, sensitivity), TOLD[sensitivity]
            try:
                chosen = spend(candidates, losses, known.costs(of), budget, told, known.speed)
            except OutOfReach as error:
                raise OutOfReach(f"{error}{_left_dense(model, found)}") from None
        else:
            assert rank is not None
            chosen = _not_slower(
                candidates, by_rank(candidates, rank, {"rule": rule} if isinstance(rule, str) else rule, seed), known
            )
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
    settings: dict[str, Any] = {
        "of": of,
        "rank": rank,
        "rule": rule,
        "layers": layers,
        "embeddings": embeddings,
        "seed": seed,
    }
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


def _slower(dense: nn.Module, model: nn.Module, known: Evidence) -> bool:
    """Whether a model is slower than the dense one, beyond the noise, for any size of a batch."""
    _, found = measure(dense, model, known.batch, forward=known.forward)
    return any(comparison.slower for comparison in found.values())


def _not_slower(candidates: Sequence[Candidate], chosen: Sequence[Chosen], known: Evidence) -> list[Chosen]:
    """Ranks that were asked for, without those that are not faster than the dense layer."""
    speed = known.speed
    return [
        choice
        if choice[0].rank is None or speed is None or speed.faster(c.layer, choice[0].rank, choice[0].form)
        else (c.options[0], f"dense: {speed.why(c.layer, choice[0].form)}")
        for c, choice in zip(candidates, chosen, strict=True)
    ]


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
    if isinstance(inputs, Tensor):
        law = "inputs must be batches, such as a DataLoader or a list of tensors"
        raise ValueError(f"{law}. Found one tensor, of shape {tuple(inputs.shape)}.")
    if sensitivity is not None:
        require_one_of("sensitivity", sensitivity, SENSITIVITIES)
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


def _left_dense(model: nn.Module, found: Found) -> str:
    """The largest modules that are not factorized, with their shares of the parameters, as a sentence."""
    total, known = count_parameters(model), {id(layer.weight) for layer in found.layers}
    sizes = {
        path: sum(own.numel() for own in module._parameters.values() if own is not None)
        for path, module in model.named_modules()
        if id(module._parameters.get("weight")) not in known
    }
    large = sorted((path for path in sizes if sizes[path] >= _TOLD_SHARE * total), key=lambda path: -sizes[path])
    told = []
    for path in large[:3]:
        module = model.get_submodule(path)
        way = (
            ", embeddings=True factorizes it" if isinstance(module, nn.Embedding) and path not in found.refused else ""
        )
        told.append(f"{path or 'the model'} ({type(module).__name__}) has {sizes[path] / total:.0%}{way}")
    return f" Of what is not factorized, {'; '.join(told)}." if told else ""


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
    model: nn.Module, candidate: Candidate, option: Option, why: str, known: Evidence
) -> tuple[LayerReport, list[Place]]:
    """Put layers of low rank into the model, and measure them."""
    layer, places = candidate.layer, list[Place]()
    computed = known.multiply_adds
    certificate = Certificate(0.0, 0.0, True)
    dense = None if computed is None else computed.of_layer(layer, None)
    now = None if computed is None else computed.of_layer(layer, option.rank, option.form)
    if option.rank is not None:
        why += candidate.few_inputs()
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
        known.ratio(layer, option),
        why,
    )
    return report, places
