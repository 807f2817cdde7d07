"""The W&B runs of a stack."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import wandb
from omegaconf import DictConfig

from eckart.config import plain


class Tracked(Protocol):
    """A job as W&B sees it: its name, its config, its folder, and the folder of its sweep."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> DictConfig: ...  # noqa: D102
    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def sweep(self) -> Path | None: ...  # noqa: D102


def start(jobs: Sequence[Tracked], node: DictConfig) -> Iterator[wandb.Run]:
    """Start one W&B run for each job; if nobody is logged in, the runs are kept on disk.

    Args:
        jobs: The jobs of a stack. Jobs of a sweep share a folder and, unless the config names another, a group.
        node: The config's ``logger.wandb``.
    """
    # Without prompt=False W&B would ask for an account, and wait.
    mode: Literal["offline"] | None = (
        None if wandb.setup().settings.mode != "online" or wandb.login(prompt=False) else "offline"
    )
    folder = jobs[0].sweep or jobs[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        yield wandb.init(
            project=node.project,
            entity=node.entity,
            group=node.group or (job.sweep.name if job.sweep else None),
            tags=list(node.tags),
            name=job.name,
            dir=folder,
            mode=mode,
            config=plain(job.config),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )


def finish(run: wandb.Run, measured: dict[str, Any], drawn: list[Path]) -> str | None:
    """End a run with its result and its figures.

    Args:
        run: The run.
        measured: Fields of ``result.json``.
        drawn: Files of the figures.

    Returns:
        The folder of an offline run, or the URL of an online one.
    """
    run.summary.update({key: value for key, value in measured.items() if value is not None})
    if drawn:
        run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in drawn})
    where = run.settings.sync_dir if run.settings.mode == "offline" else run.url
    run.finish(exit_code=0 if measured["status"] == "completed" else 1)
    return where


def fail(runs: Sequence[wandb.Run]) -> None:
    """End runs as failed, all at the same time, since each waits for W&B and an interrupted process must end soon."""
    if runs:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda run: run.finish(exit_code=1), runs))


def discard(run: wandb.Run) -> None:
    """End a run as failed; an offline run is also removed from the disk."""
    offline, folder = run.settings.mode == "offline", run.settings.sync_dir
    run.finish(exit_code=1)
    if offline:
        shutil.rmtree(folder, ignore_errors=True)
