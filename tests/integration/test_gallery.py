"""Every example of the gallery runs and draws; the site shows what it printed here."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
site_gallery = importlib.import_module("site_gallery")
sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.gallery
@pytest.mark.parametrize("example", site_gallery.examples(), ids=lambda example: example.name)
def test_an_example(example: Any) -> None:
    result = site_gallery.outcome(example, again=True)
    folder = site_gallery.RAN / example.name
    for name in result["files"]:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert np.ptp(np.asarray(picture.convert("L"))) > 50, f"{name} is empty"
