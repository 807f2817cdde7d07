"""The command line as a function: the same config, folders and files, in this process."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from eckart import cli
from eckart.api.result import Result
from eckart.results.result import read_results

_SWEEP = {"-m", "--multirun"}


def run(overrides: Sequence[str] = (), *, verbose: bool = False) -> Result | list[Result]:
    """Do what the command line does with the same words: compose the config, train, and write the same files.

    Args:
        overrides: As typed after ``python train.py``: ``["method=svd", "rank=5"]``, with ``-m`` for a sweep.
        verbose: Whether to print what the command line prints on standard output.

    Returns:
        The result; of a sweep a list with a result for each job, in which failed jobs have the status ``failed``.

    Raises:
        RuntimeError: With the line that the command line prints, if the config is not valid or the run fails.
        ValueError: For a flag other than ``-m``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = run(["method=svd", "data=lab", "rank=1", "logger=csv", f"hydra.run.dir={folder}"])
        ...     print(result.fields["status"], result.left.shape, (result.folder / "history.csv").is_file())
        completed torch.Size([3, 1]) True
    """
    flags = [word for word in overrides if word.startswith("-") and word not in _SWEEP]
    if flags:
        raise ValueError(f"run takes overrides, and -m for a sweep. Found {' '.join(flags)}.")
    folder: Path | None = None
    with _restored(), contextlib.redirect_stdout(sys.stdout if verbose else io.StringIO()):
        try:
            folder = cli.command(["eckart", *overrides])
        except SystemExit as end:
            if isinstance(end.code, int):
                raise KeyboardInterrupt from None
            folder = cli.begun()
            if not _is_sweep(folder):
                raise RuntimeError(end.code) from None
            warnings.warn(str(end.code), stacklevel=2)
    if folder is None:
        raise RuntimeError("The command began no run.")
    return [Result.read(job) for job in read_results(folder)] if _is_sweep(folder) else Result.read(folder)


def _is_sweep(folder: Path | None) -> bool:
    # An experiment can be a sweep without -m; Hydra writes this file as a sweep begins.
    return folder is not None and (folder / "multirun.yaml").is_file()


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Restore what a command changes in its process: Hydra's state, arguments, logging, and the format of warnings."""
    hydra, config, root = GlobalHydra.instance(), HydraConfig.instance(), logging.getLogger()
    before = hydra.hydra, config.cfg, sys.argv, root.handlers[:], root.level, warnings.formatwarning
    hydra.clear()
    try:
        yield
    finally:
        hydra.hydra, config.cfg, sys.argv, root.handlers[:], level, warnings.formatwarning = before
        root.setLevel(level)
