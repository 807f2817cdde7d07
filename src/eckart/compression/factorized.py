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

from eckart.compression.layers import Form
from eckart.compression.places import Place, defactorized, places_of, rebuilt
from eckart.compression.states import checked, dense_state, low_rank_state

_KEY = "eckart"
_SAME = "eckart.same"


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
            With a budget, errors of outputs are weighted by what the loss minds, unless ``sensitivity="relative"``.
        optimum: The least error of a layer of this rank and form; a lower bound where ``exact`` is False.
        exact: Whether it is known exactly; not for convolutions whose two parts share the axes of the kernel.
        ratio: Its measured time, relative to the dense layer, for the size of a batch where it is largest; None where
            it was not measured.
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

    Example:
        >>> from eckart import factorize
        >>> factorized = factorize(nn.Sequential(nn.Linear(9, 8)), rank=2)
        >>> factorized.layers[0].path, factorized.layers[0].rank, factorized.parameters
        ('0', 2, 42)
        >>> factorized.defactorize()
        Sequential(
          (0): Linear(in_features=9, out_features=8, bias=True)
        )
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
        return dense_state(self.model, state)

    def from_dense(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """State dict of the factorized model, from one of the dense model: truncated SVDs of the ranks that it has.

        A state that :meth:`to_dense` made comes back with the same products of factors, to roundoff.

        Args:
            state: State dict of a model like the dense one.

        Raises:
            ValueError: If it is the state of another model; the first key that does not match is named.
        """
        return low_rank_state(self.model, state)

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
        return cls(model, places_of(model), [], counts, {})

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
                # A file holds whole storages: a view of a larger one is copied.
                tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
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
        try:
            factorized = cls.of(copy.deepcopy(model), text)
            state |= {name: state[other] for name, other in json.loads(same).items() if other in state}
        except (json.JSONDecodeError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            law = "The metadata of the file must be of a factorized model like this one"
            raise ValueError(f"{law}. Found in {path}: {type(error).__name__}, {error}.") from None
        factorized.model.load_state_dict(checked(state, factorized.model.state_dict()))
        return factorized

    def __str__(self) -> str:
        from eckart.compression.report import table

        return table(self)

    __repr__ = __str__


_COUNTS = ("dense_parameters", "parameters", "dense_multiply_adds", "multiply_adds")


def _tupled(told: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Values of JSON with lists as the tuples that they were."""
    return {k: tuple(v) if k in names and v is not None else v for k, v in told.items()}
