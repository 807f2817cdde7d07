"""Which layers of a model can be factorized, and each of them as a matrix."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from eckart.nn.low_rank_conv import unfolded

DENSE: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Embedding: "embedding",
}
Form = tuple[int, ...] | None
"""How a weight is a matrix: the kernel axes that the first of two convolutions covers; None for other layers."""


@dataclass
class Layer:
    """A weight that can be factorized, and the layers that have it.

    Attributes:
        paths: Where the layers are in the model. More than one where they are tied: one layer at several places, or
            several layers with one weight.
        modules: The different layers among them.
        kind: ``linear``, ``conv1d``, ``conv2d`` or ``embedding``; of the first layer.
    """

    paths: list[str]
    modules: list[nn.Module]
    kind: str
    _places: list[int] = field(default_factory=lambda: [0])

    def add(self, path: str, module: nn.Module) -> None:
        """Another place where the weight is."""
        place = next((place for place, known in enumerate(self.modules) if known is module), len(self.modules))
        if place == len(self.modules):
            self.modules.append(module)
        self.paths.append(path)
        self._places.append(place)

    def module_at(self, path: str) -> int:
        """Index of the module at a path."""
        return self._places[self.paths.index(path)]

    @property
    def path(self) -> str:
        """The first path, by which the layer is called."""
        return self.paths[0]

    @property
    def module_paths(self) -> list[str]:
        """A path of each of the modules."""
        return [self.paths[self._places.index(place)] for place in range(len(self.modules))]

    @property
    def weight(self) -> nn.Parameter:
        """The dense weight."""
        return self.modules[0].weight  # type: ignore[return-value]

    @property
    def groups(self) -> int:
        """Groups of a convolution, each with a matrix of its own; 1 for other layers."""
        return int(getattr(self.modules[0], "groups", 1))

    def forms(self) -> list[Form]:
        """The ways in which the weight is a matrix, those that differ."""
        if not self.kind.startswith("conv"):
            return [None]
        long = [axis for axis, size in enumerate(self.weight.shape[2:]) if size > 1]
        if len(long) < 2:
            # A kernel of one number has no axis to split; axes of length 1 can be on either side.
            return [tuple(range(self.weight.dim() - 2)), *([()] if long else [])]
        return [(0, 1), (1,), (0,), ()]

    def matrix(self, form: Form = None) -> Tensor:
        """The weight as a matrix ``(m, n)``, or ``(groups, m, n)``."""
        weight = self.weight.detach()
        return weight if form is None else unfolded(weight, form, self.groups)

    def sides(self, form: Form = None) -> tuple[int, int]:
        """Sides m and n of the matrix."""
        m, n = unfolded(self.weight.to("meta"), form, self.groups).shape[-2:] if form is not None else self.weight.shape
        return int(m), int(n)

    def parameters(self, rank: int | None, form: Form = None) -> int:
        """Parameters of the weight: of both factors of a rank, or of the dense one."""
        if rank is None:
            return self.weight.numel()
        return self.groups * rank * sum(self.sides(form))


@dataclass
class Found:
    """Layers of a model.

    Attributes:
        layers: Those that can be factorized.
        refused: Reasons why others cannot be, by path.
    """

    layers: list[Layer] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def matches(path: str, patterns: str | Iterable[str]) -> bool:
    """Whether a path matches a pattern, or one of several.

    Example:
        >>> matches("encoder.0.fc1", "encoder.*"), matches("head", ["encoder.*", "fc?"])
        (True, False)
    """
    return any(fnmatchcase(path, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def find(
    model: nn.Module,
    layers: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    *,
    embeddings: bool = False,
) -> Found:
    """Find the layers that can be factorized.

    Args:
        model: Any module. Attention must be open: see :func:`open_attention`.
        layers: Patterns of paths, as of ``fnmatch``.
        exclude: Patterns of paths that are left as they are.
        embeddings: Whether embeddings are looked for as well.

    Raises:
        ValueError: If a layer that is named without wildcards cannot be factorized, or a pattern matches nothing.
    """
    everywhere = [(path, module) for path, module in model.named_modules(remove_duplicate=False) if path]
    owners = _owners(everywhere)
    found = Found()
    groups: dict[int, Layer] = {}
    for path, module in everywhere:
        kind = next((name for kind, name in DENSE.items() if isinstance(module, kind)), None)
        wanted = matches(path, layers) and not matches(path, exclude) and (embeddings or kind != "embedding")
        if not wanted:
            continue
        if kind is None:
            if (why := _unsupported(module)) is not None:
                found.refused[path] = why
            continue
        if (why := _refusal(path, module, owners)) is not None:
            found.refused[path] = why
            continue
        known = groups.get(id(module.weight))
        if known is None:
            groups[id(module.weight)] = Layer([path], [module], kind)
        else:
            known.add(path, module)
    for layer in groups.values():
        shared = owners[id(layer.weight)]
        if missing := [path for path in shared if path not in layer.paths]:
            names = " and ".join(missing)
            found.refused |= dict.fromkeys(layer.paths, f"shares its weight with {names}, not factorized")
        elif len({_likeness(module) for module in layer.modules}) > 1:
            found.refused |= dict.fromkeys(layer.paths, "shares its weight with a layer of another kind")
        else:
            found.layers.append(layer)
    _check_patterns(found, [path for path, _ in everywhere], layers, exclude)
    return found


def _owners(everywhere: Iterable[tuple[str, nn.Module]]) -> Mapping[int, list[str]]:
    """Paths of the modules that have a parameter as their own, by its id; the name is added where it is no weight."""
    owners: dict[int, list[str]] = {}
    for path, module in everywhere:
        for name, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(path if name == "weight" else f"{path}.{name}")
    return owners


def _likeness(module: nn.Module) -> object:
    """What layers with one weight must have in common to have one pair of factors."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return (type(module), module.groups)
    return "table"


def _unsupported(module: nn.Module) -> str | None:
    """Why a module of another kind that holds a matrix is left as it is, or None where it holds none."""
    name = type(module).__name__
    if ".quantized." in type(module).__module__ and hasattr(module, "weight"):
        return f"is quantized to integers: factorize the model before ({name})"
    others = nn.modules.conv._ConvNd | nn.RNNBase | nn.RNNCellBase | nn.Bilinear | nn.EmbeddingBag
    return f"is of a kind that is not factorized: {name}" if isinstance(module, others) else None


def _refusal(path: str, module: nn.Module, owners: Mapping[int, list[str]]) -> str | None:
    """Why a layer cannot be factorized, or None."""
    kind = next(kind for kind in DENSE if isinstance(module, kind))
    if isinstance(module._parameters.get("weight"), nn.parameter.UninitializedParameter):
        return "is lazy: call the model once"
    if nn.utils.parametrize.is_parametrized(module, "weight") or "weight" not in module._parameters:
        return "has a parametrized weight: remove the parametrization"
    weight = module._parameters["weight"]
    if weight is None or not weight.dtype.is_floating_point or weight.dtype.itemsize < 2:
        return f"has weights of {getattr(weight, 'dtype', None)}, not of 16 bits or more in floating point"
    if weight.is_meta:
        return "has no values: it is on the device meta"
    if type(module).forward is not kind.forward:
        return f"has a forward pass of its own: {type(module).__name__}"
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.sparse or module.scale_grad_by_freq):
        return "has max_norm, sparse or scale_grad_by_freq"
    if not bool(torch.isfinite(weight).all()):
        return "has weights that are not finite"
    return "has no weights" if weight.numel() == 0 else None


def _check_patterns(
    found: Found, paths: Sequence[str], layers: str | Sequence[str], exclude: str | Sequence[str]
) -> None:
    usable = [path for layer in found.layers for path in layer.paths]
    for name, patterns in (("layers", layers), ("exclude", exclude)):
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if name == "layers" and pattern in found.refused:
                raise ValueError(
                    f"A layer must be one that can be factorized. Found {pattern!r}: {found.refused[pattern]}."
                )
            reached = usable + list(found.refused) if name == "layers" else paths
            if pattern != "*" and not any(matches(path, pattern) for path in reached):
                raise ValueError(f"Each pattern of {name} must match a layer. Found {pattern!r}, which matches none.")
