"""Any model made low-rank: the front door."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from eckart.compression.budgeting import OF, Chosen, Costs, in_multiply_adds, in_parameters, in_seconds, spend
from eckart.compression.candidate import Candidate, Certificate, Option
from eckart.compression.costs import MultiplyAdds, one_sample
from eckart.compression.counting import count_parameters
from eckart.compression.factorized import Factorized, LayerReport, Place
from eckart.compression.layers import (
    DENSE,
    Found,
    find,
    low_rank_like,
    matches,
    open_attention,
    replace,
    slow_paths,
)
from eckart.compression.losses import KINDS, gradients, losses
from eckart.compression.moments import Forward, gather, plain_forward
from eckart.compression.speed import Speed
from eckart.linalg.checks import require_one_of
from eckart.nn.low_rank_attention import ProjectedAttention
from eckart.selection.choosing import choose

Rank = int | str | Mapping[str, int | str]


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
    forward: Forward = plain_forward,
    sensitivity: str = "auto",
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
        inputs: Batches, such as a ``DataLoader``; taken once, whole. None gives the plain truncated SVD of the weights.
        of: What the budget is a share of: ``parameters`` (with all biases), ``multiply_adds``, or ``latency``, the
            measured time of a forward pass of one sample and of 256 at once.
        rank: Instead of a budget: a rank for all layers; ``"auto"``, chosen for each from its weight by the default
            rule of ``rank=auto``; or ranks by patterns of paths, the first that matches.
        layers: Patterns of paths of the layers that may be factorized, as of ``fnmatch``.
        exclude: Patterns of paths of layers that are left as they are.
        embeddings: Whether embeddings are factorized as well.
        forward: Calls the model with a batch. By default a tensor is the argument, a sequence starts with it, and a
            mapping has keyword arguments.
        sensitivity: What a layer's error is worth: ``measured``, the divergence of the model's outputs with one layer
            at a time at some ranks; ``second_order``, the same predicted from gradients; ``relative``, the error
            relative to the layer's outputs. ``auto`` measures where that takes few multiply-adds, else predicts, and
            where the model's outputs are no logits, or no inputs are given, takes the relative error. All but the last
            make layers that are best for the model's outputs instead of their own.
        keep_slower: Whether a layer may be slower than dense. If not, ranks are measured on this machine, with one
            sample and with 256 at once, and a layer gets none at which it is not faster, as long as the budget can be
            met without it: then the reason says so. Ranks that are asked for are kept.
        inplace: Whether the model itself is changed, instead of a copy.
        seed: Seed of ``rank="auto"`` and of the labels that are drawn for gradients.

    Returns:
        The factorized model, and what each layer got.

    Raises:
        ValueError: If an argument is out of its range, the budget is smaller than what the smallest ranks take, the
            model has no layer that can be factorized, a layer that is named cannot be, or the inputs are none, are not
            finite, or do not reach a layer.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> factorized = factorize(model, budget=0.5, inputs=[torch.eye(8)])
        >>> factorized.dense_parameters, factorized.parameters <= 106
        (212, True)
        >>> factorized.model(torch.ones(3, 8)).shape
        torch.Size([3, 4])
    """
    _check(budget, rank, of, inputs)
    require_one_of("sensitivity", sensitivity, KINDS)
    model = model if inplace else copy.deepcopy(model)
    originals = _open(model, layers, exclude)
    try:
        found = find(model, layers, exclude, embeddings=embeddings)
        _check_found(model, found)
        moments, kept = (None, []) if inputs is None else gather(model, found.layers, inputs, forward)
        computed = MultiplyAdds(model, found.layers, one_sample(kept[0]), forward) if kept else None
        slopes, _ = gradients(sensitivity, model, found.layers, kept, forward, seed)
        candidates = [Candidate(layer, moments, slopes) for layer in found.layers]
        if budget is not None:
            work = computed and computed.total
            lost, told = losses(sensitivity, model, candidates, kept, forward, work)
            costs = _costs(of, model, candidates, computed, kept, forward)
            timed = None if keep_slower or not kept else Speed(model, found.layers, kept[0], forward)
            chosen = spend(candidates, lost, costs, budget, told, timed)
        else:
            assert rank is not None
            chosen = [_by_rank(candidate, rank, seed) for candidate in candidates]
            _check_ranks(rank, candidates)
    except BaseException:
        _put_back(model, originals)
        raise
    dense_parameters = count_parameters(model)
    built = [_build(model, candidate, *choice, computed) for candidate, choice in zip(candidates, chosen, strict=True)]
    _put_back(model, originals)
    slow_paths(model)
    counts: dict[str, int | None] = {"dense_parameters": dense_parameters, "parameters": count_parameters(model)}
    counts["dense_multiply_adds"] = None if computed is None else computed.total
    counts["multiply_adds"] = None if computed is None else computed.of_model(model)
    places = [place for _, several in built for place in several]
    return Factorized(model, places, [report for report, _ in built], counts, found.refused)


def _costs(
    of: str,
    model: nn.Module,
    candidates: Sequence[Candidate],
    computed: MultiplyAdds | None,
    kept: Sequence[Any],
    forward: Forward,
) -> Costs:
    if of == "parameters":
        return in_parameters(model, candidates)
    assert computed is not None
    return (
        in_multiply_adds(candidates, computed)
        if of == "multiply_adds"
        else in_seconds(model, candidates, kept[0], forward)
    )


def _check(budget: float | None, rank: Rank | None, of: str, inputs: Iterable[Any] | None) -> None:
    if (budget is None) == (rank is None):
        raise ValueError(f"One of budget and rank must be given. Found budget={budget}, rank={rank}.")
    if budget is not None and not 0 < budget <= 1:
        raise ValueError(f"The budget must be a share of the dense model, 0 < budget <= 1. Found {budget}.")
    require_one_of("of", of, OF)
    if of != "parameters" and inputs is None:
        raise ValueError(f"A budget of {of} needs inputs. Found None.")
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


def _by_rank(candidate: Candidate, rank: Rank, seed: int) -> Chosen:
    layer = candidate.layer
    dense = candidate.options[0]
    if isinstance(rank, Mapping):
        pattern = next((pattern for pattern in rank if any(matches(path, pattern) for path in layer.paths)), None)
        if pattern is None:
            return dense, "dense: no pattern of rank= names it"
        rank = rank[pattern]
    form, why = layer.forms()[0], "the rank that was asked for"
    if rank == "auto":
        parts = layer.matrix(form).double()
        choices = [choose(part, seed=seed) for part in (parts if parts.dim() > 2 else parts[None])]
        choice = max(choices, key=lambda choice: choice.rank)
        rank, why = choice.rank, f"rank {choice.rank} of its weight: {choice.reason}"
    option = next((option for option in candidate.options if (option.rank, option.form) == (rank, form)), None)
    if option is None:
        m, n = layer.sides(form)
        return dense, f"dense: rank {rank} has no fewer parameters than {m}×{n}"
    return option, why


def _check_ranks(rank: Rank, candidates: Sequence[Candidate]) -> None:
    if isinstance(rank, Mapping):
        paths = [path for candidate in candidates for path in candidate.layer.paths]
        for pattern in rank:
            if not any(matches(path, pattern) for path in paths):
                raise ValueError(f"Each pattern of rank must match a layer. Found {pattern!r}, which matches none.")


def _build(
    model: nn.Module, candidate: Candidate, option: Option, why: str, computed: MultiplyAdds | None
) -> tuple[LayerReport, list[Place]]:
    """Put layers of low rank into the model, and measure them."""
    layer, places = candidate.layer, list[Place]()
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
        why,
    )
    return report, places
