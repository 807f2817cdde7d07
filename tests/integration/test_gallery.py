"""Every example of the gallery runs, draws, and prints what its text says, and every lesson runs."""

import importlib
import importlib.util
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import matplotlib
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

EXAMPLES = {example.name: example for example in site_gallery.examples()}
FAST = ("color_images", "photo_at_ranks_1_to_100", "rank_in_colored_noise")
"""Examples that take less than a second each where torch is imported."""
NEEDS = {"sweep_on_slurm": ("submitit", "slurm")}
"""A package that an example needs beside the package's own, and the extra that has it."""
NO = 1e-12
"""An excess up to this is rounding."""
# Of each example: a pattern of what it prints, and the least and the largest value of the numbers in its groups.
CLAIMS: dict[str, list[tuple[str, float, float]]] = {
    "bottleneck_reaches_the_optimum": [
        (r"relative Frobenius error +\S+ +\S+ +(\S+)", -NO, NO),
        (r"Adam: (\S+), optimum: 0\.1491", 0.17, 0.3),
    ],
    "color_images": [
        (r"channels apart: (\S+) numbers", 35_244, 35_244),
        (r"side by side: +(\S+) numbers", 35_220, 35_220),
        (r"that is (\S+) less error", 6, 7),
        (r"optimum: (\S+)", -NO, NO),
    ],
    "completion_phase_diagram": [
        (r"^(\d+) runs say", 36, 60),
        (r"(\d+) of them are wrong", 0, 0),
        (r"rank 2, 1\.05 .*: (\S+) recovered", 0, 34),
        (r"rank 2, 1\.2 .*: (\S+) recovered", 0, 34),
        (r"rank 8, 1\.2 .*: (\S+) recovered", 66, 100),
        (r", 2\.0 times .*: (\S+) recovered", 100, 100),
    ],
    "file_larger_than_memory": [
        (r"relative Frobenius error +\S+ +\S+ +(\S+)", -1e-9, 1e-9),
        (r"singular value: (\S+)", 0, 1e-4),
    ],
    "fourier_from_40_products": [
        (r"(\d+) products", 40, 40),
        (r"optimum (\S+)", -NO, NO),
        (r"(\d+) singular values are above 1/2", 12, 12),
        (r"at least (\S+)", 0.999, 1),
    ],
    "inpainting_a_photograph": [
        (r"rank  4: (\S+) times the optimum, seen pixels (\S+)", 0.9, 1.1),
        (r"rank 24: (\S+) times the optimum,", 1.3, 2),
        (r"rank 24: .* seen pixels (\S+)", 0.3, 0.9),
    ],
    "jacobian_from_40_products": [
        (r"(\d+) products", 40, 40),
        (r"at most (\S+) times the optimum", 0.99, 1.02),
    ],
    "layer_for_its_inputs": [
        (r"at most (\S+)", -1e-9, 1e-9),
        (r"plain SVD: (\S+) to (\S+) times", 1.2, 10),
        (r"for the inputs: (\S+)", 0.78, 1),
        (r"for the weight: (\S+)", 0, 0.78),
    ],
    "lenet5_at_three_percent": [
        (r"accuracy: dense (\S+), just", 0.8, 1),
        (r"parameters left: (\S+)", 2.5, 3),
        (r"points below the dense net: (\S+)", -5, 5),
    ],
    "own_lightning_module": [
        (r"^constant rate: (\S+) above", 0.2, 5),
        (r"^falling rate: (\S+) above", 0, 0.1),
    ],
    "photo_at_ranks_1_to_100": [
        (r"rank  50: +(\S+) of the numbers", 25, 25),
        (r"rank  10: .* error (\S+)", 0.149, 0.1492),
        (r"at most (\S+)", -NO, NO),
    ],
    "poisson_from_40_solves": [
        (r", (\d+) solves", 40, 40),
        (r"divides the error by (\S+)", 3.5, 4.2),
        (r"differ by (\S+)", 0, 0.01),
    ],
    "rank_error_curves": [
        (r"^100 images: (\S+) to (\S+)", 0.999, 1.001),
        (r"^100 images, 200 steps of Adam: (\S+) to (\S+)", 1.5, 4),
        (r"^2k images: (\S+) to (\S+)", 3, 20),
        (r"^2k images, 2k of the transpose: (\S+) to (\S+)", 1.03, 1.5),
    ],
    "rank_in_colored_noise": [
        (r"at rank (\d+)", 4, 4),
        (r"^best +rank +(\d+)", 4, 4),
        (r"^gavish_donoho +rank +(\d+)", 20, 150),
    ],
    "ratings_beside_the_best_possible": [
        (r"RMSE of the mean (\S+),", 0.98, 1.02),
        (r"knows all tastes (\S+)", 0.575, 0.595),
        (r"^gibbs .*rank 4: (\S+) .*rank 16: (\S+)", 0.64, 0.67),
        (r"^weighted_als .*rank 16: (\S+)", 0.68, 0.72),
    ],
    "scikit_learn_pipeline": [
        (r"differ from scikit-learn's by (\S+),", 0, 1e-6),
        (r"^cross-validation: .* accuracy (\S+)", 0.93, 1),
        (r"^auto: +rank (\d+)", 4, 10),
        (r"^auto: .* accuracy (\S+)", 0.7, 0.92),
    ],
    "sweep_on_slurm": [
        (r"(\d+) of 24 jobs completed", 24, 24),
        (r"in (\d+) stacks", 4, 4),
        (r" 6 images and  6: (\S+) times", 1.3, 1.6),
        (r"40 images and 40: (\S+) times", 1, 1.03),
    ],
    "sweep_read_with_polars": [
        (r"(\d+) jobs", 60, 60),
        (r"RiemannianCG +largest mean excess (\S+)", -NO, 1e-9),
        (r"(?:Adam|ScaledGD) +largest mean excess (\S+)", 1e-6, 1e-2),
    ],
    "wandb_offline_to_a_page": [
        (r"runs\.html: (\d+) runs", 4, 4),
        (r"rate 0\.003: (\S+) times", 1.9, 2.2),
        (r"rate 0\.1: (\S+) times", 0.999, 1.005),
    ],
}


def test_every_example_says_something_that_is_checked_and_is_in_one_group() -> None:
    assert sorted(CLAIMS) == sorted(EXAMPLES)
    assert sorted(name for names in site_gallery.GROUPS.values() for name in names) == sorted(EXAMPLES)
    assert all(CLAIMS.values())


@pytest.mark.parametrize("name", FAST)
def test_a_fast_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context({"backend": "agg"}):
        plt = importlib.import_module("matplotlib.pyplot")
        runpy.run_path(str(EXAMPLES[name].path))
        plt.close("all")
    _check(name, capsys.readouterr().out, sorted(tmp_path.iterdir()))


@pytest.mark.gallery
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str) -> None:
    if name in NEEDS:
        package, extra = NEEDS[name]
        pytest.importorskip(package, reason=f'it needs {package}: pip install -e ".[{extra}]"')
    result: dict[str, Any] = site_gallery.outcome(EXAMPLES[name], again=True)
    folder = site_gallery.RAN / name
    _check(name, "\n".join(result["printed"]), [folder / file for file in result["files"]])


def _check(name: str, printed: str, files: list[Path]) -> None:
    for pattern, low, high in CLAIMS[name]:
        found = re.findall(pattern, printed, re.MULTILINE)
        assert found, f"{pattern!r} is not printed:\n{printed}"
        for numbers in found:
            for number in [numbers] if isinstance(numbers, str) else numbers:
                value = float(number.replace(",", "").rstrip("%"))
                assert low <= value <= high, f"{pattern!r}: {value} is not between {low} and {high}"
    pictures = [file for file in files if file.suffix == ".png"]
    assert pictures
    for file in pictures:
        with Image.open(file) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 50, f"{file.name} is empty"


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
