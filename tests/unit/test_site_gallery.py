"""Examples: taken apart, run in a process of their own, and made pages."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
site_gallery = importlib.import_module("site_gallery")
sys.path.remove(SCRIPTS)

SCRIPT = '''"""A picture of one pixel.

What it shows, in
two lines. And the
rest.

More.
"""

import os
import sys
from pathlib import Path

print("first", Path.cwd().name)

# %%
# Text of a *cell*.
#
# - a list
PIXEL = bytes.fromhex("89504e470d0a1a0a")
Path("pixel.png").write_bytes(PIXEL)
# A comment of the code.
print("second", os.environ["MPLBACKEND"])

# %%
Path("other.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
Path("page.html").write_text("<p>text")
'''


@pytest.fixture
def example(tmp_path: Path) -> Any:
    path = tmp_path / "pixel.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return site_gallery.read(path)


def test_a_script_is_taken_apart(example: Any) -> None:
    assert (example.title, example.summary) == ("A picture of one pixel", "What it shows, in two lines.")
    first, second, third = example.cells
    assert first.text == "" and first.code.startswith("import os\n") and first.code.endswith("Path.cwd().name)")
    assert second.text == "Text of a *cell*.\n\n- a list"
    assert second.code.startswith("PIXEL = ") and "# A comment of the code." in second.code
    assert third.text == "" and third.code.startswith("Path(")


def test_a_page_shows_what_each_cell_printed_and_drew(example: Any, tmp_path: Path) -> None:
    site_gallery.write([example], tmp_path / "pages", tmp_path / "ran")
    page = (tmp_path / "pages" / "pixel.md").read_text(encoding="utf-8")
    places = [
        page.index(part)
        for part in (
            *("# A picture of one pixel\n", "More.", "import os", "```text\nfirst work\n```", "- a list", "PIXEL = "),
            *("```text\nsecond agg\n```", "![A picture of one pixel](pixel/pixel.png)", 'Path("other.svg")'),
            *(
                "](pixel/other.svg)",
                "[pixel.py](pixel/pixel.py) · [pixel.ipynb](pixel/pixel.ipynb) · [page.html](pixel/page.html)",
            ),
        )
    ]
    assert places == sorted(places)
    assert sorted(path.name for path in (tmp_path / "pages" / "pixel").iterdir()) == [
        *("other.svg", "page.html", "pixel.ipynb", "pixel.png", "pixel.py")
    ]
    index = (tmp_path / "pages" / "index.md").read_text(encoding="utf-8")
    assert "**[A picture of one pixel](pixel.md)**\n\nWhat it shows, in two lines." in index and "\npixel\n" in index
    # The card shows the picture that the script names first, in alphabetical order the second.
    assert "## More\n" in index and "](pixel/pixel.png)" in index and "other.svg" not in index


def test_a_script_is_run_again_if_it_has_changed(example: Any, tmp_path: Path) -> None:
    first = site_gallery.outcome(example, tmp_path / "ran")
    kept = tmp_path / "ran" / "pixel" / "pixel.png"
    kept.write_bytes(b"kept")
    assert site_gallery.outcome(example, tmp_path / "ran") == first and kept.read_bytes() == b"kept"
    example.path.write_text(SCRIPT.replace("second", "third"), encoding="utf-8")
    again = site_gallery.outcome(site_gallery.read(example.path), tmp_path / "ran")
    assert "third" in again["printed"][1] and kept.read_bytes() != b"kept"


@pytest.mark.parametrize(
    ("change", "law"),
    [("raise ValueError('broken')", "Found 1:(?s:.*)line 16(?s:.*)broken"), ("sys.exit()", "must write a picture")],
)
def test_a_script_that_cannot_be_shown_is_told(example: Any, tmp_path: Path, change: str, law: str) -> None:
    example.path.write_text(SCRIPT.replace("\n# %%\n", f"\n{change}\n# %%\n", 1), encoding="utf-8")
    with pytest.raises(RuntimeError, match=law):
        site_gallery.outcome(site_gallery.read(example.path), tmp_path / "ran")


def test_a_script_needs_a_title_and_a_text(example: Any) -> None:
    for head in ("", '"""A title alone."""\n'):
        example.path.write_text(f"{head}print(1)\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"pixel.py must begin with a docstring: a title, an empty line"):
            site_gallery.read(example.path)


def test_a_script_is_a_notebook_too(example: Any) -> None:
    found = site_gallery.notebook(example)
    assert (found["nbformat"], found["metadata"]["kernelspec"]["language"]) == (4, "python")
    kinds = [cell["cell_type"] for cell in found["cells"]]
    assert kinds == ["markdown", "code", "markdown", "code", "code"]
    assert found["cells"][0]["source"].startswith("# A picture of one pixel\n\nWhat it shows")
    assert [cell["source"] for cell in found["cells"] if cell["cell_type"] == "code"] == [
        cell.code for cell in example.cells
    ]
    assert all({"id", "metadata"} <= cell.keys() for cell in found["cells"])
