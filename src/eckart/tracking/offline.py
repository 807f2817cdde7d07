"""What the files of offline W&B runs say, of eckart's and of any other program's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Media:
    """A file that a run logged.

    Attributes:
        key: The name that it was logged under.
        step: The step that it was logged at; None if it is only in the summary.
        path: The file, inside the run's folder.
        caption: Its caption; empty if it has none.
    """

    key: str
    step: int | None
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class OfflineRun:
    """What one ``run-ID.wandb`` file says; of a damaged or truncated file, all that is whole before the damage.

    Attributes:
        path: The file.
        identity: Texts ``id``, ``name``, ``project``, ``entity``, ``group``, ``job_type``, ``notes``, ``started`` and
            ``host``, as far as the run has them.
        tags: Its tags.
        config: Its config, nested, without what W&B adds of its own.
        history: Numbers logged, by name: steps and values.
        summary: Its last values, nested names joined by a slash.
        media: Images that it logged.
        exit_code: How it ended; None if the file does not say.
        problem: One line on what could not be read; None if the file is whole.
    """

    path: Path
    identity: Mapping[str, str]
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    history: Mapping[str, tuple[list[float], list[float]]]
    summary: Mapping[str, Any]
    media: tuple[Media, ...]
    exit_code: int | None
    problem: str | None
