"""A sweep: its jobs are grouped into stacks and trained; completed jobs are not run again."""

import itertools
import json
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict, read_write

from eckart.config import plain
from eckart.errors import one_line
from eckart.laws import check
from eckart.results.atomic import naming, replacing
from eckart.runs.job import Job
from eckart.runs.stack import Stack, forget_all
from eckart.sweeps.attempt import attempt, training
from eckart.sweeps.composing import SweepComposer, copied
from eckart.sweeps.hydra_internals import current_job
from eckart.sweeps.progress import Board
from eckart.sweeps.saving import ConfigFiles

STACKS = "stacks.json"
"""File of a sweep that says into which stacks its jobs were divided, and by what measurement."""
# A stack of fewer jobs takes about as long as the measurement.
_MEASURED = 128


@dataclass
class Entry:
    """A job of a sweep.

    Attributes:
        job: The job.
        config: The whole config that Hydra composed for it.
        hydra: Hydra's part of that config.
        returned: What the launcher returns for the job.
        completed: The result of an earlier run; None if the job must run.
    """

    job: Job
    config: DictConfig
    hydra: DictConfig
    returned: JobReturn
    completed: dict[str, Any] | None


@dataclass(frozen=True)
class Group:
    """Jobs that are run together: a stack whose factors have this width, or one job alone if the width is None."""

    entries: list[Entry]
    width: int | None


class Sweep:
    """The jobs of one command, run in this process.

    Args:
        context: Hydra's loader, which composes the jobs' configs, and callbacks.
        task: Runs a single job.
        config: The config of the whole sweep.
        jobs: Largest number of jobs in a stack; None: any number.
        memory: Estimated GiB that a stack may use.
    """

    def __init__(
        self, context: HydraContext, task: TaskFunction, config: DictConfig, *, jobs: int | None, memory: float
    ) -> None:
        self.context, self.task, self.config = context, task, config
        self.jobs, self.memory = jobs, int(memory * 2**30)
        self._files = ConfigFiles()
        self._chosen: list[dict[str, Any]] = []

    def launch(self, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the jobs that an earlier run has not completed.

        Args:
            overrides: Overrides of each job.
            first: Number of the first job.

        Returns:
            Hydra's record of each job, in order.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        entries = [self._compose(list(job), first + number) for number, job in enumerate(overrides)]
        left = [_method_of(entry) for entry in entries if entry.completed is None]
        hidden = not self.config.trainer.get("enable_progress_bar", True)
        with Board(left, completed=len(entries) - len(left), hidden=hidden) as board:
            for group in self.run(self._groups(entries) if left else [], board):
                board.add(_method_of(group.entries[0]), [entry.job.completed() is not None for entry in group.entries])
        forget_all(Path(self.config.hydra.sweep.dir))
        return [entry.returned for entry in entries]

    def run(self, groups: Sequence[Group], board: Board) -> Iterator[Group]:
        """Run the groups, and yield each when its jobs have ended."""
        for group in groups:
            for part in self._split(group):
                board.begin(_method_of(part.entries[0]), len(part.entries))
                self.run_group(part)
                configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
                yield part

    def run_group(self, group: Group) -> None:
        """Run the jobs of one group, print which failed, and set ``returned`` of their entries."""
        if group.width is None:
            (entry,) = group.entries
            entry.returned = run_job(
                self.task, entry.config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=self.context
            )
            return
        configure_log(group.entries[0].config.hydra.job_logging, group.entries[0].config.hydra.verbose)
        for entry in group.entries:
            with current_job(entry.config):
                with naming(entry.job.folder):
                    self._save(entry)
                self.context.callbacks.on_job_start(config=entry.config, task_function=self.task)
        with current_job(group.entries[0].config):
            trained = attempt(Stack([entry.job for entry in group.entries], group.width, self.memory))
        for entry, result in zip(group.entries, trained, strict=True):
            entry.returned.return_value = entry.job.objective(result)
            with current_job(entry.config):
                self.context.callbacks.on_job_end(config=entry.config, job_return=entry.returned)

    def _save(self, entry: Entry) -> None:
        entry.job.folder.mkdir(parents=True, exist_ok=True)
        if (subdir := entry.config.hydra.output_subdir) is not None:
            overrides = entry.config.hydra.overrides.task
            parts = {"config": entry.job.config, "hydra": entry.hydra, "overrides": overrides}
            self._files.write(entry.job.folder / subdir, parts)

    def _compose(self, overrides: list[str], number: int) -> Entry:
        config = cast(SweepComposer, self.context.config_loader).take(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        with current_job(config):
            folder = os.path.abspath(Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)))  # noqa: PTH100
            with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
                config.hydra.runtime.output_dir = folder
            task, hydra = _parts(config)
            job = Job.composed(task, config.hydra)
            completed = job.completed()
        returned = JobReturn(
            list(job.overrides),
            task,
            hydra,
            str(Path.cwd()),
            JobRuntime.instance().get("name"),
            JobStatus.COMPLETED,
            job.objective(completed) if completed is not None else None,
        )
        return Entry(job, config, hydra, returned, completed)

    def _split(self, group: Group) -> list[Group]:
        """A group in stacks of the largest size at which the time of a job does not rise, by measurement.

        All of them have the width of the group, so the numbers of a job do not depend on how it is split.
        """
        if group.width is None or self.jobs is not None or len(group.entries) < _MEASURED:
            return [group]
        from eckart.runs.calibration import measured

        first = group.entries[0]
        try:
            with current_job(first.config):
                curve = measured(Stack([entry.job for entry in group.entries], group.width))
        except Exception as error:
            # One of a job itself is reported again when the job runs.
            sizes, found = [len(group.entries)], {"error": one_line(error)}
        else:
            if curve is None:
                return [group]
            sizes, found = curve.stacks(len(group.entries)), curve.fields()
        self._chosen.append({"method": _method_of(first), "jobs": len(group.entries), "stacks": len(sizes), **found})
        with replacing(Path(self.config.hydra.sweep.dir) / STACKS) as partial:
            partial.write_text(json.dumps(self._chosen, indent=1) + "\n", encoding="utf-8")
        ends = list(itertools.accumulate(sizes))
        return [Group(group.entries[end - size : end], group.width) for size, end in zip(sizes, ends, strict=True)]

    def _groups(self, entries: Sequence[Entry]) -> list[Group]:
        alike: dict[Hashable, list[Entry]] = {}
        folders: set[Path] = set()
        for number, entry in enumerate(entries):
            # A job with the folder of an earlier one runs after it, and finds it completed.
            key = None if entry.job.folder in folders else _stack_key(entry)
            folders.add(entry.job.folder)
            alike.setdefault(number if key is None else key, []).append(entry)
        groups = []
        for kind in alike.values():
            most = self.jobs or len(kind)
            # Of all jobs of the kind, the completed ones too: the numbers of a job depend on the width.
            widest = max(entry.job.config.rank for entry in kind) if len(kind) > 1 else None
            for start in range(0, len(kind), most):
                whole = kind[start : start + most]
                width = widest if len(whole) > 1 else None
                if left := [entry for entry in whole if entry.completed is None]:
                    groups.append(Group(left, width))
        return groups


def _method_of(entry: Entry) -> str:
    return str(entry.job.choices.get("method"))


def _stack_key(entry: Entry) -> Hashable | None:
    """A value that is equal for the jobs of a stack; None for a job that must run alone."""
    config, hydra = entry.job.config, entry.config.hydra
    # These change the whole process, or a checkpoint is that of one job.
    if hydra.job.chdir or hydra.job.env_set or config.ckpt is not None:
        return None
    # Hydra's settings of a job are known only while it runs alone; so do callbacks, which see one run at a time.
    if not isinstance(config.rank, int):
        # A rank that is still to be chosen is known when the job has its data.
        return None
    if "${hydra:" in str(plain(config, resolve=False)) or config.get("callbacks"):
        return None
    try:
        # Before anything heavy is imported for a job that cannot run.
        check(config, entry.job.choices, alone=False)
        # Several processes train one job.
        if config.trainer.devices != 1:
            return None
        training()
        optimizer = config.optimizer.get("_target_")
        made: Any = optimizer and get_class(optimizer)
        method: Any = get_class(config.method._target_)
        own = method.trained_by(made).stack_key(config.rank, made, config.method)
    except Exception:
        # The error is reported when the job runs.
        return None
    return None if own is None else (own, entry.job.stack_key())


def _parts(config: DictConfig) -> tuple[DictConfig, DictConfig]:
    """The job's own config, and Hydra's part, which is much larger and is not copied."""
    hydra = OmegaConf.create({}, flags={"no_deepcopy_set_nodes": True})
    with read_write(config), open_dict(config):
        hydra.hydra = config.pop("hydra")
    own = copied(config)
    with read_write(config), open_dict(config), flag_override(config, "no_deepcopy_set_nodes", True):
        config.hydra = hydra.hydra
    return own, hydra
