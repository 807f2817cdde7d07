"""A factorized model: what each layer got and why, its way back, and its file."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from eckart.compression.layers import (
    LOW_RANK,
    Form,
    close_attention,
    dense_like,
    dense_weight,
    low_rank_like,
    open_attention,
    replace,
    slow_paths,
)
from eckart.linalg.svd import truncated_svd
from eckart.nn.low_rank_attention import ProjectedAttention
from eckart.nn.low_rank_conv import LowRankConv1d, LowRankConv2d, unfolded

_KEY = "eckart"
_SAME = "eckart.same"


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


@dataclass(frozen=True)
class LayerReport:
    """What a layer got.

    Attributes:
        path: Where it is; of tied layers the first.
        tied: Paths of the other layers that have the same weight.
        kind: ``linear``, ``conv1d``, ``conv2d`` or ``embedding``.
        shape: Shape of its dense weight.
        rank: Its rank, or None where it is dense.
        form: How its weight is a matrix, of a convolution: the kernel axes of the first of the two.
        dense_parameters: Parameters of its weight before, without the bias.
        parameters: Parameters of its weight now: of both factors.
        dense_multiply_adds: Multiply-adds for one sample before; None if no inputs were given.
        multiply_adds: Multiply-adds for one sample now.
        error: Relative error of its outputs on the inputs, ``(E‖y - ŷ‖² / E‖y - E[y]‖²)^½`` with a bias, and
            ``(E‖y - ŷ‖² / E‖y‖²)^½`` without one; of its weight, where no inputs were given. Measured by its weights.
        optimum: The least error of a layer of this rank and form; a lower bound where ``exact`` is False.
        exact: Whether it is known exactly; not for convolutions whose two parts share the axes of the kernel.
        ratio: Its measured time, relative to the dense layer; None where it was not measured.
        why: Why it has this rank, or is dense.
    """

    path: str
    tied: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    rank: int | None
    form: Form
    dense_parameters: int
    parameters: int
    dense_multiply_adds: int | None
    multiply_adds: int | None
    error: float
    optimum: float
    exact: bool
    ratio: float | None
    why: str

    @property
    def excess(self) -> float | None:
        """Error minus optimum, or None where the optimum is only a bound."""
        return self.error - self.optimum if self.exact else None


class Factorized:
    """A model of low rank: what :func:`eckart.factorize` returns.

    Attributes:
        model: The model, with layers of low rank at the paths of dense ones.
        layers: What each layer got, also those that stayed dense.
        places: Where the layers of low rank are.
        refused: Layers that cannot be factorized, with the reason, by path.
        dense_parameters: Parameters of the dense model, with all biases.
        parameters: Parameters of this one.
        dense_multiply_adds: Multiply-adds of the dense model for one sample; None if no inputs were given.
        multiply_adds: Multiply-adds of this one.
    """

    def __init__(
        self,
        model: nn.Module,
        places: list[Place],
        layers: list[LayerReport],
        counts: Mapping[str, int | None],
        refused: Mapping[str, str],
    ) -> None:
        self.model, self.places, self.layers, self.refused = model, places, layers, dict(refused)
        self.dense_parameters, self.parameters = counts.get("dense_parameters") or 0, counts.get("parameters") or 0
        self.dense_multiply_adds, self.multiply_adds = counts.get("dense_multiply_adds"), counts.get("multiply_adds")

    def defactorize(self) -> nn.Module:
        """A copy of the model with dense layers again: same outputs, same paths and state keys as before.

        Tied layers are tied again.
        """
        return defactorized(copy.deepcopy(self.model))

    def to_dense(self, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """State dict of the dense model, from one of the factorized model.

        Args:
            state: State dict of the factorized model, such as one from a checkpoint; None for the present one.

        Raises:
            ValueError: If it is the state of another model; the first key that does not match is named.
        """
        own = self.model.state_dict()
        dense = dict(own if state is None else checked(state, own))
        for path, module in _low_rank(self.model):
            left, right = dense.pop(f"{path}.left"), dense.pop(f"{path}.right")
            dense[f"{path}.weight"] = dense_weight(module, left, right)
        for path, attention in _opened(self.model):
            _pack(dense, f"{path}." if path else "", attention)
        return {name: dense[name] for name in _order(dense, self._dense_keys())}

    def from_dense(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """State dict of the factorized model, from one of the dense model: truncated SVDs of the ranks that it has.

        A state that :meth:`to_dense` made comes back with the same products of factors, to roundoff.

        Args:
            state: State dict of a model like the dense one.

        Raises:
            ValueError: If it is the state of another model; the first key that does not match is named.
        """
        given = dict(checked(state, self.to_dense()))
        for path, attention in _opened(self.model):
            _unpack(given, f"{path}." if path else "", attention)
        for path, module in _low_rank(self.model):
            weight = given.pop(f"{path}.weight")
            matrix = weight
            if isinstance(module, LowRankConv1d | LowRankConv2d):
                matrix = unfolded(weight, module.first, module.groups)
            u, s, vh = truncated_svd(matrix.double(), module.rank)
            given[f"{path}.left"] = (u * s.sqrt()[..., None, :]).to(weight.dtype)
            given[f"{path}.right"] = (s.sqrt()[..., :, None] * vh).to(weight.dtype)
        return {name: given[name] for name in self.model.state_dict()}

    def _dense_keys(self) -> list[str]:
        return list(defactorized(copy.deepcopy(self.model).to("meta")).state_dict())

    def description(self) -> str:
        """What it is, besides its weights, as JSON; :meth:`of` makes it anew."""
        told = {
            "places": [asdict(place) for place in self.places],
            "layers": [asdict(layer) for layer in self.layers],
            "counts": {name: getattr(self, name) for name in _COUNTS},
            "refused": self.refused,
        }
        return json.dumps(told)

    @classmethod
    def of(cls, model: nn.Module, description: str) -> "Factorized":
        """Give a dense model layers of low rank as described, with weights of no meaning; it is changed in place.

        Args:
            model: A dense model like the one that was factorized.
            description: As of :meth:`description`.

        Raises:
            ValueError: If the model has no such layers.
        """
        told = json.loads(description)
        places = [Place(**_tupled(place, "form")) for place in told["places"]]
        layers = [LayerReport(**_tupled(layer, "form", "shape", "tied")) for layer in told["layers"]]
        return cls(rebuilt(model, places), places, layers, told["counts"], told["refused"])

    @classmethod
    def around(cls, model: nn.Module, counts: Mapping[str, int | None]) -> "Factorized":
        """A model that has layers of low rank already, of which nothing is known but these and the counts.

        Args:
            model: The model.
            counts: Parameters and multiply-adds, by the names of the attributes.
        """
        known: dict[int, str] = {}
        places = []
        for path, module in _low_rank(model):
            tied = known.setdefault(id(module.left), path)
            same = tied != path and model.get_submodule(tied) is module
            form = getattr(module, "first", None)
            places.append(Place(path, module.rank, form, None if tied == path else tied, same))
        return cls(model, places, [], counts, {})

    def save(self, path: str | Path) -> None:
        """Write the model to one safetensors file; the ranks stand in its metadata as JSON, so that nothing is pickled.

        Args:
            path: The file.
        """
        tensors, metadata = self.stored()
        save_file(tensors, path, metadata)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The tensors and the metadata of its file."""
        tensors: dict[str, Tensor] = {}
        same: dict[str, str] = {}
        known: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
        for name, tensor in self.model.state_dict().items():
            key = tensor.data_ptr(), tensor.shape, tensor.stride()
            if tensor.numel() and key in known:
                same[name] = known[key]
            else:
                known[key] = name
                tensors[name] = tensor.detach().cpu().contiguous()
        return tensors, {_KEY: self.description(), _SAME: json.dumps(same)}

    @classmethod
    def load(cls, path: str | Path, model: nn.Module) -> "Factorized":
        """Read a file that :meth:`save` wrote.

        Args:
            path: The file.
            model: A dense model like the one that was factorized, with any weights; it is not changed.

        Raises:
            ValueError: If the file is none of a factorized model, or of another model.
        """
        try:
            with safe_open(path, "pt") as file:
                text, same = ((file.metadata() or {}).get(key) for key in (_KEY, _SAME))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"The file must be a safetensors file. Found {path}: {error}.") from None
        if text is None or same is None:
            raise ValueError(f"The file must be of a factorized model: ranks in its metadata. Found none in {path}.")
        factorized = cls.of(copy.deepcopy(model), text)
        state |= {name: state[other] for name, other in json.loads(same).items() if other in state}
        factorized.model.load_state_dict(checked(state, factorized.model.state_dict()))
        return factorized

    def __str__(self) -> str:
        from eckart.compression.report import table

        return table(self)

    __repr__ = __str__


_COUNTS = ("dense_parameters", "parameters", "dense_multiply_adds", "multiply_adds")


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
    for path, module in _low_rank(model):
        if id(module) not in made:
            dense: Any = dense_like(module)
            dense.weight = weights.setdefault(id(module.left), dense.weight)
            made[id(module)] = dense
        replace(model, [path], made[id(module)])
    for path, _ in _opened(model):
        close_attention(model, path)
    slow_paths(model)
    return model


def checked(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Refuse a state dict of another model.

    Args:
        state: The state dict.
        expected: One of the model.

    Raises:
        ValueError: With the first key that is missing, has another shape, or is not one of the model's.

    Example:
        >>> checked({"weight": torch.ones(2)}, {"weight": torch.ones(3)})
        Traceback (most recent call last):
        ValueError: The state must be of this model: weight of shape (3,). Found shape (2,).
    """
    law = "The state must be of this model"
    for name, tensor in expected.items():
        if name not in state:
            raise ValueError(f"{law}: {name} of shape {tuple(tensor.shape)}. Found no such key.")
        if state[name].shape != tensor.shape:
            shapes = f"{name} of shape {tuple(tensor.shape)}. Found shape {tuple(state[name].shape)}"
            raise ValueError(f"{law}: {shapes}.")
    if extra := next((name for name in state if name not in expected), None):
        raise ValueError(f"{law}. Found the key {extra}, which it does not have.")
    return state


def _low_rank(model: nn.Module) -> list[tuple[str, Any]]:
    return [(path, m) for path, m in model.named_modules(remove_duplicate=False) if isinstance(m, LOW_RANK)]


def _opened(model: nn.Module) -> list[tuple[str, ProjectedAttention]]:
    every = model.named_modules(remove_duplicate=False)
    return [(path, module) for path, module in every if isinstance(module, ProjectedAttention)]


def _pack(state: dict[str, Tensor], prefix: str, attention: ProjectedAttention) -> None:
    """Put the projections of an attention into the keys of a dense one."""
    names = [f"{prefix}{letter}_proj" for letter in "qkv"]
    weights = [state.pop(f"{name}.weight") for name in names]
    if attention.packed:
        state[f"{prefix}in_proj_weight"] = torch.cat(weights)
    else:
        state |= {f"{name}_weight": weight for name, weight in zip(names, weights, strict=True)}
    if f"{names[0]}.bias" in state:
        state[f"{prefix}in_proj_bias"] = torch.cat([state.pop(f"{name}.bias") for name in names])


def _unpack(state: dict[str, Tensor], prefix: str, attention: ProjectedAttention) -> None:
    """The inverse of :func:`_pack`."""
    names = [f"{prefix}{letter}_proj" for letter in "qkv"]
    if attention.packed:
        weights = list(state.pop(f"{prefix}in_proj_weight").chunk(3))
    else:
        weights = [state.pop(f"{name}_weight") for name in names]
    state |= {f"{name}.weight": weight for name, weight in zip(names, weights, strict=True)}
    if f"{prefix}in_proj_bias" in state:
        biases = state.pop(f"{prefix}in_proj_bias").chunk(3)
        state |= {f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)}


def _order(state: Mapping[str, Tensor], names: list[str]) -> list[str]:
    return [name for name in names if name in state] + [name for name in state if name not in names]


def _tupled(told: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Values of JSON with lists as the tuples that they were."""
    return {k: tuple(v) if k in names and v is not None else v for k, v in told.items()}
