"""Tensors of a result, written to a .safetensors file; large ones without a copy in memory."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save, save_file
from torch import Tensor

LARGE = 2**26
"""Bytes above which the file is not put together in memory first."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a new file.

    Args:
        path: The file; it does not exist.
        tensors: By name, on the CPU.
        metadata: Texts by name.

    Raises:
        OSError: If the disk refuses.

    Example:
        >>> import torch
        >>> path = getfixture("tmp_path") / "a.safetensors"
        >>> write_tensors(path, {"left": torch.zeros(2, 3)}, {})
        >>> path.stat().st_size
        96
    """
    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if sum(tensor.nbytes for tensor in whole.values()) <= LARGE:
        path.write_bytes(save(whole, dict(metadata) or None))
        return
    # Made first, with the permissions that other files of the run have.
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(whole, path, dict(metadata) or None)
    except SafetensorError as error:
        # The library has errors of its own for those of the disk.
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise
    path.chmod(mode)
