"""One job as the command line hands it to a run; knows nothing heavy, so that it can fail early."""

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from eckart.config import plain
from eckart.results import settings
from eckart.results.result import read_result, write_result
from eckart.runs.fingerprint import fingerprint, versions


@dataclass(frozen=True)
class Job:
    """A composed config, what was chosen in each group, where it writes, and the folder of its sweep."""

    config: DictConfig
    choices: dict[str, str]
    folder: Path
    sweep: Path | None = None
    overrides: tuple[str, ...] = ()
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def composed(cls, config: DictConfig, hydra: DictConfig) -> "Job":
        """The job of a config, as Hydra's own node says where it writes and how it was asked for."""
        sweep = Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None
        folder, overrides = Path(hydra.runtime.output_dir), tuple(hydra.overrides.task)
        return cls(config, dict(hydra.runtime.choices), folder, sweep, overrides)

    @property
    def name(self) -> str:
        """What the job is called where it is listed."""
        fallback = (
            f"{self.choices.get('method')}-{self.choices.get('data')}-rank{self.config.rank}-seed{self.config.seed}"
        )
        return self.config.name or fallback

    @property
    def title(self) -> str:
        """What was asked for, as it was typed."""
        return " ".join(self.overrides)

    @property
    def draws(self) -> bool:
        """Whether figures are drawn: unless the config says, for a single run and for no job of a sweep."""
        asked = self.config.figures
        return self.sweep is None if asked is None else bool(asked)

    @property
    def resumes(self) -> bool:
        """Whether what an earlier run left in the folder counts: always in a sweep, else if asked for."""
        return self.sweep is not None or self.config.resume is not None

    @functools.cached_property
    def fingerprint(self) -> str:
        """What makes the result that result."""
        return fingerprint(self._plain)

    def completed(self) -> dict[str, Any] | None:
        """The result that an earlier run left, if it is completed and would come out the same today."""
        if not self.resumes:
            return None
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, OmegaConfBaseException):
            result = read_result(self.folder)
            if result["status"] == "completed" and result["fingerprint"] == self.fingerprint:
                return result
        return None

    def objective(self, result: Mapping[str, Any]) -> float | tuple[float, ...] | None:
        """Value that the job returns to a sweeper: a number of its result, or several.

        None if it did not complete: to Optuna's sweeper a trial that failed, where no number would end the search.
        """
        asked = self.config.objective
        names = [asked] if isinstance(asked, str) else list(asked)
        if result["status"] != "completed" or any(result[name] is None for name in names):
            return None
        values = tuple(float(result[name]) for name in names)
        return values[0] if isinstance(asked, str) else values

    def conflict(self) -> str | None:
        """In what the run differs that an earlier command left in the folder; None where it does not, or is none."""
        try:
            earlier = read_result(self.folder)
            if earlier["fingerprint"] == self.fingerprint:
                return None
        except (OSError, ValueError, OmegaConfBaseException):
            return None
        then, now = settings.settings(earlier), settings.settings(self.identity())
        for name in settings.names([then, now]):
            if settings.decides(name) and then.get(name) != now.get(name):
                return f"{name}={then.get(name)} in place of {name}={now.get(name)}"
        return None

    def stack_key(self) -> str:
        """What is the same among jobs that can be one stack: all but the rank, the seed and what only the data know."""
        config = dict(self._plain)
        for key in ("rank", "seed", "name", "objective", "resume"):
            del config[key]
        # As it is written, so that what follows from the rank or the seed of a job is the same for all.
        config["data"] = _without_seeds(plain(self.config.data, resolve=False))
        return json.dumps([config, self.choices], sort_keys=True, default=str)

    def identity(self) -> dict[str, Any]:
        """Fields of ``result.json`` that are known before anything is computed."""
        return {
            "method": self.choices.get("method"),
            "data": self.choices.get("data"),
            "rank": self.config.rank,
            "seed": self.config.seed,
            "fingerprint": self.fingerprint,
            "config": self._plain,
            "versions": versions(),
        }

    def fail(self, line: str) -> dict[str, Any]:
        """A result that says ``failed`` and why, written where that is possible."""
        result = self.identity() | {"status": "failed", "error": line}
        with contextlib.suppress(OSError):
            return write_result(self.folder, result)
        return result

    @functools.cached_property
    def _plain(self) -> dict[str, Any]:
        try:
            return plain(self.config)
        except OmegaConfBaseException:
            # What refers to a missing value cannot be resolved; the record of the failure shows it as it is written.
            return plain(self.config, resolve=False)


def _without_seeds(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if key != "seed"
    }
