"""What a command line leaves behind, as the tests look at it."""

import csv
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from eckart import config

SMALL = ("data=uniform", "data.rows=12", "data.cols=9")
QUIET = ("logger=none", "figures=false")
MNIST = "ECKART_DATA"
DOWNLOADED = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


class Ended(NamedTuple):
    """A command that has ended: its exit status, what it printed, and the folders of its jobs."""

    code: int
    stdout: str
    stderr: str
    folders: list[Path]

    @property
    def folder(self) -> Path:
        """Folder of the only job."""
        (folder,) = self.folders
        return folder

    @property
    def result(self) -> dict[str, Any]:
        """Result of the only job."""
        return result(self.folder)

    @property
    def line(self) -> str:
        """The only line on standard error."""
        (line,) = self.stderr.splitlines()
        return line


class Train(Protocol):
    """Run the command line with these arguments."""

    def __call__(self, *arguments: str) -> Ended: ...


def page(name: str) -> str:
    """A page of ``docs/``, with each command in one line."""
    text = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    return re.sub(r" \\\n +", " ", text)


def result(folder: Path) -> dict[str, Any]:
    """Read ``result.json``; NaN and Infinity are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON.")

    read: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return read


def history(folder: Path) -> list[dict[str, str]]:
    """Read ``history.csv``."""
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def choices(group: str) -> list[str]:
    """Names of the options of a group, as its folder lists them."""
    return sorted(path.stem for path in (config.config_dir() / group).glob("[!_]*.yaml"))


def has_downloaded(data: str) -> bool:
    """Whether the real data set is at hand."""
    root = os.environ.get(MNIST)
    return bool(root) and any(Path(str(root), DOWNLOADED[data], "raw").glob("train-images-idx3-ubyte*"))
