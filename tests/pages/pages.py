"""Pages of sweeps, written by the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from looking import ROOT
from strange_folders import damage, hostile_runs
from sweeps import planned, plant

REAL = (
    (
        "method=bottleneck,factorization,svd",
        "data=diagonal",
        "data.rows=20",
        "rank=1,2,5,10",
        "seed=range(5)",
    ),
    ("method=classifier", "data=digits", "rank=2,8,32", "seed=0,1", "method.epochs=3"),
)
"""Two sweeps, of 60 matrices and of 6 classifiers."""


class Pages:
    """Pages by name, each made once; what the command printed is kept.

    Args:
        root: Where folders and pages are written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.printed: dict[str, subprocess.CompletedProcess[str]] = {}

    def __call__(self, name: str) -> Path:
        """The page of a folder."""
        page = self.root / f"{name}.html"
        if name not in self.printed:
            self.printed[name] = report(self.folder(name), page)
        return page

    def folder(self, name: str) -> Path:
        """A folder of runs, by one of the names below; any other name is an empty folder."""
        folder = self.root / name
        if not folder.exists():
            match name:
                case "real":
                    self._train(folder)
                case "thousand":
                    plant(folder, planned(1000))
                case "ten_thousand":
                    plant(folder, planned(10_000))
                case "hostile":
                    plant(folder, hostile_runs(), points=30)
                case "damaged":
                    damage(folder)
                case "foreign":
                    self._log(folder)
                case _:
                    folder.mkdir()
        return folder

    def _train(self, folder: Path) -> None:
        for number, overrides in enumerate(REAL):
            command = [
                sys.executable,
                str(ROOT / "train.py"),
                "-m",
                *overrides,
                f"hydra.sweep.dir={folder / str(number)}",
            ]
            subprocess.run(command, check=True, capture_output=True, env=_environment(self.root), cwd=self.root)

    def _log(self, folder: Path) -> None:
        # W&B reads its settings once a process.
        command = [
            sys.executable,
            "-c",
            f"import strange_folders, pathlib; strange_folders.foreign_runs(pathlib.Path({str(folder)!r}))",
        ]
        path = {"PYTHONPATH": str(ROOT / "tests")}
        subprocess.run(command, check=True, capture_output=True, env=_environment(self.root) | path)


def report(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Write the page of a folder as a user does."""
    command = [str(Path(sys.executable).with_name("eckart")), "report", str(folder), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, env=_environment(out.parent), timeout=300)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


def _environment(home: Path) -> dict[str, str]:
    # No test may reach an account or leave files at home.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
    places = {f"WANDB_{place}_DIR": str(home / "wandb-home") for place in ("CACHE", "CONFIG", "DATA")}
    return own | places | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
