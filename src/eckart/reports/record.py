"""A run as a page shows it, whoever wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eckart.tracking.offline import Media

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Steps and values by name of what was measured."""


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        name: What it is called.
        folder: Its folder, as the user named it.
        program: ``eckart``, or ``wandb`` for a run of another program that left a W&B file.
        status: ``completed``, ``failed``, ``diverged`` or, where nothing says how it ended, ``unfinished``.
        error: One line on why it failed, or on what of it could not be read; None if there is none.
        fields: Its results by name, those of ``result.json`` for a run of eckart; its summary for another one.
        settings: Its config under dotted names, as in :func:`eckart.results.settings.settings`.
        history: Steps and values of each quantity that was measured more than once; empty as long as it is not read.
        link: Address of its W&B run, or folder of its offline run; None if it has none.
        identity: Texts such as ``project`` and ``group`` of a W&B run.
        tags: Its tags.
        media: Images that it logged to W&B.
        axes: Names of the quantities, such as ``epoch``, that stand in place of the steps of its history.
        has_folder: Whether ``folder`` is its own, with the files of a run of eckart.
    """

    name: str
    folder: str
    program: str
    status: str
    error: str | None
    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: Curves
    link: str | None
    identity: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    media: tuple[Media, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)
    has_folder: bool = False

    @property
    def ours(self) -> bool:
        """Whether eckart wrote it."""
        return self.program == "eckart"

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.folder)

    def number(self, name: str) -> float | None:
        """A field that is a finite number; None for any other.

        Example:
            >>> run = Record("a", "a", "wandb", "completed", None, {"x": 2, "y": "2", "z": True}, {}, {}, None)
            >>> run.number("x"), run.number("y"), run.number("z"), run.number("w")
            (2, None, None, None)
        """
        value = self.fields.get(name)
        return value if is_number(value) else None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number.

    Example:
        >>> is_number(2), is_number(True), is_number(float("nan")), is_number("2")
        (True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
