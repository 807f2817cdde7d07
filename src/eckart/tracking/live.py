"""The W&B runs of a stack."""

import contextlib
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from omegaconf import DictConfig
from wandb.sdk.mailbox import MailboxClosedError

from eckart.errors import one_line
from eckart.printable import printable
from eckart.results.settings import AUTO
from eckart.results.terminal import shown
from eckart.tracking import reach
from eckart.tracking.job import Tracked, config_of
from eckart.tracking.metrics import CHOICES, EPOCH, METRICS, PICTURES, RANK, STEP
from eckart.tracking.wandb_internals import started_fast

# Seconds that an online run may take to begin, and to send what is left at its end; then it stays on disk.
_LIMITS = {"init_timeout": 30.0, "finish_timeout": 120.0}


class WandbTracker:
    """A W&B run of a job: its metrics with their axes, and at the end its result and its figures.

    Args:
        run: The run.
        epochs: Whether the job counts epochs.
    """

    name = "W&B"

    def __init__(self, run: wandb.Run, *, epochs: bool) -> None:
        self.run = self.experiment = run
        self._epochs = epochs
        self._row: set[str] = set()

    def begin(self) -> None:
        """Name the axis of each metric, and what the summary takes of it."""
        run, epochs = self.run, self._epochs
        for count in (STEP, EPOCH, RANK) if epochs else (STEP, RANK):
            run.define_metric(count, hidden=True)
        # What callbacks log.
        run.define_metric("*", step_metric=STEP)
        for name, metric in METRICS.items():
            if axis := metric.axis(epochs=epochs):
                run.define_metric(name, step_metric=axis, summary=None if metric.summary == "last" else metric.summary)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step."""
        self.run.log({**row, STEP: step}, step=step)
        self._row = set(row)

    def save(self) -> None:
        """Nothing: W&B's own process writes what it receives."""

    def finish(self, result: Mapping[str, Any], drawn: Sequence[Path]) -> str | None:
        """End the run with its result and its figures.

        Args:
            result: Fields of ``result.json``; all that have a value are in the summary, but for the config, which the
                run has.
            drawn: Files of the figures.

        Returns:
            The folder of an offline run or of one that could not be sent in time, or the URL of an online one.
        """
        last = {name: result[name] for name in METRICS if name not in self._row and result.get(name) is not None}
        pictures = {f"{PICTURES}{path.stem}": wandb.Image(str(path)) for path in drawn if path.suffix == ".png"}
        # With the last row, which W&B holds back for more of its step: it must not overwrite the summary of the result.
        # No other row has the rank, so that a chart over ranks shows the last errors of each run.
        size = {RANK: result["rank"]} if result["rank"] is not None else {}
        self.run.log({**size, **last, **pictures})
        summary = {key: value for key, value in result.items() if value is not None and key != "config"}
        self.run.summary.update(summary)
        folder = self.run.settings.sync_dir
        where = folder if self.run.settings.mode == "offline" else self.run.url
        try:
            self.run.finish(exit_code=0 if result["status"] == "completed" else 1)
        except TimeoutError:
            later = f"`wandb sync --include-online {shown(Path(folder))}` sends it"
            warnings.warn(f"W&B did not take the run in time: {later}", stacklevel=2)
            return folder
        return where

    def fail(self) -> None:
        """End the run as failed."""
        self.run.finish(exit_code=1)

    def discard(self) -> None:
        """End the run as failed; an offline run is also removed from the disk."""
        offline, folder = self.run.settings.mode == "offline", self.run.settings.sync_dir
        self.fail()
        if offline:
            shutil.rmtree(folder, ignore_errors=True)


def start(jobs: Sequence[Tracked], node: DictConfig, *, epochs: bool) -> Iterator[WandbTracker | None]:
    """Start one W&B run for each job; where W&B cannot be reached, the runs are kept on disk.

    Args:
        jobs: The jobs of a stack. Jobs of a sweep share a folder and, unless the config names another, a group.
        node: The config's ``logger.wandb``.
        epochs: Whether the jobs count epochs.

    Yields:
        The run of each job; None, after one warning, if W&B cannot keep any.
    """
    folder = jobs[0].sweep or jobs[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    # A mode that the user has chosen stays.
    chosen = wandb.setup().settings.mode != "online"
    online = not chosen and reach.is_reached(folder)
    if not chosen and not online:
        # Else W&B's process sends its own metrics with the key that was refused, and prints that they were, too.
        os.environ.setdefault("OTEL_SDK_DISABLED", "true")
    for number, job in enumerate(jobs):
        try:
            run = None
            if online:
                run = _online(job, node, folder)
                online = run is not None
            if run is None:
                run = _begun(job, node, folder, None if chosen else "offline", {})
        except Exception as error:
            warnings.warn(f"the training goes on without W&B: {one_line(error)}", stacklevel=2)
            yield from [None] * (len(jobs) - number)
            return
        yield WandbTracker(run, epochs=epochs)


def _online(job: Tracked, node: DictConfig, folder: Path) -> wandb.Run | None:
    """An online run; None, with a warning, where W&B takes none, of which nothing is left on the disk."""
    # The agent of a W&B sweep decides the id of its runs.
    identity = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    limits = {name: most for name, most in _LIMITS.items() if f"WANDB_{name.upper()}" not in os.environ}
    try:
        return _begun(job, node, folder, None, {"run_id": identity, "finish_timeout_raises": True, **limits})
    except wandb.errors.CommError as error:
        url, reason = wandb.setup().settings.base_url, printable(str(error).splitlines()[0])
        reach.tell(folder, f"W&B at {url} takes no runs ({reason})")
        for begun in (folder / "wandb").glob(f"run-*-{identity}"):
            shutil.rmtree(begun, ignore_errors=True)
        return None


def _begun(
    job: Tracked, node: DictConfig, folder: Path, mode: Literal["offline"] | None, own: Mapping[str, Any]
) -> wandb.Run:
    try:
        return _init(job, node, folder, mode, own)
    except (ConnectionError, MailboxClosedError):
        # W&B's own process has ended; the next call starts another one.
        with contextlib.suppress(Exception):
            wandb.teardown()
        return _init(job, node, folder, mode, own)


def _init(
    job: Tracked, node: DictConfig, folder: Path, mode: Literal["offline"] | None, own: Mapping[str, Any]
) -> wandb.Run:
    config = config_of(job)
    named = config[CHOICES]
    tags = [*map(str, node.tags), *(named[group] for group in ("method", "data", "experiment") if group in named)]
    tags += [f"{RANK}={AUTO}"] if "selection" in config else []
    with started_fast():
        return wandb.init(
            project=_text(node.project),
            entity=_text(node.entity),
            group=_text(node.group) or (job.sweep.name if job.sweep else None),
            job_type=named.get("method"),
            tags=list(dict.fromkeys(tags)),
            notes=_text(node.notes),
            name=job.name,
            dir=folder,
            mode=mode,
            config=config,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", **own),
        )


def _text(value: Any) -> str | None:
    # A name can look like a number.
    return None if value is None else str(value)
