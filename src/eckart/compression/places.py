"""Where layers of low rank are in a model, and a model made so, or made dense again."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from eckart.compression.layers import Form
from eckart.compression.replacing import (
    LOW_RANK,
    close_attention,
    dense_like,
    low_rank_like,
    open_attention,
    replace,
    slow_paths,
)
from eckart.nn.low_rank_attention import ProjectedAttention


@dataclass(frozen=True)
class Place:
    """A layer of low rank in a model.

    Attributes:
        path: Where it is.
        rank: Its rank.
        form: How its weight is a matrix: see :class:`~eckart.nn.low_rank_conv.LowRankConv2d`.
        tied: Path of an earlier layer that has the same factors, or None.
        same: Whether that is the same layer, not only one with the same factors.
    """

    path: str
    rank: int
    form: Form = None
    tied: str | None = None
    same: bool = False


def rebuilt(model: nn.Module, places: list[Place]) -> nn.Module:
    """Give a dense model layers of low rank at these places, with weights of no meaning; it is changed in place.

    Raises:
        ValueError: If it has no layer at one of the places, or one of another shape.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    attentions = {
        place.path.rpartition(".")[0] for place in places if place.path not in modules or "out_proj" in place.path
    }
    open_attention(model, sorted(path for path in attentions if isinstance(modules.get(path), nn.MultiheadAttention)))
    made: dict[str, Any] = {}
    for place in places:
        try:
            dense = model.get_submodule(place.path)
        except AttributeError:
            raise ValueError(f"The model must have the layers of the file. Found none at {place.path!r}.") from None
        if isinstance(dense, LOW_RANK) and place.path in made:
            continue
        if place.tied is not None and place.same:
            layer = made[place.tied]
        else:
            layer = low_rank_like(dense, place.rank, place.form)
            if place.tied is not None:
                layer.left, layer.right = made[place.tied].left, made[place.tied].right
        made[place.path] = layer
        replace(model, [place.path], layer)
    slow_paths(model)
    return model


def defactorized(model: nn.Module) -> nn.Module:
    """Make a model's layers of low rank dense again, in place; tied ones are tied again."""
    made: dict[int, nn.Module] = {}
    weights: dict[int, nn.Parameter] = {}
    for path, module in low_rank_layers(model):
        if id(module) not in made:
            dense: Any = dense_like(module)
            dense.weight = weights.setdefault(id(module.left), dense.weight)
            made[id(module)] = dense
        replace(model, [path], made[id(module)])
    for path, _ in opened_attention(model):
        close_attention(model, path)
    slow_paths(model)
    return model


def places_of(model: nn.Module) -> list[Place]:
    """The places of layers of low rank that a model has."""
    known: dict[int, str] = {}
    places = []
    for path, module in low_rank_layers(model):
        tied = known.setdefault(id(module.left), path)
        same = tied != path and model.get_submodule(tied) is module
        form = getattr(module, "first", None)
        places.append(Place(path, module.rank, form, None if tied == path else tied, same))
    return places


def low_rank_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Layers of low rank with their paths, also those at several."""
    return [(path, m) for path, m in model.named_modules(remove_duplicate=False) if isinstance(m, LOW_RANK)]


def opened_attention(model: nn.Module) -> list[tuple[str, ProjectedAttention]]:
    """Attention with modules for projections, with its paths."""
    every = model.named_modules(remove_duplicate=False)
    return [(path, module) for path, module in every if isinstance(module, ProjectedAttention)]
