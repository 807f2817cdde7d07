"""The gallery of the site: scripts of ``examples/``, run, and made pages.

A script begins with a docstring: its first line is the title, the rest text in Markdown. A line ``# %%`` begins a cell;
comments right below it are text, and code follows. Each script runs in a process and a folder of its own; what it
prints is shown below the cell that prints it, and a picture that it writes below the cell that names it.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
RAN = ROOT / "build" / "gallery"
"""A folder for each example that was run: what it printed, its pictures and its pages."""
LIMIT = 300
"""Seconds that a script may take."""
PICTURES, PAGES = (".png", ".svg"), (".html",)
GROUPS: dict[str, list[str]] = tomllib.loads((EXAMPLES / "groups.toml").read_text(encoding="utf-8"))
"""The scripts by what they are about, in the order of the site; one that is not named here comes last."""
_CELL = "# %%"
_OUTCOME = "outcome.json"
# Printed between two cells; no text has it.
_SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Cell:
    """A part of a script: text in Markdown, and the code below it."""

    text: str
    code: str


@dataclass(frozen=True)
class Example:
    """A script of the gallery.

    Attributes:
        path: The script.
        title: First line of its docstring.
        text: What follows there, in Markdown.
        cells: Its code, with the texts between.
    """

    path: Path
    title: str
    text: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Name of the script without its extension, and of the example's page."""
        return self.path.stem

    @property
    def summary(self) -> str:
        """The first sentence of the text, on one line."""
        return re.split(r"(?<=[.?!]) ", " ".join(self.text.partition("\n\n")[0].split()))[0]


def examples(folder: Path = EXAMPLES) -> list[Example]:
    """The scripts of a folder, in the order of the groups."""
    order = [name for names in GROUPS.values() for name in names]
    names = sorted(path.stem for path in folder.glob("[!_]*.py"))
    return [read(folder / f"{name}.py") for name in sorted(names, key=[*order, *names].index)]


def read(path: Path) -> Example:
    """Take a script apart.

    Raises:
        ValueError: If it does not begin with a docstring of a title and a text.
    """
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    if not title.strip() or not text.strip():
        raise ValueError(f"{path.name} must begin with a docstring: a title, an empty line, and a text. Found none.")
    lines = source.splitlines()[tree.body[0].end_lineno or 0 :]
    return Example(path, title.strip().rstrip("."), text.strip(), tuple(_cells(lines)))


def _cells(lines: Sequence[str]) -> Iterator[Cell]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(_CELL):
            blocks.append([])
        else:
            blocks[-1].append(line)
    for place, block in enumerate(blocks):
        # Only a cell that a marker opens has a text.
        end = 0 if place == 0 else next((n for n, line in enumerate(block) if not line.startswith("#")), len(block))
        text, code = (line[1:].removeprefix(" ") for line in block[:end]), block[end:]
        yield Cell("\n".join(text).strip(), "\n".join(code).strip("\n"))


def outcome(example: Example, ran: Path = RAN, *, again: bool = False) -> dict[str, Any]:
    """What a script printed and wrote; it is run if it was not yet, or has changed.

    Args:
        example: The script.
        ran: Folder that keeps a folder for each example.
        again: Whether it is run in any case.

    Returns:
        ``printed``, a text for each cell; ``files``, the names of the pictures and pages that lie in its folder; and
        ``seconds``.

    Raises:
        RuntimeError: If the script fails, takes too long, or writes no picture. One line, and the end of its errors.
    """
    folder = ran / example.name
    key = hashlib.sha256(example.path.read_bytes()).hexdigest()
    known = folder / _OUTCOME
    if known.is_file() and not again:
        found: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        if found["key"] == key:
            return found
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    work.mkdir(parents=True)
    # A script that asks where it lies, or starts processes, finds itself in its folder, with the lines of the original.
    script = work / example.path.name
    source = example.path.read_text(encoding="utf-8").splitlines()
    mark = f"print({_SEPARATOR!r}, end='', flush=True)"
    script.write_text("\n".join(mark if line.startswith(_CELL) else line for line in source), encoding="utf-8")
    began = time.perf_counter()
    printed = _run(script, example)
    seconds = time.perf_counter() - began
    files = sorted(path for path in work.iterdir() if path.suffix in PICTURES + PAGES)
    if not any(path.suffix in PICTURES for path in files):
        raise RuntimeError(f"{example.path.name} must write a picture into the working directory. Found none.")
    for path in files:
        path.rename(folder / path.name)
    shutil.rmtree(work)
    found = {"key": key, "printed": printed, "files": [path.name for path in files], "seconds": round(seconds, 1)}
    known.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _run(script: Path, example: Example) -> list[str]:
    environment = {"WANDB_MODE": "offline", **os.environ, "MPLBACKEND": "agg", "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}
    try:
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=script.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{example.path.name} must end within {LIMIT} s. Found it running.") from error
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-30:])
        raise RuntimeError(f"{example.path.name} must end with status 0. Found {done.returncode}:\n{last}")
    return done.stdout.split(_SEPARATOR)


def write(found: Iterable[Example], folder: Path, ran: Path = RAN) -> None:
    """Write a page for each example, and one that lists them.

    Args:
        found: The examples; one that was not run is run.
        folder: Folder of the pages, whatever was there is deleted.
        ran: As of :func:`outcome`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cards = {}
    for example in found:
        result = outcome(example, ran)
        files = folder / example.name
        files.mkdir()
        for path in (*(ran / example.name / name for name in result["files"]), example.path):
            shutil.copyfile(path, files / path.name)
        (files / f"{example.name}.ipynb").write_text(json.dumps(notebook(example), indent=1), encoding="utf-8")
        (folder / f"{example.name}.md").write_text(page(example, result), encoding="utf-8")
        cards[example.name] = _card(example, result)
    (folder / "index.md").write_text(index(cards), encoding="utf-8")


def page(example: Example, result: dict[str, Any]) -> str:
    """The page of an example, in Markdown."""
    left = [name for name in result["files"] if Path(name).suffix in PICTURES]
    pages = [name for name in result["files"] if Path(name).suffix in PAGES]
    parts = [f"# {example.title}", example.text]
    for cell, printed in zip(example.cells, result["printed"], strict=True):
        here = [name for name in left if name in cell.code]
        left = [name for name in left if name not in here]
        parts += [cell.text, f"```python\n{cell.code}\n```" if cell.code else ""]
        parts += [f"```text\n{printed.rstrip()}\n```" if printed.strip() else ""]
        parts += [_picture(example, name) for name in here]
    parts += [_picture(example, name) for name in left]
    links = [f"[{name}]({example.name}/{name})" for name in (example.path.name, f"{example.name}.ipynb", *pages)]
    parts += [f"{' · '.join(links)}. It ran in {result['seconds']} s, with its imports."]
    return "\n\n".join(part for part in parts if part) + "\n"


def notebook(example: Example) -> dict[str, Any]:
    """A script as a notebook that was not run, in version 4.5 of the format."""
    texts = [f"# {example.title}\n\n{example.text}", *(cell.text for cell in example.cells[1:])]
    cells: list[dict[str, Any]] = []
    for text, cell in zip(texts, example.cells, strict=True):
        if text:
            cells.append({"cell_type": "markdown", "source": text})
        if cell.code:
            cells.append({"cell_type": "code", "source": cell.code, "execution_count": None, "outputs": []})
    numbered = [{"id": f"cell-{number}", "metadata": {}, **cell} for number, cell in enumerate(cells)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": numbered, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def _picture(example: Example, name: str) -> str:
    return f":::{{container}} picture\n![{example.title}]({example.name}/{name})\n:::"


def _card(example: Example, result: dict[str, Any]) -> str:
    # The picture that the script names first.
    source = "\n".join(cell.code for cell in example.cells)
    pictures = [name for name in result["files"] if Path(name).suffix in PICTURES]
    picture = min(pictures, key=lambda name: source.find(name) % (len(source) + 1))
    return "\n".join(
        [
            ":::{container} card",
            f"![{example.title}]({example.name}/{picture})",
            "",
            f"**[{example.title}]({example.name}.md)**",
            "",
            example.summary,
            ":::",
        ]
    )


def index(cards: Mapping[str, str]) -> str:
    """The page that lists the examples: the card of each, by name, in groups, and the links that the menu shows."""
    text = (
        "Each page is a script that runs as it stands, with what it printed and drew when this site was built. The "
        "[guide for contributors](../contributing.md) says how one is added."
    )
    parts, rest = ["# Examples", text], [name for name in cards if not any(name in names for names in GROUPS.values())]
    for title, names in {**GROUPS, "More": rest}.items():
        if shown := [cards[name] for name in names if name in cards]:
            parts += [f"## {title}", "::::{container} cards", *shown, "::::"]
    menu = "\n".join(["```{toctree}", ":hidden:", "", *cards, "```"])
    return "\n\n".join([*parts, menu]) + "\n"
