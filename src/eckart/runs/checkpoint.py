"""Checkpoints, checked before use: somebody else may have written them."""

import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from eckart.data.files import limits
from eckart.printable import printable

# Squares of weights must be numbers.
_LARGEST = 1e150
# Integers that a float64 holds exactly.
_MOST = 2**53


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint, and check all in it that every checkpoint has.

    Only tensors, numbers, texts and plain containers are built (``weights_only=True``); no code of the file is run.

    Args:
        path: The file.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a regular file, unpacks to more than ``limits.MAX_BYTES``, holds other objects, or a
            value of a wrong type or size. One line, which begins with what is wrong, to be put behind a name.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    if not path.is_file():
        raise ValueError("it must be a regular file. Found a folder, a pipe or a device.")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                declared = sum(member.file_size for member in archive.infolist())
            if declared > limits.MAX_BYTES:
                raise ValueError(f"It declares {declared} bytes.")
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError("it must be a checkpoint that a run of eckart wrote. Found none in it.") from error
    if not isinstance(found, dict) or not isinstance(found.get("eckart"), dict) or "of" not in found["eckart"]:
        raise ValueError("it must be a checkpoint that a run of eckart wrote. Found none in it.")
    if not re.fullmatch(r"[2-9]\.\d+[\w.+]{0,40}", str(found.get("pytorch-lightning_version"))):
        raise ValueError("its pytorch-lightning_version must be 2.0 or later. Found another one, or none.")
    if not isinstance(found.get("callbacks", {}), dict) or found.get("lr_schedulers", []) != []:
        raise ValueError("its callbacks must be a dictionary and its lr_schedulers an empty list. Found others.")
    _check_optimizers(found.get("optimizer_states"))
    return found


def form_of(method: LightningModule, trainer: Trainer) -> dict[str, Any]:
    """What a checkpoint of this training holds: the same keys, types and shapes, with other values."""
    form: dict[str, Any] = {"epoch": 0, "global_step": 0, "state_dict": method.state_dict()}
    form["loops"] = {"fit_loop": trainer.fit_loop.state_dict()}
    method.on_save_checkpoint(form)
    return form


def check(found: Mapping[str, Any], form: Mapping[str, Any]) -> None:
    """Hold every value that a training continues from against the form of its own checkpoints.

    Dictionaries must have the same keys, and values the same type. Integers must be from 0 to 2^53, floats finite and
    not negative (NaN is allowed where the form has it, null where the form has null), and tensors dense, of the same
    shape, finite and at most 1e150.

    Args:
        found: A checkpoint, as ``read_checkpoint`` returns it.
        form: As ``form_of`` returns it.

    Raises:
        ValueError: For the first value that does not fit; one line, to be put behind the name of the file.

    Example:
        >>> form = {"eckart": {"of": "SVD", "step_count": 0}}
        >>> check({"eckart": {"of": "SVD", "step_count": 7}}, form)
        >>> check({"eckart": {"of": "SVD", "step_count": -1}}, form)
        Traceback (most recent call last):
        ValueError: its eckart.step_count must be an integer from 0 to 2^53. Found -1.
    """
    own, wanted = found.get("eckart"), form["eckart"]["of"]
    of = own.get("of") if isinstance(own, Mapping) else None
    if of != wanted:
        raise ValueError(f"it must be of {wanted}. Found {printable(of, 200)}.")
    # What Lightning adds beside these, such as the state of other loops, is not read.
    for key, inner in form.items():
        if key not in found:
            raise ValueError(f"it must hold {key}. Found none.")
        value = found[key]
        if key == "loops" and isinstance(value, Mapping):
            value = {name: value[name] for name in inner if name in value}
        _check(value, inner, key)


def _check(value: Any, form: Any, path: str) -> None:
    if isinstance(form, Mapping):
        if not isinstance(value, Mapping) or value.keys() != form.keys():
            law = f"must hold {', '.join(map(str, form)) or 'nothing'}"
            raise _wrong(path, law, list(value) if isinstance(value, Mapping) else value)
        for key, inner in form.items():
            _check(value[key], inner, f"{path}.{key}")
    elif isinstance(form, list | tuple):
        if not isinstance(value, list | tuple):
            raise _wrong(path, "must be a list", value)
        for place, item in enumerate(value):
            _check(item, form[0] if form else 0.0, f"{path}[{place}]")
    elif isinstance(form, Tensor):
        _check_tensor(value, form, path)
    elif isinstance(form, bool | str):
        if type(value) is not type(form):
            raise _wrong(path, f"must be {'true or false' if isinstance(form, bool) else 'text'}", value)
    elif isinstance(form, int):
        if not _is_number(value) or not isinstance(value, int) or not 0 <= value <= _MOST:
            raise _wrong(path, "must be an integer from 0 to 2^53", value)
    elif value is None and form is None:
        return
    elif not _is_number(value) or not (0 <= value < math.inf or (form is not None and math.isnan(form))):
        raise _wrong(path, "must be a finite number of at least 0", value)


def _check_tensor(value: Any, form: Tensor, path: str) -> None:
    shape = tuple(form.shape)
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.shape != shape:
        raise _wrong(path, f"must be a dense tensor of shape {shape}", value)
    if value.dtype.is_floating_point != form.dtype.is_floating_point or value.dtype.is_complex:
        raise _wrong(path, f"must hold numbers like those of {form.dtype}", value.dtype)
    if value.dtype.is_floating_point and not (value.abs() <= _LARGEST).all():
        raise _wrong(path, f"must be finite and at most {_LARGEST:.0e}", value.abs().max().item())
    if not value.dtype.is_floating_point and not ((value >= 0) & (value <= _MOST)).all():
        raise _wrong(path, "must hold integers from 0 to 2^53", value.min().item())


def _check_optimizers(states: Any) -> None:
    # Their settings are those of this run's config; what else is in them is checked by the optimizer that loads it.
    sound = isinstance(states, list) and all(
        isinstance(state, dict)
        and isinstance(state.get("state"), dict)
        and isinstance(groups := state.get("param_groups"), list)
        and all(isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups)
        for state in states
    )
    if not sound or not all(map(_is_plain, _leaves(states))):
        raise ValueError("its optimizer_states must hold dense tensors and numbers. Found others.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout == torch.strided and not value.is_quantized and not value.dtype.is_complex
    return value is None or isinstance(value, bool | int | float | str)


def _leaves(value: Any) -> Iterable[Any]:
    level = [value]
    while level:
        container = level.pop()
        if isinstance(container, dict):
            level += container.values()
        elif isinstance(container, list | tuple):
            level += container
        else:
            yield container


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(path: str, law: str, value: Any) -> ValueError:
    if isinstance(value, Tensor):
        found = f"a tensor of shape {tuple(value.shape)}, {value.layout}"
    else:
        found = printable(repr(value), 80)
    return ValueError(f"its {path} {law}. Found {found}.")
