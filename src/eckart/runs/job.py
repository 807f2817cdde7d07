"""One job, as the command line hands it to a run; imports nothing heavy, so that errors are reported early."""

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from eckart.config import deciding, is_a, plain
from eckart.results import settings
from eckart.results.result import read_result, write_result
from eckart.results.settings import AUTO
from eckart.runs.fingerprint import fingerprint, versions

if TYPE_CHECKING:
    from eckart.runs.choosing_rank import Chosen


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        config: The composed config, without Hydra's part.
        choices: The option chosen in each group, such as ``{"method": "svd"}``.
        folder: Folder that the job writes to.
        sweep: Folder of the sweep; None for a single run.
        overrides: The overrides as they were typed.
        began: When the job was made, in seconds of ``time.perf_counter``.
        chosen: The rank that a rule chose, with ``rank=auto``; None until then, and for a rank that is given.
    """

    config: DictConfig
    choices: dict[str, str]
    folder: Path
    sweep: Path | None = None
    overrides: tuple[str, ...] = ()
    began: float = field(default_factory=time.perf_counter)
    chosen: "Chosen | None" = None

    @classmethod
    def composed(cls, config: DictConfig, hydra: DictConfig) -> "Job":
        """The job of a composed config.

        Args:
            config: The config without Hydra's part.
            hydra: Hydra's part, which names the folder, the choices and the overrides.
        """
        sweep = Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None
        folder, overrides = Path(hydra.runtime.output_dir), tuple(hydra.overrides.task)
        return cls(config, dict(hydra.runtime.choices), folder, sweep, overrides)

    @property
    def name(self) -> str:
        """Name of the job in lists."""
        size = f"rank{self.config.rank if self.chosen is None else f'-{AUTO}→{self.rank}'}"
        what = [self.choices.get("method"), self.choices.get("data")]
        if self.config.rank is None:
            size = "" if self.config.budget is None else f"budget{self.config.budget}"
            what.insert(1, self.choices.get("model"))
        return self.config.name or "-".join(map(str, [*what, *([size] if size else []), f"seed{self.config.seed}"]))

    @property
    def rank(self) -> int | None:
        """The rank: as the config gives it, or as it was chosen; None where it is still to be chosen, or is none."""
        if self.chosen is not None:
            return self.chosen.rank
        return self.config.rank if is_a(self.config.rank, int) else None

    @property
    def title(self) -> str:
        """The overrides as they were typed."""
        return " ".join(self.overrides)

    @property
    def draws(self) -> bool:
        """Whether figures are drawn: as the config says; by default for a single run, and not for a job of a sweep."""
        asked = self.config.figures
        return self.sweep is None if asked is None else asked is not False

    @property
    def suffix(self) -> str:
        """Suffix of the figures: ``.png``, or ``.svg`` by ``figures=svg``."""
        return ".svg" if self.config.figures == "svg" else ".png"

    @property
    def previews(self) -> bool:
        """Whether the small picture of a run is written, in sweeps too: unless the config says ``figures=false``."""
        return self.config.figures is not False

    @property
    def resumes(self) -> bool:
        """Whether an earlier run in the same folder is continued: always in a sweep, otherwise with ``resume=``."""
        return self.sweep is not None or self.config.resume is not None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides the result."""
        return fingerprint(self._plain)

    def completed(self) -> dict[str, Any] | None:
        """The result of an earlier run, if that run completed and had the same fingerprint; otherwise None."""
        if not self.resumes:
            return None
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, OmegaConfBaseException):
            result = read_result(self.folder)
            if result["status"] == "completed" and result["fingerprint"] == self.fingerprint:
                return result
        return None

    def objective(self, result: Mapping[str, Any]) -> float | tuple[float, ...] | None:
        """Value that a sweeper minimizes: a number of the result, or several.

        None if the job did not complete. Optuna's sweeper counts that as a failed trial; NaN would end the search.
        """
        asked = self.config.objective
        names = [asked] if isinstance(asked, str) else list(asked)
        if result["status"] != "completed" or any(result[name] is None for name in names):
            return None
        values = tuple(float(result[name]) for name in names)
        return values[0] if isinstance(asked, str) else values

    def conflict(self) -> str | None:
        """First setting in which an earlier run in the folder differs; None if none does, or there is no such run."""
        try:
            earlier = read_result(self.folder)
            if earlier["fingerprint"] == self.fingerprint:
                return None
        except (OSError, ValueError, OmegaConfBaseException):
            return None
        # As they were asked for: the rank that a rule chose follows from the other settings.
        asked = [result | {"rank": (result["config"] or {}).get("rank")} for result in (earlier, self.identity())]
        then, now = map(settings.settings, asked)
        for name in settings.names([then, now]):
            if settings.decides(name) and then.get(name) != now.get(name):
                return f"{name}={then.get(name)} in place of {name}={now.get(name)}"
        return None

    def stack_key(self) -> str:
        """A text that is equal for jobs that can be one stack: all settings but the rank, the seeds and the fold."""
        config = dict(self._plain)
        for key in ("rank", "seed", "name", "objective", "resume"):
            del config[key]
        # Unresolved, so that a value that refers to the rank or the seed is equal for all jobs.
        config["data"] = _without_seeds(plain(self.config.data, resolve=False))
        return json.dumps([config, self.choices], sort_keys=True, default=str)

    def identity(self) -> dict[str, Any]:
        """Fields of ``result.json`` that are known before anything is computed."""
        return {
            "method": self.choices.get("method"),
            "data": self.choices.get("data"),
            "rank": self.rank,
            "seed": self.config.seed,
            "fingerprint": self.fingerprint,
            "config": self._plain,
            "versions": versions(),
        }

    def fail(self, line: str) -> dict[str, Any]:
        """Make a result with the status ``failed`` and the error, and write it if that is possible."""
        result = self.identity() | {"status": "failed", "error": line}
        with contextlib.suppress(OSError):
            return write_result(self.folder, result)
        return result

    @functools.cached_property
    def _plain(self) -> dict[str, Any]:
        try:
            return deciding(self.config)
        except OmegaConfBaseException:
            # A reference to a missing value cannot be resolved; the failed result then shows the unresolved config.
            return deciding(self.config, resolve=False)


def _without_seeds(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if key not in ("seed", "fold")
    }
