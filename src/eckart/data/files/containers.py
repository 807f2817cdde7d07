"""Arrays out of .npy, .npz, .safetensors and .pt files; no pickle is loaded, no shape is believed unchecked."""

import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eckart.data.files import limits

Shape = tuple[int, ...]


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Read the array of a .npy file.

    Args:
        path: An existing file.

    Returns:
        Real numbers, shape ``(m, n)``, in the file's dtype.

    Raises:
        ValueError: If it is no .npy file, is truncated, or holds anything but a matrix of real numbers.
    """
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size)


def read_npz(path: Path, key: str | None) -> npt.NDArray[Any]:
    """Read one array of a .npz archive, without decompressing the others.

    Args:
        path: An existing file.
        key: Name of the array; may be None where the archive holds one 2-D array.

    Returns:
        Real numbers, shape ``(m, n)``, in the file's dtype.

    Raises:
        ValueError: If the archive declares more than ``MAX_BYTES``, ``key`` names none of its arrays or is needed and
            missing, or the array is not a matrix of real numbers.
    """
    with zipfile.ZipFile(path) as archive:
        _require_small(archive)
        arrays = (member for member in archive.infolist() if member.filename.endswith(".npy"))
        members = {member.filename.removesuffix(".npy"): member for member in arrays}
        shapes: dict[str, Shape] = {}
        for name, member in members.items():
            with archive.open(member) as file:
                shapes[name] = read_header(file)[0]
        chosen = members[choose(shapes, key)]
        with archive.open(chosen) as file:
            return _read_array(file, chosen.file_size)


def read_safetensors(path: Path, key: str | None) -> Tensor:
    """Read one tensor of a .safetensors file, without loading the others.

    Args:
        path: An existing file.
        key: Name of the tensor; may be None where the file holds one 2-D tensor.

    Returns:
        Real numbers, shape ``(m, n)``, in the file's dtype.

    Raises:
        ValueError: If ``key`` names none of its tensors or is needed and missing, or the tensor is not a matrix of
            real numbers.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        name = choose(shapes, key)
        limits.require_matrix_shape(shapes[name])
        return _require_real(file.get_tensor(name))


def read_pt(path: Path, key: str | None) -> Tensor:
    """Read one tensor of a file that ``torch.save`` wrote.

    Only tensors and plain containers are built (``weights_only=True``), so no code of the file is ever run.

    Args:
        path: An existing file.
        key: Name of the tensor, ``outer.inner`` in nested dictionaries; may be None where the file holds one 2-D
            tensor.

    Returns:
        Real numbers, shape ``(m, n)``, in the file's dtype, on the CPU.

    Raises:
        ValueError: If the file holds objects other than tensors and plain containers, ``key`` names none of its
            tensors or is needed and missing, or the tensor is not a matrix of real numbers.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _require_small(archive)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"the object {blocked[1]!r}" if blocked else "other objects, or a damaged file"
        law = "the file must load with weights_only=True, which builds tensors and plain containers and runs no code"
        raise ValueError(f"{law}. Found {found}.") from error
    if isinstance(content, Tensor):
        if key is not None:
            raise ValueError(f"the file holds one tensor without a name, so key must be null. Found key {key!r}.")
        tensor = content
    else:
        tensors = _flatten(content)
        tensor = tensors[choose({name: tuple(tensor.shape) for name, tensor in tensors.items()}, key)]
    limits.require_matrix_shape(tensor.shape)
    return _require_real(tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach())


def read_header(file: IO[bytes]) -> tuple[Shape, bool, np.dtype[Any]]:
    """Shape of the array of a .npy file, whether it stands there by columns, and its dtype; nothing is allocated."""
    version = np.lib.format.read_magic(file)
    # Versions 2 and 3 differ only in how the field names of record arrays are encoded, and those are refused.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return shape, by_columns, dtype


def require_real_dtype(dtype: Any) -> None:
    """Refuse an array of anything but real numbers.

    Raises:
        ValueError: With the dtype found.
    """
    if np.dtype(dtype).kind not in "biuf":
        raise ValueError(f"the array must hold real numbers. Found dtype {dtype}.")


def _read_array(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    shape, _, dtype = read_header(file)
    require_real_dtype(dtype)
    limits.require_matrix_shape(shape)
    needed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if held < needed:
        raise ValueError(f"shape {shape} and dtype {dtype} need {needed} bytes of data. Found {held}: truncated.")
    file.seek(0)
    array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _require_small(archive: zipfile.ZipFile) -> None:
    declared = sum(member.file_size for member in archive.infolist())
    if declared > limits.MAX_BYTES:
        raise ValueError(f"the archive must unpack to at most {limits.MAX_BYTES} bytes. Found {declared} declared.")


def _require_real(tensor: Tensor) -> Tensor:
    if tensor.is_complex() or tensor.is_quantized or tensor.device.type != "cpu":
        raise ValueError(f"the tensor must hold real numbers. Found dtype {tensor.dtype} on {tensor.device}.")
    return tensor


def _flatten(content: object, prefix: str = "") -> dict[str, Tensor]:
    if isinstance(content, Tensor):
        return {prefix: content}
    if not isinstance(content, Mapping):
        return {}
    named: dict[str, Tensor] = {}
    for name, value in content.items():
        named |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return named


def choose(shapes: Mapping[str, Shape], key: str | None) -> str:
    """Name of the array that is meant.

    Args:
        shapes: Shapes of all arrays by their names.
        key: Name that was asked for; None for the only one of two dimensions.

    Raises:
        ValueError: If there is no such array, or more than one of two dimensions and no key.
    """
    if key is not None:
        if key not in shapes:
            raise ValueError(f"key must be one of {_listed(shapes)}. Found {key!r}.")
        return key
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if not matrices:
        raise ValueError(f"the file must hold a 2-D array. Found {_listed(shapes)}.")
    if len(matrices) > 1:
        raise ValueError(f"key must name one of {len(matrices)} 2-D arrays: {_listed(matrices)}. Found no key.")
    return next(iter(matrices))


def _listed(shapes: Mapping[str, Shape], shown: int = 8) -> str:
    names = [f"{name!r} {shape}" for name, shape in list(shapes.items())[:shown]]
    if len(shapes) > shown:
        names.append(f"and {len(shapes) - shown} more")
    return ", ".join(names) or "no arrays"
