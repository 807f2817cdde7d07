import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from eckart.reproduction import page, pictures
from eckart.reproduction.claims import Claim
from eckart.reproduction.training import Comparison, Row, Trained
from eckart.results.history import History
from eckart.results.style import BLACK, BLUE, VERMILLION

SETTINGS = {
    "document": "A document",
    "place": "figure 1",
    "quantity": "relative_2norm",
    "value": "0.50",
    "svd_value": 0.4,
    "picture": 1,
    "loss_curve": True,
    "note": "A note.",
}
TARGET = np.random.default_rng(0).standard_normal((6, 5))


def run_of(folder: Path, matrix: Any, error: float, losses: list[float]) -> Trained:
    """What a run leaves: factors whose product is the matrix, a history and a result."""
    folder.mkdir(parents=True)
    save_file(
        {"left": torch.tensor(matrix), "right": torch.eye(5, dtype=torch.float64)}, folder / "factors.safetensors"
    )
    history = History(folder / "history.csv")
    for step, loss in enumerate(losses):
        history.add(10 * step, {"train/loss": loss, "relative_2norm": error + loss / 10})
    return Trained({"rank": 1, "relative_2norm": error, "optimum_2norm": 0.25}, folder)


def comparison(folder: Path, **settings: Any) -> Comparison:
    claim = Claim("a_claim", "A claim of a document", SETTINGS | settings, ())
    rows = [Row(claim, point, [0.49, 0.50, 0.52], [0.4, 0.4, 0.4], [0.4, 0.4, 0.4], 1e-11) for point in claim.points]
    return Comparison(
        claim,
        rows,
        1.0,
        document=run_of(folder / "document", 0.5 * TARGET, 0.5, [0.0, 4.0, 2.0]),
        ours=run_of(folder / "ours", 0.75 * TARGET, 0.25, [0.0, 3.0, 1.0]),
        target=run_of(folder / "target", TARGET, 0.0, [1.0]),
        truncated=run_of(folder / "svd", 0.8 * TARGET, 0.25, [1.0]),
    )


@pytest.mark.processes
def test_the_pictures_show_target_both_recipes_and_truncated_svd(drawn: dict[str, Figure], tmp_path: Path) -> None:
    written = page.write(tmp_path / "docs", [comparison(tmp_path / "runs")], [], "a command", 60.0)
    names = ["reproduction.md", "reproduction.csv", "reproduction.html", "a_claim.png", "a_claim_loss.png"]
    assert [path.name for path in written] == names
    axes = drawn["a_claim.png"].axes[:4]
    assert [panel.get_title() for panel in axes] == [
        "target",
        "document's recipe, rank 1\nrelative 2-norm error 0.5000",
        "our recipe, rank 1\nrelative 2-norm error 0.2500",
        "truncated SVD, rank 1\nrelative 2-norm error 0.2500",
    ]
    for panel, factor in zip(axes, (1.0, 0.5, 0.75, 0.8), strict=True):
        np.testing.assert_allclose(np.asarray(panel.images[0].get_array()), factor * TARGET)
        assert panel.images[0].get_clim() == pytest.approx((-np.abs(TARGET).max(), np.abs(TARGET).max()))
    text = written[0].read_text(encoding="utf-8")
    for path in written[3:]:
        assert f"](images/{path.name})" in text
        with Image.open(path) as image:
            assert min(image.size) > 200 and len(image.convert("RGB").getcolors(1 << 24) or []) > 4


def test_the_loss_curve_shows_both_recipes_above_the_optimum(drawn: dict[str, Figure], tmp_path: Path) -> None:
    page.write(tmp_path / "docs", [comparison(tmp_path / "runs")], [], "a command", 60.0)
    left, right = drawn["a_claim_loss.png"].axes
    (loss,) = left.lines
    # The loss before the first step is none.
    np.testing.assert_array_equal(loss.get_xdata(), [10, 20])
    np.testing.assert_array_equal(loss.get_ydata(), [4.0, 2.0])
    lines = {str(line.get_label()): line for line in right.lines}
    np.testing.assert_allclose(np.asarray(lines["document's recipe"].get_ydata(), float), [0.5, 0.9, 0.7])
    np.testing.assert_allclose(np.asarray(lines["our recipe"].get_ydata(), float), [0.25, 0.55, 0.35])
    np.testing.assert_array_equal(lines["truncated SVD"].get_ydata(), [0.25, 0.25])
    assert [lines[name].get_color() for name in lines] == [VERMILLION, BLUE, BLACK]
    for axes, label in ((left, "loss, document's recipe"), (right, "relative 2-norm error")):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimizer step", label)
        assert (axes.get_xscale(), axes.get_yscale()) == ("symlog", "log")


@pytest.mark.parametrize(("factor", "extend"), [(1.0, "neither"), (3.0, "both")])
def test_the_color_bar_shows_whether_values_are_clipped(factor: float, extend: str) -> None:
    figure = pictures._side_by_side([("target", TARGET), ("other", factor * TARGET)])
    largest = np.abs(TARGET).max()
    assert figure.axes[0].images[0].get_clim() == pytest.approx((-largest, largest))
    colorbar = figure.axes[1].images[0].colorbar
    assert colorbar is not None and colorbar.extend == extend
    gray = pictures._side_by_side([("target", np.abs(TARGET))] * 2).axes[0].images[0]
    assert gray.get_clim() == pytest.approx((np.abs(TARGET).min(), largest))


def test_claims_that_were_left_out_are_named(tmp_path: Path) -> None:
    written = page.write(tmp_path, [], ["a_claim is left out: no data."], "a command", 1.0)
    assert [path.name for path in written] == ["reproduction.md", "reproduction.csv", "reproduction.html"]
    assert "- a_claim is left out: no data." in written[0].read_text(encoding="utf-8")


def test_the_page_and_the_table_say_the_same(tmp_path: Path) -> None:
    compared = comparison(tmp_path / "runs", svd_value=0.0)
    text, table = (
        path.read_text(encoding="utf-8") for path in page.write(tmp_path, [compared], [], "a command", 60.0)[:2]
    )
    (row,) = csv.DictReader(table.splitlines())
    assert (row["experiment"], row["document"], row["seeds"], row["verdict"]) == ("a_claim", "0.5", "3", "reproduced")
    assert float(row["here_mean"]) == pytest.approx(np.mean([0.49, 0.50, 0.52]))
    assert float(row["here_sd"]) == pytest.approx(np.std([0.49, 0.50, 0.52], ddof=1))
    # Student's t of two degrees of freedom is 4.3027.
    assert float(row["margin"]) == pytest.approx(4.3027 * float(row["here_sd"]) * (1 + 1 / 3) ** 0.5, rel=1e-4)
    line = next(line for line in text.splitlines() if line.startswith("| `a_claim`"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["`a_claim`", "figure 1", "relative 2-norm error", "0.5", "0.503 ± 0.015, median 0.5", "0.076"]
    assert cells[-1] == "reproduced; beaten"
