"""Notebooks: executed, kept, and made pages."""

import base64
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason='pip install -e ".[docs]" has what reads and executes a notebook')
pytest.importorskip("nbclient", reason='pip install -e ".[docs]" has what reads and executes a notebook')
SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
site_lessons = importlib.import_module("site_lessons")
sys.path.remove(SCRIPTS)

v4 = importlib.import_module("nbformat.v4")
PIXEL = base64.b64encode(b"a picture").decode()


def lesson(path: Path, *code: str) -> Path:
    cells = [v4.new_markdown_cell("# A title\n\nText."), *map(v4.new_code_cell, code)]
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


def test_a_page_shows_what_a_notebook_shows(tmp_path: Path) -> None:
    notebook = nbformat.read(lesson(tmp_path / "a.ipynb", "first", "second"), as_version=4)
    stream, data = "stream", "execute_result"
    notebook.cells[1].outputs = [
        v4.new_output(stream, name="stdout", text="printed\n"),
        v4.new_output(stream, name="stderr", text="warned\n"),
        v4.new_output(data, {"text/plain": "value", "text/html": "<b>value</b>"}),
        v4.new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}),
    ]
    notebook.metadata["seconds"] = 1.5
    page = site_lessons.page(tmp_path / "a.ipynb", notebook, tmp_path)
    blocks = ["# A title", "Text.", "```python\nfirst\n```", "```text\nprinted\nvalue\n```"]
    blocks += ["![Picture 1 of this lesson](a-1.png)", "```python\nsecond\n```"]
    blocks += ["Download {download}`a.ipynb`. It ran in 1.5 s."]
    assert page == "\n\n".join(blocks) + "\n"
    assert (tmp_path / "a-1.png").read_bytes() == b"a picture"


def test_a_lesson_whose_data_are_missing_is_shown_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECKART_DATA", str(tmp_path))
    path = lesson(tmp_path / "3_mnist.ipynb", "1 / 0")
    site_lessons.write([path], tmp_path / "pages", tmp_path / "ran")
    page = (tmp_path / "pages" / "3_mnist.md").read_text(encoding="utf-8")
    assert "1 / 0" in page and page.endswith("It was not run here: MNIST was not in `$ECKART_DATA`.\n")
    assert "- [A title](3_mnist.md)" in (tmp_path / "pages" / "index.md").read_text(encoding="utf-8")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert site_lessons.missing(path) is None


def test_a_lesson_needs_a_title(tmp_path: Path) -> None:
    for cells in ([], [v4.new_code_cell("1")], [v4.new_markdown_cell("Text.")]):
        with pytest.raises(ValueError, match="must begin with a cell of Markdown, its title first"):
            site_lessons.title(v4.new_notebook(cells=cells))


@pytest.mark.processes
def test_a_lesson_is_run_again_if_it_has_changed(tmp_path: Path) -> None:
    path = lesson(tmp_path / "a.ipynb", "print(6 * 7)\nopen('left', 'w').close()")
    first: Any = site_lessons.executed(path, tmp_path / "ran")
    assert first.cells[1].outputs[0].text == "42\n" and not list((tmp_path / "ran").rglob("left"))
    assert site_lessons.executed(path, tmp_path / "ran") == first
    lesson(path, "raise KeyError('broken')")
    with pytest.raises(RuntimeError, match=r"a.ipynb must run to its end(?s:.*)KeyError: 'broken'"):
        site_lessons.executed(path, tmp_path / "ran")
