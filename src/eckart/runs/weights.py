"""Weights of trained nets, read from files that somebody else may have written."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from eckart.data.files import limits

_KINDS = (".safetensors", ".pt", ".pth", ".ckpt")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a net: a file of safetensors, a state dict of torch, or a checkpoint of Lightning.

    No pickle is run: torch builds tensors and plain containers alone (``weights_only=True``). Of a checkpoint of
    Lightning the names lose the prefix that all of them share, as in ``net.``.

    Args:
        path: The file, by its ending ``.safetensors``, ``.pt``, ``.pth`` or ``.ckpt``.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no weights. One line.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file of weights at model.checkpoint={path}.")
    if path.suffix not in _KINDS or not path.is_file():
        raise ValueError(f"model.checkpoint must be a file, one of: {', '.join(_KINDS)}. Found {path}.")
    if path.stat().st_size > limits.MAX_BYTES:
        raise ValueError(f"model.checkpoint must have at most {limits.MAX_BYTES} bytes. Found {path.stat().st_size}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"model.checkpoint must hold weights, and no other objects. Found none in {path}.") from error
    return _weights(found, path)


def _weights(found: Any, path: Path) -> dict[str, Tensor]:
    own = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    if not isinstance(own, Mapping) or not own or not all(isinstance(value, Tensor) for value in own.values()):
        raise ValueError(f"model.checkpoint must hold tensors by name. Found none in {path}.")
    named = {str(name): value for name, value in own.items()}
    first = next(iter(named)).partition(".")[0] + "."
    if own is not found and all(name.startswith(first) for name in named):
        named = {name.removeprefix(first): value for name, value in named.items()}
    return named
