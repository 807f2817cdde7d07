"""All that eckart uses of W&B's undocumented parts; a new version of W&B is tried against this file first."""

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import wandb
import wandb.util

TRIED = ("0.31.0",)
"""Versions of W&B that this file was tried with; a test fails with any other minor version."""

_INPUTS = "wandb.sdk.launch.inputs.internal"


@contextlib.contextmanager
def started_fast() -> Iterator[None]:
    """Start W&B runs without what costs half a second and is the same for all runs of a process, or empty.

    Each run records the installed packages: they are looked up once. Each run takes the inputs that a program staged
    for W&B Launch, which imports W&B's whole interface to its servers: only a program that has imported that module has
    staged any.
    """
    taken = wandb.Run._detect_and_apply_job_inputs

    def applied(run: wandb.Run) -> None:
        if _INPUTS in sys.modules:
            taken(run)

    with (
        patch.object(wandb.util, "working_set", _installed),
        patch.object(wandb.Run, "_detect_and_apply_job_inputs", applied),
    ):
        yield


_look = wandb.util.working_set


@functools.cache
def _installed() -> tuple[Any, ...]:
    return tuple(_look())
