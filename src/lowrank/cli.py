"""The command line: what ``python train.py`` and ``lowrank`` do before and after the run itself."""

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from lowrank import config, summary
from lowrank.config import TrainConfig
from lowrank.job import Job

_FULL_ERROR = "HYDRA_FULL_ERROR"


class JobFailed(Exception):
    """A job that ended without a completed result; its message is the one line that says why."""


def main() -> None:
    """Compose the config of the command line and run it, or sweep it with ``-m``.

    Any error ends in one line on standard error and exit status 1; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """
    full_error = os.environ.get(_FULL_ERROR) == "1"
    failures: list[str] = []

    def task(cfg: DictConfig) -> float:
        with _hydra_raises(False):
            job = _job(cfg)
            try:
                return _run(job)
            except (KeyboardInterrupt, SystemExit):
                # Lightning turns an interrupt into an exit.
                job.fail("interrupted")
                sys.exit(f"interrupted: {job.folder}")
            except Exception as error:
                if full_error:
                    raise
                failures.append(_report(job, error))
                # A sweeper goes on: to Optuna a trial that is not a number is one that failed.
                return math.nan

    config.register()
    sys.argv[1:] = _name_folders_by_sweep(sys.argv[1:])
    app = hydra.main(version_base="1.3", config_path=str(config.config_dir()), config_name="train")(task)
    try:
        with _hydra_raises(True):
            app()
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if full_error:
            raise
        sys.exit(one_line(error))
    if failures:
        sys.exit("\n  ".join([f"{len(failures)} jobs failed:", *failures]) if len(failures) > 1 else failures[0])


def _job(cfg: DictConfig) -> Job:
    hydra = HydraConfig.get()
    sweep = Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None
    return Job(cfg, dict(hydra.runtime.choices), Path(hydra.runtime.output_dir), sweep)


def _run(job: Job) -> float:
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"warning: {message}\n"
    config.check(job.config, job.choices)
    from lowrank.run import run

    results = run([job])
    if not results:
        return math.nan
    (result,) = results
    print((summary.line if job.sweep else summary.table)(result, job.folder), flush=True)
    if result["status"] != "completed":
        raise JobFailed(result["error"])
    return float(result["relative_frobenius"])


def _report(job: Job, error: Exception) -> str:
    line = one_line(error)
    if not isinstance(error, JobFailed):
        with contextlib.suppress(OSError, OmegaConfBaseException):
            job.fail(line)
    if job.sweep is None:
        return line
    line = f"{' '.join(HydraConfig.get().overrides.task)}: {line}"
    print(f"failed: {line}\n  {job.folder}", file=sys.stderr, flush=True)
    return line


def one_line(error: BaseException) -> str:
    """Say in one line what is wrong, with the nearest names where a name is not known."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"Unknown choice {group}={name}. {config.nearest(name, error.options)}"
    if (
        isinstance(error, ConfigCompositionException)
        and isinstance(cause, ValidationError)
        and cause.key in TrainConfig.__annotations__
    ):
        return config.type_law(str(cause.full_key), TrainConfig.__annotations__[cause.key], cause.value)
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        siblings = cause.parent_node.keys() if isinstance(cause.parent_node, DictConfig) else []
        return f"Unknown key {cause.full_key}. {config.nearest(str(cause.key), map(str, siblings))}"
    if isinstance(error, OverrideParseException):
        return f"Cannot read the override {error.override!r}."
    if isinstance(error, InstantiationException) and cause is not None:
        return one_line(cause)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror or text}: {error.filename}"
    return text


def _name_folders_by_sweep(arguments: list[str]) -> list[str]:
    # An experiment can be a sweep without -m, so this is done for every command.
    # Hydra can leave keys out of a job's folder name, but only by name: all that is not swept.
    plain = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(plain)
    except HydraException:
        return arguments
    fixed = [override.key_or_group for override in overrides if not override.is_sweep_override()]
    keys = ",".join(f"'{key}'" for key in fixed)
    if not fixed:
        return arguments
    first = arguments.index(plain[0])
    return [*arguments[:first], f"hydra.job.config.override_dirname.exclude_keys=[{keys}]", *arguments[first:]]


@contextlib.contextmanager
def _hydra_raises(raises: bool) -> Iterator[None]:
    # Hydra prints an error and exits unless this variable is set; the line that users see is written in main().
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1" if raises else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = before
