"""A job as trackers see it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from eckart.config import GROUPS, deciding
from eckart.tracking.metrics import CHOICES, RANK


class Tracked(Protocol):
    """A job: its name, its config, its rank, its folder, and the folder of its sweep."""

    @property
    def name(self) -> str:
        """What the run is called."""

    @property
    def config(self) -> DictConfig:
        """The composed config, without Hydra's node."""

    @property
    def rank(self) -> int | None:
        """The rank, also where a rule chose it; None where it is still to be chosen, or is none."""

    @property
    def choices(self) -> Mapping[str, Any]:
        """The option of each group."""

    @property
    def folder(self) -> Path:
        """Where its files are."""

    @property
    def sweep(self) -> Path | None:
        """Folder of its sweep; None of a single run."""


def config_of(job: Tracked) -> dict[str, Any]:
    """The resolved config of a job, and under ``choices`` the names that were chosen, such as ``bottleneck``.

    A rank that a rule chose stands there as a number, so that charts over ranks have its place; the rule, under
    ``selection``, says that it was chosen.
    """
    config = deciding(job.config) | {RANK: job.rank}
    named = {group: str(job.choices[group]) for group in GROUPS if job.choices.get(group)}
    if "selection" not in config:
        named.pop("selection", None)
    return {**config, CHOICES: named}
