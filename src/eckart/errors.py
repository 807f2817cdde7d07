"""Errors as the one line that a user sees."""

import contextlib
import errno
import os
import re
import warnings
from collections.abc import Iterable, Iterator

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from eckart import config
from eckart.config import TrainConfig
from eckart.environment import environment
from eckart.printable import printable

_HYDRA = "HYDRA_FULL_ERROR"
_ASKED = "ECKART_FULL_ERROR"
# Hydra's configs and modules that only an extra installs.
_EXTRAS = {
    "dask": "dask",
    "distributed": "dask",
    "mlflow": "mlflow",
    "submitit": "slurm",
    "tensorboard": "tensorboard",
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/sweeper/optuna": "optuna",
    "zarr": "files",
    "h5py": "files",
    "pyarrow": "files",
}


def concerns_all(error: BaseException) -> bool:
    """Whether the next job would fail with the same error: the disk is full or read-only."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def one_line(error: BaseException) -> str:
    """Say in one line of printable characters what is wrong, with the nearest names where a name is not known."""
    return printable(_said(error))


def _said(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in _EXTRAS:
        return _needs(error.missing_cfg_file)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"Unknown choice {group}={name}. {config.nearest(name, error.options)}"
    if (
        isinstance(error, ConfigCompositionException)
        and isinstance(cause, ValidationError)
        and cause.key in TrainConfig.__annotations__
    ):
        return config.type_law(str(cause.full_key), TrainConfig.__annotations__[cause.key], cause.value)
    if isinstance(error, ConfigCompositionException) and isinstance(cause, ValidationError):
        return f"{cause.full_key}: {str(cause).splitlines()[0]}"
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        siblings = cause.parent_node.keys() if isinstance(cause.parent_node, DictConfig) else []
        path = str(cause.full_key)
        others, here = config.whose(path), config.nearest(str(cause.key), map(str, siblings))
        # A key without its path is not like one of the groups.
        return f"Unknown key {path}.{others}" if others and "." not in path else f"Unknown key {path}. {here}{others}"
    if isinstance(error, OverrideParseException):
        return f"Cannot read the override {error.override!r}."
    if isinstance(error, InstantiationException) and cause is not None:
        return _said(cause)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _needs(error.name)
    text = str(error).strip() or type(error).__name__
    if isinstance(error, RuntimeError) and (asked := re.search(r"tried to allocate (\d+) bytes", text)):
        law = "Less memory is needed by fewer probes (method.vectors) and by a net without a hidden layer"
        return f"The memory is too small for an array of {int(asked[1]) / 2**30:.1f} GiB. {law} (method.hidden=[])."
    if isinstance(error, OSError):
        text = error.strerror or text
        return text if error.filename is None else f"{text}: {error.filename}"
    return text


def _needs(missing: str) -> str:
    return f'{missing} comes with the extra {_EXTRAS[missing]}: pip install -e ".[{_EXTRAS[missing]}]"'


def warn_in_one_line() -> None:
    """Print warnings as one line, without the place in the code."""
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"warning: {printable(message)}\n"


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks instead of one line."""
    return os.environ.get(_ASKED) == "1"


@contextlib.contextmanager
def prefixed(path: str, keys: Iterable[object]) -> Iterator[None]:
    """Add a config's path to an error whose message begins with one of its keys.

    Numerics say ``probes must be one of ...``; a user of the command line reads ``method.probes must be one of ...``.

    Args:
        path: Path of the config that is instantiated, such as ``method``.
        keys: Its keys.

    Example:
        >>> with prefixed("method", ["probes"]):
        ...     raise ValueError("probes must be gaussian. Found 'some'.")
        Traceback (most recent call last):
        ValueError: method.probes must be gaussian. Found 'some'.
    """
    try:
        yield
    except ValueError as error:
        if str(error).partition(" ")[0] not in set(map(str, keys)):
            raise
        raise ValueError(f"{path}.{error}") from error


@contextlib.contextmanager
def raised_by_hydra() -> Iterator[None]:
    """Make Hydra raise errors instead of printing them, and remember whether the user asked for tracebacks.

    The answer is kept in the environment, where processes that run jobs for this one find it.
    """
    asked = os.environ.get(_ASKED) or os.environ.get(_HYDRA) or "0"
    with environment({_ASKED: asked, _HYDRA: "1"}):
        yield
