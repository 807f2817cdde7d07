"""Every example of the gallery runs and draws, and every lesson runs; the site shows what they printed here."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
site_gallery = importlib.import_module("site_gallery")
site_lessons: Any = None
if importlib.util.find_spec("nbclient"):
    site_lessons = importlib.import_module("site_lessons")
sys.path.remove(str(ROOT / "scripts"))
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.gallery
@pytest.mark.parametrize("example", site_gallery.examples(), ids=lambda example: example.name)
def test_an_example(example: Any) -> None:
    result = site_gallery.outcome(example, again=True)
    folder = site_gallery.RAN / example.name
    for name in result["files"]:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert np.ptp(np.asarray(picture.convert("L"))) > 50, f"{name} is empty"


@pytest.mark.gallery
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson(path: Path) -> None:
    if site_lessons is None:
        pytest.skip('pip install -e ".[docs]" has what executes a notebook')
    if absent := site_lessons.missing(path):
        pytest.skip(f"{absent} is read from $ECKART_DATA")
    shown = [kind for cell in site_lessons.executed(path, again=True).cells for kind in _kinds(cell)]
    assert "image/png" in shown and not {"stderr", "error"} & set(shown), shown


def _kinds(cell: Any) -> list[str]:
    outputs = cell.get("outputs", [])
    return [kind for output in outputs for kind in [output.get("name", output.output_type), *output.get("data", {})]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_is_kept_without_outputs_and_begins_with_its_title(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert "".join(cells[0]["source"]).startswith("# ") and len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
