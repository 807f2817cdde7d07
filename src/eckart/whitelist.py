"""Hydra's own allow-list: from version 1.4 on, Hydra calls a target without a warning only if code has named it."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import hydra.utils

from eckart import allowed


def whitelisted() -> AbstractContextManager[Any]:
    """Let Hydra call what :func:`eckart.allowed.whitelist` lists, and nothing else, until the context ends.

    Hydra 1.4 warns of a target outside such a context, and Hydra 1.5 refuses it. Hydra 1.3 has no such list: there the
    context does nothing. The context holds for one thread of one process, so each that calls targets enters its own.

    Example:
        >>> from hydra.utils import instantiate
        >>> with whitelisted():
        ...     instantiate({"_target_": "eckart.data.targets.identity", "rows": 1, "cols": 2})
        tensor([[1., 0.]], dtype=torch.float64)

    References:
        https://hydra.cc/docs/advanced/execution_whitelist/
    """
    scope = getattr(hydra.utils, "execution_whitelist", None)
    return contextlib.nullcontext() if scope is None else scope(allowed.whitelist())
