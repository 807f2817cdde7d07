"""All that eckart uses of W&B's undocumented parts; a version of W&B that lacks one of them is used as it is."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest.mock import patch

import wandb
import wandb.util

_APPLY, _LIST = "_detect_and_apply_job_inputs", "working_set"
_INPUTS = "wandb.sdk.launch.inputs.internal"


@contextlib.contextmanager
def started_fast() -> Iterator[None]:
    """Start W&B runs without what costs half a second and is the same for all runs of a process, or empty.

    Each run records the installed packages: they are looked up once. Each run takes the inputs that a program staged
    for W&B Launch, which imports W&B's whole interface to its servers: only a program that has imported that module has
    staged any.
    """
    taken = getattr(wandb.Run, _APPLY, None)
    if taken is None or not hasattr(wandb.util, _LIST):
        yield
        return

    def applied(run: wandb.Run) -> None:
        if _INPUTS in sys.modules:
            taken(run)

    with (
        patch.object(wandb.util, _LIST, functools.partial(_installed, getattr(wandb.util, _LIST))),
        patch.object(wandb.Run, _APPLY, applied),
    ):
        yield


@functools.cache
def _installed(look: Callable[[], Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(look())
