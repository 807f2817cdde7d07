"""The command line: what ``python train.py`` and ``lowrank`` do before and after the run itself."""

import contextlib
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from lowrank import aggregate, arguments, config, results, summary
from lowrank.attempt import attempt
from lowrank.errors import Interrupted, one_line, raised_by_hydra, wants_traceback
from lowrank.job import Job
from lowrank.stack import Stack

_sweeps: list[Path] = []


class Folders(Callback):
    """Learns the folder of a run or of a sweep before anything is written there, which Hydra tells to nobody else."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse to go on in the folder of a run of another config."""
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        job = Job(own, dict(config.hydra.runtime.choices), Path(config.hydra.run.dir))
        if job.resumes and (found := job.conflict()):
            # Hydra makes a warning of any other error.
            sys.exit(f"resume={own.resume} must be a run of the same config. Found one with {found}.")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder as the sweep starts."""
        _sweeps.append(Path(config.hydra.sweep.dir).absolute())


def main() -> None:
    """Compose the config of the command line and run it, or sweep it with ``-m``.

    Any error ends in one line on standard error and exit status 1; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    A process that is asked to end keeps what it has, says how to go on, and exits with 128 and the signal's number.
    """
    typed = list(sys.argv)
    _sweeps.clear()
    config.register()
    app = hydra.main(version_base="1.3", config_path=str(config.config_dir()), config_name="train")(task)
    with raised_by_hydra():
        try:
            with _interruptible():
                sys.argv[1:] = arguments.prepared(typed[1:])
                app()
                if _sweeps:
                    _conclude(_sweeps[0], typed)
        except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
            if wants_traceback():
                raise
            sys.exit(one_line(error))
        except Interrupted as interrupted:
            folder = _sweeps[0] if _sweeps else interrupted.folder
            how = f"; to go on: {arguments.resuming(typed, folder)}" if folder else ""
            print(f"interrupted{how}", file=sys.stderr)
            sys.exit(128 + interrupted.signal)


def task(cfg: DictConfig) -> float | tuple[float, ...]:
    """Run one job, as Hydra and its launchers call it.

    Returns:
        What the config names as its objective; no number if the job did not complete, so that a sweeper goes on.
    """
    job = Job.composed(cfg, cast(DictConfig, HydraConfig.get()))
    before = job.completed()
    try:
        trained = attempt(Stack([job])) if before is None else [before]
    except KeyboardInterrupt as interrupt:
        raise Interrupted.by(interrupt, None if job.sweep else job.folder) from None
    if not trained:
        # A process that helps another to train has nothing to say.
        return math.nan
    (result,) = trained
    if result["status"] != "failed" and (before is None or job.sweep is None):
        # Not through the progress bar of a sweep.
        tqdm.write((summary.line if job.sweep else summary.table)(result, job.folder))
    if result["status"] != "completed" and job.sweep is None:
        sys.exit(result["error"])
    return job.objective(result)


def _conclude(sweep: Path, typed: list[str]) -> None:
    ended = results.read_results(sweep)
    print(aggregate.sweep_table(ended.values()))
    print(arguments.shown(sweep))
    failed = [(folder, result) for folder, result in ended.items() if result["status"] != "completed"]
    if failed:
        lines = [f"{arguments.shown(folder)}: {result['error']}" for folder, result in failed]
        counted = f"{len(failed)} of {len(ended)} jobs failed; to run them again: {arguments.resuming(typed, sweep)}"
        sys.exit("\n  ".join([counted, *lines]))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
