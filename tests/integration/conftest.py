"""The command line as a user types it, without starting an interpreter for each test."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from commandline import Ended, Train
from hydra.core.global_hydra import GlobalHydra
from wandb_server import WandbServer

from eckart import cli


@pytest.fixture(autouse=True, scope="session")
def _hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # W&B reads its settings once a process; no test may reach an account or leave files at home.
    home = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "HYDRA_"))]:
            patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        # What is printed depends on these.
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
            patch.delenv(name, raising=False)
        for place in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{place}_DIR", str(home / place))
        yield


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Train]:
    """Run the command line in an empty folder; ``HYDRA_FULL_ERROR=1`` lets exceptions through, as there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    handlers = list(logging.getLogger().handlers)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        GlobalHydra.instance().clear()
        before = _job_folders(tmp_path)
        capfd.readouterr()
        status: str | int | None = None
        with _warnings_as_in_a_shell():
            try:
                cli.main()
            except SystemExit as ended:
                status = ended.code
        stdout, stderr = capfd.readouterr()
        # The interpreter prints what is no number and exits with 1.
        code = 1 if isinstance(status, str) else status or 0
        if isinstance(status, str):
            stderr += f"{status}\n"
        return Ended(code, stdout, stderr, sorted(_job_folders(tmp_path) - before))

    yield run
    GlobalHydra.instance().clear()
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A W&B server on this machine, which this process and those that it starts are led to."""
    import wandb

    with WandbServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        # W&B reads the environment once, and its process outlives a run.
        wandb.teardown()
        yield server
        wandb.teardown()


def _job_folders(root: Path) -> set[Path]:
    return {path.parent for path in root.rglob(".hydra")}


@contextlib.contextmanager
def _warnings_as_in_a_shell() -> Iterator[None]:
    # pytest collects warnings; a user sees them on standard error, those for developers aside.
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for developers in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", developers)
        warnings.showwarning = _show
        yield


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
