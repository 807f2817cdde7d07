from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from eckart.results.history import History
from eckart.results.style import BLACK, BLUE, VERMILLION
from eckart.runs.drawing import Subject, draw

RANK = 2
PICTURES = ("approximation", "singular_values", "convergence", "accuracy")
RESULT = {"rank": RANK, "relative_frobenius": 0.5, "optimum_frobenius": 0.25, "optimum_2norm": 0.125}


def problem(rows: int = 9, cols: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Target, factors that are far from optimal, and the target's singular values."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(rows, cols, dtype=torch.float64, generator=generator)
    left = torch.randn(rows, RANK, dtype=torch.float64, generator=generator)
    right = torch.randn(RANK, cols, dtype=torch.float64, generator=generator)
    return target, left, right, torch.linalg.svdvals(target)


def subject(*pictures: str) -> tuple[Subject, Tensor, Tensor]:
    target, left, right, spectrum = problem()
    return Subject(target, spectrum, pictures or PICTURES), left, right


def history(**columns: list[float]) -> History:
    kept = History(None)
    for step, values in enumerate(zip(*columns.values(), strict=True)):
        kept.add(10 * step, dict(zip(columns, values, strict=True)))
    return kept


def trained(**changes: list[float]) -> History:
    columns = {"train/loss": [4.0, 2.0, 1.0], "relative_2norm": [0.9, 0.5, 0.3], "relative_frobenius": [0.8, 0.4, 0.2]}
    return history(**{**columns, **changes})


def pixels(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path).convert("RGB") as image:
        return {color for _, color in image.getcolors(1 << 24) or []}  # type: ignore[misc]


@pytest.mark.parametrize("shape", [(9, 7), (70, 7)], ids=["square", "tall"])
def test_the_truncated_svd_is_drawn_beside_target_and_approximation(
    shape: tuple[int, int], drawn: dict[str, Figure], tmp_path: Path
) -> None:
    target, left, right, spectrum = problem(*shape)
    files = draw(tmp_path, RESULT, trained(), Subject(target, spectrum, PICTURES), left, right)
    assert [file.name for file in files] == ["approximation.png", "singular_values.png", "convergence.png"]
    panels = [np.asarray(axes.images[0].get_array()) for axes in drawn["approximation.png"].axes[:3]]
    u, s, vh = np.linalg.svd(target.numpy(), full_matrices=False)
    best = (u[:, :RANK] * s[:RANK]) @ vh[:RANK]
    low, high = target.min().item(), target.max().item()
    for panel, expected in zip(panels, (target.numpy(), (left @ right).numpy(), best), strict=True):
        np.testing.assert_allclose(panel, np.clip(expected, low, high), atol=1e-9)
    titles = [axes.get_title() for axes in drawn["approximation.png"].axes[:3]]
    assert titles[1:] == [
        "Trained, rank 2\nrelative Frobenius error 0.5",
        "Truncated SVD, rank 2\nrelative Frobenius error 0.25",
    ]


def test_spectra_of_target_and_approximation_are_drawn(drawn: dict[str, Figure], tmp_path: Path) -> None:
    target, left, right, spectrum = problem()
    draw(tmp_path, RESULT, trained(), Subject(target, spectrum, PICTURES), left, right)
    (axes,) = drawn["singular_values.png"].axes
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}
    np.testing.assert_allclose(lines["target"], np.linalg.svd(target.numpy(), compute_uv=False))
    np.testing.assert_allclose(lines["trained"], np.linalg.svd((left @ right).numpy(), compute_uv=False)[:RANK])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("index", "singular value")
    assert tuple(int(VERMILLION[place : place + 2], 16) for place in (1, 3, 5)) in pixels(
        tmp_path / "singular_values.png"
    )


def test_loss_and_errors_are_drawn_by_step(drawn: dict[str, Figure], tmp_path: Path) -> None:
    draw(tmp_path, RESULT, trained(), *subject())
    left, right = drawn["convergence.png"].axes
    (loss,) = left.lines
    np.testing.assert_array_equal(loss.get_xdata(), [0, 10, 20])
    np.testing.assert_array_equal(loss.get_ydata(), [4.0, 2.0, 1.0])
    lines = {str(line.get_label()): line for line in right.lines}
    np.testing.assert_array_equal(lines["2-norm error"].get_ydata(), [0.9, 0.5, 0.3])
    np.testing.assert_array_equal(lines["Frobenius error"].get_ydata(), [0.8, 0.4, 0.2])
    np.testing.assert_array_equal(lines["2-norm optimum 0.125"].get_ydata(), [0.125, 0.125])
    np.testing.assert_array_equal(lines["Frobenius optimum 0.25"].get_ydata(), [0.25, 0.25])
    assert to_hex(loss.get_color()).upper() == BLACK
    colors = pixels(tmp_path / "convergence.png")
    for color in (BLACK, BLUE, VERMILLION):
        assert tuple(int(color[place : place + 2], 16) for place in (1, 3, 5)) in colors


def test_a_result_of_one_step_has_no_curve(tmp_path: Path) -> None:
    one = history(**{"train/loss": [1.0], "relative_2norm": [0.5], "relative_frobenius": [0.5]})
    assert len(draw(tmp_path, RESULT, one, *subject())) == 2


def test_accuracy_and_loss_are_drawn_by_epoch(drawn: dict[str, Figure], tmp_path: Path) -> None:
    epochs: dict[str, Any] = {"train/loss": [0.9, 0.5], "accuracy": [0.8, 0.9]}
    files = draw(tmp_path, RESULT, history(**epochs), *subject("approximation", "singular_values", "accuracy"))
    assert files[-1].name == "accuracy.png"
    left, right = drawn["accuracy.png"].axes
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [1, 2])
    np.testing.assert_array_equal(left.lines[0].get_ydata(), [0.9, 0.5])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.8, 0.9])


@pytest.mark.parametrize("kept", ["approximation", "singular_values", "convergence"])
def test_figures_without_a_meaning_for_the_method_are_not_drawn(kept: str, tmp_path: Path) -> None:
    files = draw(tmp_path, RESULT, trained(), *subject(kept))
    assert [file.stem for file in files] == [kept]


def test_a_target_without_entries_has_its_curves_alone(tmp_path: Path) -> None:
    _, left, right, _ = problem()
    files = draw(tmp_path, RESULT, trained(), Subject(None, None, PICTURES), left, right)
    assert [file.stem for file in files] == ["convergence"]
    unknown = RESULT | {"optimum_2norm": None, "optimum_frobenius": None}
    assert draw(tmp_path, unknown, trained(), Subject(None, None, PICTURES), left, right) == []
