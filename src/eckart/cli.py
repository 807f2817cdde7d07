"""The command line: what ``python train.py`` and ``eckart`` do before and after the run itself."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from tqdm import tqdm

from eckart import arguments, commands, config, deferred, laws
from eckart.config import without_hydra
from eckart.errors import one_line, raised_by_hydra, wants_traceback
from eckart.printable import printable, visible
from eckart.reports.ending import Reporting
from eckart.results import summary, terminal
from eckart.results.result import read_results
from eckart.results.screen import Screen
from eckart.runs.interruption import Interrupted, claim_exit, interruptible
from eckart.runs.job import Job
from eckart.runs.stack import Stack
from eckart.sweeps.attempt import attempt
from eckart.sweeps.hydra_internals import composed_once
from eckart.whitelist import whitelisted
from hydra_plugins.eckart_stacked_launcher import stackable

_typed: list[str] = []
_folders: list[Path] = []
_sweeps: list[Path] = []
_failed: list[Path] = []
_reporting: list[Reporting] = []


class Folders(Callback):
    """Records the folder of a run or sweep as it begins, and the folders of jobs that failed."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse to resume the run of another config."""
        own = without_hydra(config)
        job = Job(own, dict(config.hydra.runtime.choices), Path(config.hydra.run.dir))
        if job.resumes and (found := job.conflict()):
            # Hydra turns any other exception into a warning.
            sys.exit(printable(f"resume={own.resume} must be a run of the same config. Found one with {found}."))
        _folders.append(job.folder.absolute())

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record the folder of the sweep."""
        _folders.append(Path(config.hydra.sweep.dir).absolute())
        _sweeps.append(_folders[-1])
        _reporting.append(Reporting(config.report))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Record a job that did not complete: where nothing can be written, its folder does not show it."""
        if job_return.status != JobStatus.COMPLETED or job_return.return_value is None:
            _failed.append(Path(config.hydra.runtime.output_dir))


def main() -> None:
    """Run the command line of this process: a training, see :func:`command`, or one of ``eckart.commands``."""
    deferred.install()
    if commands.asked(sys.argv):
        commands.run(sys.argv)
    else:
        command(sys.argv)


def command(typed: Sequence[str]) -> Path | None:
    """Compose the config of a command line and run it, or sweep it with ``-m``.

    An error prints one line on standard error and exits with status 1; ``HYDRA_FULL_ERROR=1`` shows the traceback. A
    process that a signal asks to end keeps its state, prints the command that resumes it, and exits with 128 plus the
    number of the signal.

    Args:
        typed: The name of the program and its arguments.

    Returns:
        The folder of the run or the sweep; None for a command that only prints.
    """
    for kept in (_typed, _folders, _sweeps, _failed, _reporting):
        kept.clear()
    _typed.extend(typed)
    config.register()
    app = hydra.main(version_base="1.3", config_path=str(config.config_dir()), config_name="train")(task)
    with raised_by_hydra(), whitelisted(), composed_once(laws.check_targets, config.describe_choices):
        try:
            with interruptible(lambda: f"interrupted{_how_to_resume()}"):
                sys.argv = [_typed[0], *arguments.prepared(_typed[1:])]
                app()
                if _sweeps:
                    _conclude(_sweeps[0])
        except Exception as error:
            if wants_traceback():
                raise
            sys.exit(_last_line(error))
        except Interrupted as interrupted:
            claim_exit()
            print(f"interrupted{_how_to_resume()}", file=sys.stderr)
            sys.exit(interrupted.status)
    return begun()


def begun() -> Path | None:
    """Folder of the run or the sweep that the last command of this process began; None if it began none."""
    return _folders[0] if _folders else None


@stackable
def task(cfg: DictConfig) -> float | tuple[float, ...] | None:
    """Run one job; Hydra and its launchers call this.

    Returns:
        The fields of the result that ``objective`` names; None if the job did not complete, so that a sweeper
        continues.
    """
    if not _typed:
        # A process that a launcher started for its jobs, in which no command was typed.
        deferred.install()
    try:
        return _train(cfg)
    except Exception as error:
        if wants_traceback() or HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        # Hydra would print a line of its own before this one.
        sys.exit(_last_line(error))


def _train(cfg: DictConfig) -> float | tuple[float, ...] | None:
    job = Job.composed(cfg, cast(DictConfig, HydraConfig.get()))
    before = job.completed()
    trained = attempt(Stack([job])) if before is None else [before]
    if not trained:
        # A process that helps another one to train prints nothing.
        return None
    (result,) = trained
    if result["status"] != "failed" and (before is None or job.sweep is None):
        # Not through the progress bar of a sweep.
        tqdm.write((terminal.line if job.sweep else terminal.table)(result, job.folder, Screen.of(sys.stdout)))
    if job.sweep is None and cfg.report:
        Reporting(True).write(job.folder)
    if result["status"] != "completed" and job.sweep is None:
        sys.exit(result["error"])
    return job.objective(result)


def _last_line(error: Exception) -> str:
    # An option that does not exist is an OSError of Hydra's; the same command would fail again.
    resumable = isinstance(error, OSError) and not isinstance(error, HydraException)
    return one_line(error) + (_how_to_resume() if resumable else "")


def _how_to_resume() -> str:
    begun = [folder for folder in _folders if folder.is_dir()]
    return f"; to resume: {visible(arguments.resuming(_typed, begun[0]))}" if begun else ""


def _conclude(sweep: Path) -> None:
    ended = read_results(sweep)
    print(summary.sweep_table(ended.values(), Screen.of(sys.stdout)))
    print(f"\n{visible(terminal.shown(sweep))}")
    for reporting in _reporting:
        reporting.write(sweep)
    failed = {folder: result["error"] for folder, result in ended.items() if result["status"] != "completed"}
    unwritten = [folder for folder in _failed if folder not in ended]
    failed = dict.fromkeys(unwritten, "its result could not be written") | failed
    if failed:
        jobs = len({*ended, *failed})
        counted = (
            f"{len(failed)} of {jobs} jobs failed; to run them again: {visible(arguments.resuming(_typed, sweep))}"
        )
        sys.exit("\n  ".join([counted, *terminal.failures(failed)]))
