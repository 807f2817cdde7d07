from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from eckart.results import preview
from eckart.results.history import History
from eckart.results.style import BLACK, BLUE, VERMILLION
from eckart.runs import panels
from eckart.runs.drawing import Subject, draw, write_preview

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
    shown = [np.asarray(axes.images[0].get_array()) for axes in drawn["approximation.png"].axes[:4]]
    u, s, vh = np.linalg.svd(target.numpy(), full_matrices=False)
    best = (u[:, :RANK] * s[:RANK]) @ vh[:RANK]
    product = (left @ right).numpy()
    for panel, axes, expected in zip(
        shown, drawn["approximation.png"].axes, (target.numpy(), product, best, target.numpy() - product), strict=False
    ):
        low, high = axes.images[0].get_clim()
        np.testing.assert_allclose(panel, np.clip(expected, low, high), atol=1e-9)
    titles = [axes.get_title() for axes in drawn["approximation.png"].axes[:4]]
    assert titles == [
        f"target\n{shape[0]} × {shape[1]}",
        "trained, rank 2\nerror 0.5",
        "truncated SVD, rank 2\nerror 0.25",
        "what is missing\nown scale",
    ]
    headline = "Rank 2 keeps 75 % of the squared norm; relative Frobenius error 0.5, 2 times the optimum 0.25"
    assert drawn["approximation.png"].get_suptitle() == headline


def test_a_large_matrix_is_drawn_as_means_and_noise_in_part(drawn: dict[str, Figure], tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, 900, dtype=torch.float64).outer(torch.ones(30, dtype=torch.float64))
    noise = torch.randn(900, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, right = torch.randn(900, RANK, dtype=torch.float64), torch.randn(RANK, 30, dtype=torch.float64)
    for target, caption, expected, lowest in (
        (ramp, "means of 3 × 1 entries", ramp.reshape(300, 3, 30).mean(1), 900.5),
        (noise, "its first 50 rows", noise[:50], 50.5),
    ):
        draw(tmp_path, RESULT, trained(), Subject(target, None, ("approximation",)), left, right)
        axes = drawn["approximation.png"].axes[0]
        assert axes.get_title() == f"target, 900 × 30\n{caption}"
        array, (low, high) = np.asarray(axes.images[0].get_array()), axes.images[0].get_clim()
        np.testing.assert_allclose(array, np.clip(expected.numpy(), low, high))
        assert axes.get_ylim() == (lowest, 0.5)


def test_rows_that_are_images_are_drawn_as_images_with_their_components(
    drawn: dict[str, Figure], tmp_path: Path
) -> None:
    target, left, right, _ = problem(20, 6)
    files = draw(tmp_path, RESULT, trained(), Subject(target, None, PICTURES[:1], image=(2, 3)), left, right)
    assert [file.name for file in files] == ["approximation.png", "components.png"]
    axes = drawn["approximation.png"].axes[0]
    assert axes.get_title() == "target, 20 × 6\nfirst 16 images"
    array, (low, high) = np.asarray(axes.images[0].get_array()), axes.images[0].get_clim()
    assert array.shape == (4 * 3 - 1, 4 * 4 - 1)
    # The second image of the second row is the sixth sample.
    np.testing.assert_allclose(array[3:5, 4:7], np.clip(target[5].reshape(2, 3).numpy(), low, high))
    vectors = np.linalg.svd((left @ right).numpy())[2]
    for panel, vector in zip(drawn["components.png"].axes, vectors[:RANK], strict=False):
        shown = np.asarray(panel.images[0].get_array()).ravel()
        np.testing.assert_allclose(np.abs(shown), np.abs(vector), atol=1e-9)


def test_what_completion_saw_is_drawn_beside_the_target(drawn: dict[str, Figure], tmp_path: Path) -> None:
    target, left, right, _ = problem()
    observed = torch.arange(target.numel()).reshape(target.shape) % 3 > 0
    draw(tmp_path, RESULT, trained(), Subject(target, None, PICTURES[:1], observed=observed), left, right)
    axes = drawn["approximation.png"].axes[1]
    assert axes.get_title() == "seen in training\n66.7 % of the entries"
    array: Any = np.ma.filled(np.ma.asarray(axes.images[0].get_array()), np.nan)
    np.testing.assert_array_equal(np.isnan(array), ~observed.numpy())


def test_spectra_of_target_and_approximation_are_drawn(drawn: dict[str, Figure], tmp_path: Path) -> None:
    target, left, right, spectrum = problem()
    draw(tmp_path, RESULT, trained(), Subject(target, spectrum, PICTURES), left, right)
    (axes,) = drawn["singular_values.png"].axes
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}
    np.testing.assert_allclose(lines["target"], np.linalg.svd(target.numpy(), compute_uv=False))
    np.testing.assert_allclose(lines["trained"], np.linalg.svd((left @ right).numpy(), compute_uv=False)[:RANK])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("index", "singular value, in the units of the target")
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


def test_figures_are_vectors_by_their_suffix(tmp_path: Path) -> None:
    files = draw(tmp_path, RESULT, trained(), *subject("singular_values"), suffix=".svg")
    assert [file.name for file in files] == ["singular_values.svg"]
    assert files[0].read_text(encoding="utf-8").startswith("<?xml")


def test_a_confusion_is_drawn_where_there_is_one(drawn: dict[str, Figure], tmp_path: Path) -> None:
    files = draw(tmp_path, RESULT | {"confusion": [[2, 1], [0, 3]]}, History(None), *subject("accuracy"))
    assert [file.stem for file in files] == ["confusion"]
    assert drawn["confusion.png"].axes[0].images


def preview_of(folder: Path, subject: Subject, *factors: Tensor, **result: Any) -> Any:
    write_preview(folder, RESULT | result, subject, *factors)
    return preview.read(folder / preview.PREVIEW)


def test_a_preview_shows_means_of_all_entries(tmp_path: Path) -> None:
    target, left, right, _ = problem(200, 7)
    found = preview_of(tmp_path, Subject(target, None, PICTURES), left, right)
    assert found.texts.drawn == "means of 3 × 1 entries"
    assert (found.texts.shape, found.texts.rank) == ((200, 7), RANK)
    means = torch.stack([part.mean(0) for part in target.split(3)])
    largest = np.percentile(np.abs(means.numpy()), 99, method="higher")
    assert found.texts.high == pytest.approx(largest)
    missing = torch.stack([part.mean(0) for part in (target - left @ right).split(3)])
    assert found.texts.difference == pytest.approx(np.percentile(np.abs(missing.numpy()), 99, method="higher"))


def test_a_preview_of_images_shows_the_first_ones(tmp_path: Path) -> None:
    target, left, right, _ = problem(20, 6)
    found = preview_of(tmp_path, Subject(target, None, PICTURES, image=(2, 3)), left, right)
    assert (found.texts.drawn, found.size) == ("first 16 images", (11, 15))


def test_there_is_no_preview_without_entries(tmp_path: Path) -> None:
    _, left, right, _ = problem()
    write_preview(tmp_path, RESULT, Subject(None, None, PICTURES), left, right)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("shape", [(200, 90), (30, 300)])
def test_the_best_approximation_of_a_preview_is_one_to_the_eye(shape: tuple[int, int], near: bool) -> None:
    target, left, right, spectrum = problem(*shape)
    u, s, vh = np.linalg.svd(target.numpy(), full_matrices=False)
    if near:
        left, right = torch.from_numpy(u[:, :RANK] * s[:RANK]), torch.from_numpy(vh[:RANK])
    optimum = float(spectrum[RANK:].norm() / spectrum.norm())
    found_left, found_right = panels.best(target, RANK, (left, right), optimum)
    error = float((target - found_left @ found_right).norm() / target.norm())
    assert optimum - 1e-9 <= error <= 1.002 * optimum
    if near:
        np.testing.assert_allclose(found_left @ found_right, (u[:, :RANK] * s[:RANK]) @ vh[:RANK], atol=1e-9)
