"""The command line: what ``python train.py`` and ``eckart`` do before and after the run itself."""

import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from eckart import arguments, config
from eckart.errors import Interrupted, one_line, raised_by_hydra, wants_traceback
from eckart.results import terminal
from eckart.results.result import read_results
from eckart.runs.interruption import interruptible, take_turn
from eckart.runs.job import Job
from eckart.runs.stack import Stack
from eckart.sweeps.attempt import attempt

_folders: list[Path] = []
_sweeps: list[Path] = []
_failed: list[Path] = []


class Folders(Callback):
    """Learns the folders that Hydra tells to nobody else: that of a run or sweep as it begins, of a job that failed."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse to go on in the folder of a run of another config."""
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        job = Job(own, dict(config.hydra.runtime.choices), Path(config.hydra.run.dir))
        if job.resumes and (found := job.conflict()):
            # Hydra makes a warning of any other error.
            sys.exit(f"resume={own.resume} must be a run of the same config. Found one with {found}.")
        _folders.append(job.folder.absolute())

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder as the sweep starts."""
        _folders.append(Path(config.hydra.sweep.dir).absolute())
        _sweeps.append(_folders[-1])

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note a job that did not complete, which its folder cannot tell where nothing can be written."""
        if job_return.status != JobStatus.COMPLETED or job_return.return_value is None:
            _failed.append(Path(config.hydra.runtime.output_dir))


def main() -> None:
    """Compose the config of the command line and run it, or sweep it with ``-m``.

    Any error ends in one line on standard error and exit status 1; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    A process that is asked to end keeps what it has, says how to go on, and exits with 128 and the signal's number.
    """
    typed = list(sys.argv)
    for folders in (_folders, _sweeps, _failed):
        folders.clear()
    config.register()
    app = hydra.main(version_base="1.3", config_path=str(config.config_dir()), config_name="train")(task)
    with raised_by_hydra():
        try:
            with interruptible(lambda: f"interrupted{_how_to_go_on(typed)}"):
                sys.argv[1:] = arguments.prepared(typed[1:])
                app()
                if _sweeps:
                    _conclude(_sweeps[0], typed)
        except Exception as error:
            if wants_traceback():
                raise
            sys.exit(one_line(error) + (_how_to_go_on(typed) if isinstance(error, OSError) else ""))
        except Interrupted as interrupted:
            take_turn()
            print(f"interrupted{_how_to_go_on(typed)}", file=sys.stderr)
            sys.exit(128 + interrupted.signal)


def task(cfg: DictConfig) -> float | tuple[float, ...] | None:
    """Run one job, as Hydra and its launchers call it.

    Returns:
        What the config names as its objective; None if the job did not complete, so that a sweeper goes on.
    """
    job = Job.composed(cfg, cast(DictConfig, HydraConfig.get()))
    before = job.completed()
    trained = attempt(Stack([job])) if before is None else [before]
    if not trained:
        # A process that helps another to train has nothing to say.
        return None
    (result,) = trained
    if result["status"] != "failed" and (before is None or job.sweep is None):
        # Not through the progress bar of a sweep.
        tqdm.write((terminal.line if job.sweep else terminal.table)(result, job.folder))
    if result["status"] != "completed" and job.sweep is None:
        sys.exit(result["error"])
    return job.objective(result)


def _how_to_go_on(typed: list[str]) -> str:
    begun = [folder for folder in _folders if folder.is_dir()]
    return f"; to go on: {arguments.resuming(typed, begun[0])}" if begun else ""


def _conclude(sweep: Path, typed: list[str]) -> None:
    ended = read_results(sweep)
    print(terminal.sweep_table(ended.values()))
    print(terminal.shown(sweep))
    failed = {folder: result["error"] for folder, result in ended.items() if result["status"] != "completed"}
    unwritten = [folder for folder in _failed if folder not in ended]
    failed = dict.fromkeys(unwritten, "its result could not be written") | failed
    if failed:
        lines = [f"{terminal.shown(folder)}: {error}" for folder, error in failed.items()]
        jobs = len({*ended, *failed})
        counted = f"{len(failed)} of {jobs} jobs failed; to run them again: {arguments.resuming(typed, sweep)}"
        sys.exit("\n  ".join([counted, *lines]))
