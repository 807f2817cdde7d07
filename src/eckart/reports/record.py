"""A run as a page shows it, whoever wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        name: What it is called.
        folder: Its folder, as the user named it.
        program: ``eckart``, or ``wandb`` for a run of another program that left a W&B file.
        status: ``completed``, ``failed``, ``diverged`` or, where nothing says how it ended, ``unfinished``.
        error: One line on why it failed; None if it did not.
        fields: Its results by name, those of ``result.json`` for a run of eckart.
        settings: Its config under dotted names, as in :func:`eckart.results.settings.settings`.
        history: Steps and values of each quantity that was measured more than once.
        link: Address of its W&B run; None if it has none.
    """

    name: str
    folder: str
    program: str
    status: str
    error: str | None
    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: Mapping[str, tuple[list[float], list[float]]]
    link: str | None
