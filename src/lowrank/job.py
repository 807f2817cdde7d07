"""One job as the command line hands it to a run; knows nothing heavy, so that it can fail early."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lowrank import results
from lowrank.config import plain


@dataclass(frozen=True)
class Job:
    """A composed config, what was chosen in each group, where it writes, and the folder of its sweep."""

    config: DictConfig
    choices: dict[str, str]
    folder: Path
    sweep: Path | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def name(self) -> str:
        """What the job is called where it is listed."""
        fallback = (
            f"{self.choices.get('method')}-{self.choices.get('data')}-rank{self.config.rank}-seed{self.config.seed}"
        )
        return self.config.name or fallback

    def identity(self) -> dict[str, Any]:
        """Fields of ``result.json`` that are known before anything is computed."""
        try:
            config = plain(self.config)
        except OmegaConfBaseException:
            # What refers to a missing value cannot be resolved; the record of the failure shows it as it is written.
            config = plain(self.config, resolve=False)
        return {
            "method": self.choices.get("method"),
            "data": self.choices.get("data"),
            "rank": self.config.rank,
            "seed": self.config.seed,
            "fingerprint": results.fingerprint(config),
            "config": config,
            "versions": results.versions(),
            "total_seconds": time.perf_counter() - self.began,
        }

    def fail(self, line: str) -> None:
        """Write a result that says ``failed``, and why."""
        results.write_result(self.folder, self.identity() | {"status": "failed", "error": line})
