"""The lessons of the site: notebooks of ``examples/notebooks``, executed, and made pages.

A notebook begins with a cell of Markdown: its first line is the title. It is kept without outputs, executed in a folder
of its own, and offered for download as it ran. One whose data are missing here is shown without outputs, and its page
says so.
"""

import base64
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "examples" / "notebooks"
RAN = ROOT / "build" / "lessons"
"""The executed notebooks."""
LIMIT = 300
"""Seconds that a cell may take."""
DATA = {"mnist": "MNIST"}
"""Data that a notebook reads from ``$ECKART_DATA``, by a word of the notebook's name."""
_KEY = "source_sha256"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def lessons(folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of a folder, in the order of their names."""
    return sorted(folder.glob("[!_.]*.ipynb"))


def missing(path: Path) -> str | None:
    """Name of the data set that a notebook reads and that is not on this machine; None if it can run.

    Example:
        >>> missing(Path("1_lab.ipynb"))
    """
    for word, name in DATA.items():
        if word in path.stem and not Path(os.environ.get("ECKART_DATA", ""), name, "raw").is_dir():
            return name
    return None


def title(notebook: Any) -> str:
    """The title of a notebook, without its mark.

    Raises:
        ValueError: If it does not begin with a title in Markdown.
    """
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ValueError("A notebook must begin with a cell of Markdown, its title first: # TITLE. Found none.")
    return str(first.source.partition("\n")[0].removeprefix("# "))


def executed(path: Path, ran: Path = RAN, *, again: bool = False) -> Any:
    """A notebook with its outputs; it is run if it was not yet, or has changed.

    Args:
        path: The notebook.
        ran: Folder that keeps the executed notebooks.
        again: Whether it is run in any case.

    Raises:
        RuntimeError: If a cell fails. One line, and the error.
    """
    key = hashlib.sha256(path.read_bytes()).hexdigest()
    known = ran / path.name
    if known.is_file() and not again:
        found = nbformat.read(known, as_version=4)
        if found.metadata.get(_KEY) == key:
            return found
    notebook = nbformat.read(path, as_version=4)
    title(notebook)
    work = ran / path.stem
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    began = time.perf_counter()
    client = NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": str(work)}})
    try:
        client.execute()
    except CellExecutionError as error:
        last = "\n".join(_COLORS.sub("", str(error)).splitlines()[-30:])
        raise RuntimeError(f"{path.name} must run to its end. Found an error:\n{last}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    notebook.metadata[_KEY] = key
    notebook.metadata["seconds"] = round(time.perf_counter() - began, 1)
    nbformat.write(notebook, known)
    return notebook


def write(paths: Iterable[Path], folder: Path, ran: Path = RAN) -> None:
    """Write a page for each notebook, and one that lists them.

    Args:
        paths: The notebooks; one that was not run is run.
        folder: Folder of the pages, whatever was there is deleted.
        ran: As of :func:`executed`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    titles = {}
    for path in paths:
        notebook = nbformat.read(path, as_version=4) if missing(path) else executed(path, ran)
        nbformat.write(notebook, folder / path.name)
        (folder / f"{path.stem}.md").write_text(page(path, notebook, folder), encoding="utf-8")
        titles[path.stem] = title(notebook)
    (folder / "index.md").write_text(index(titles), encoding="utf-8")


def page(path: Path, notebook: Any, folder: Path) -> str:
    """The page of a notebook, in Markdown; its pictures are written beside it."""
    parts, pictures = [], 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for kind, content in _shown(cell.outputs):
            if kind == "text":
                parts.append(f"```text\n{content}\n```")
                continue
            pictures += 1
            name = f"{path.stem}-{pictures}.png"
            (folder / name).write_bytes(base64.b64decode(content))
            parts.append(f"![Picture {pictures} of this lesson]({name})")
    absent, seconds = missing(path), notebook.metadata.get("seconds")
    ended = f"It ran in {seconds} s." if seconds else f"It was not run here: {absent} was not in `$ECKART_DATA`."
    return "\n\n".join([*parts, f"Download {{download}}`{path.name}`. {ended}"]) + "\n"


def _shown(outputs: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """What the outputs of a cell show: texts, and pictures as base64. Texts that follow one another are one."""
    text = ""
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            if text.strip():
                yield "text", text.rstrip()
            text = ""
            yield "picture", data["image/png"]
        elif output.output_type == "stream" and output.name == "stdout":
            text += output.text
        elif "text/plain" in data:
            text += data["text/plain"] + "\n"
    if text.strip():
        yield "text", text.rstrip()


def index(titles: dict[str, str]) -> str:
    """The page that lists the lessons, by the names of their pages."""
    text = (
        "What the documents taught that this project began with, as notebooks in its own words: a lab exercise, two "
        "notebooks and a paper. Each runs as it stands, in Jupyter or in the tests. "
        "[Reproduction](../reproduction.md) holds every number of the documents against ours."
    )
    items = "\n".join(f"- [{words}]({name}.md)" for name, words in titles.items())
    menu = "\n".join(["```{toctree}", ":hidden:", "", *titles, "```"])
    return "\n\n".join(["# Lessons", text, items, menu]) + "\n"
