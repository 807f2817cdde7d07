"""The pictures of one result: which are drawn, and from which arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.gram import gram_svd
from eckart.linalg.svd import factor_singular_values, factor_svd, truncated_svd
from eckart.results import captions, preview
from eckart.results.history import History
from eckart.runs import panels

# Rows and columns of a matrix of noise that an eye can compare one by one.
_WINDOW = 50
# A larger matrix of noise is shown in part.
_WHOLE = 100


@dataclass(frozen=True)
class Subject:
    """What is drawn of a result, besides its numbers and its factors.

    Attributes:
        target: The target, shape ``(m, n)``; None where its entries are not known.
        spectrum: Singular values of the target, shape ``(min(m, n),)``; None where they are not known.
        pictures: Figures that have a meaning for the method: ``approximation``, ``singular_values``, ``convergence``,
            ``accuracy``.
        image: Rows and columns of the image that a row of the target is; None where it is none.
        observed: Entries that training saw, boolean, shape ``(m, n)``; None for methods that do not see entries.
        values: Singular values of the approximation, where they are known and its factors too large to be drawn.
        computed: Whether the approximation is the truncated SVD, and was not trained.
    """

    target: Tensor | None
    spectrum: Tensor | None
    pictures: tuple[str, ...]
    image: tuple[int, int] | None = None
    observed: Tensor | None = None
    computed: bool = False
    values: Tensor | None = None


def write_preview(
    folder: Path, result: dict[str, Any], subject: Subject, left: Tensor | None, right: Tensor | None
) -> None:
    """Write the small picture of a result; none where the entries of the target are not known.

    Args:
        folder: The run's folder.
        result: The result, as in ``result.json``.
        subject: What is drawn.
        left: Trained factor, shape ``(m, k)``.
        right: Trained factor, shape ``(k, n)``.
    """
    target, rank = subject.target, result["rank"]
    if target is None or left is None or right is None or "approximation" not in subject.pictures:
        return
    trained = _drawn(left), _drawn(right)
    best = trained if subject.computed else panels.best(target, rank, trained, result["optimum_frobenius"])
    if subject.image is None:
        shown = panels.means(target, [trained, best], preview.CELLS)
    else:
        shown = panels.mosaic(target, [trained, best], subject.image, preview.CELLS)
    arrays = [array.numpy() for array in shown.arrays]
    preview.write(folder, *arrays, shape=(target.shape[0], target.shape[1]), rank=rank, drawn=shown.drawn)


def draw(
    folder: Path,
    result: dict[str, Any],
    history: History,
    subject: Subject,
    left: Tensor | None,
    right: Tensor | None,
    suffix: str = ".png",
) -> list[Path]:
    """Draw the figures of a result.

    The approximation beside the truncated SVD, the singular values, for images the components, for classifiers
    accuracy by epoch and what is mistaken for what, and loss and errors by step where there is more than one step.

    Args:
        folder: Folder that the figures are written to.
        result: The result, as in ``result.json``.
        history: The measurements of the run.
        subject: What is drawn.
        left: Trained factor, shape ``(m, k)``; None of a net.
        right: Trained factor, shape ``(k, n)``; None of a net.
        suffix: ``.png`` or ``.svg``.

    Returns:
        Paths of the figures.
    """
    # Imported here, since the jobs of a sweep draw none of them, and matplotlib takes a third of a second.
    from eckart.results import figures

    def named(name: str) -> Path:
        return folder / f"{name}{suffix}"

    drawn = []
    pictures, spectrum = subject.pictures, subject.spectrum
    factors = None
    if left is not None and right is not None and subject.values is None:
        factors = _drawn(left), _drawn(right)
    if factors is not None and subject.target is not None and "approximation" in pictures:
        drawn.append(_approximation(named("approximation"), result, subject, subject.target, factors))
        if subject.image is not None:
            drawn.append(_components(named("components"), subject.target, factors, subject.image))
    if (factors or subject.values is not None) and spectrum is not None and "singular_values" in pictures:
        trained = factor_singular_values(*factors) if factors is not None else subject.values
        assert trained is not None
        drawn.append(figures.singular_values(named("singular_values"), spectrum, trained, result["rank"]))
    of, (epochs, accuracy) = "test", history.column("accuracy")
    if not epochs:
        # A net reads the test set once.
        of, (epochs, accuracy) = "validation", history.column("validation_accuracy")
    steps, loss = history.column("train/loss")
    if epochs and "accuracy" in pictures:
        drawn.append(figures.accuracy(named("accuracy"), list(range(1, len(epochs) + 1)), loss, accuracy, of))
    if result.get("confusion") and "accuracy" in pictures:
        drawn.append(figures.confusion(named("confusion"), result["confusion"]))
    if len(steps) > 1 and "convergence" in pictures and result["optimum_2norm"] is not None:
        drawn.append(
            figures.convergence(
                named("convergence"),
                steps,
                loss,
                history.column("relative_2norm")[1],
                history.column("relative_frobenius")[1],
                result["optimum_2norm"],
                result["optimum_frobenius"],
            )
        )
    return drawn


def _drawn(factor: Tensor) -> Tensor:
    # Rows and columns that nothing is known of are drawn as zeros.
    return factor.detach().double().nan_to_num(0)


def _approximation(
    path: Path, result: dict[str, Any], subject: Subject, target: Tensor, trained: panels.Factors
) -> Path:
    from eckart.results import figures
    from eckart.results.figures.matrices import CELLS

    rank, size = result["rank"], " × ".join(map(str, target.shape))
    approximations = [trained]
    if not subject.computed:
        tall = max(target.shape) >= 8 * min(target.shape)
        u, s, vh = (gram_svd if tall else truncated_svd)(target, rank)
        approximations.append((u * s, vh))
    if subject.image is not None:
        shown = panels.mosaic(target, approximations, subject.image, CELLS)
    elif max(target.shape) > _WHOLE and panels.looks_like_noise(target):
        shown = panels.window(target, approximations, _WINDOW)
    else:
        shown = panels.means(target, approximations, CELLS)
    whole = f"target\n{size}" if shown.drawn == "entries" else f"target, {size}\n{shown.drawn}"
    matrices = {whole: shown.arrays[0]}
    if subject.observed is not None and shown.place is not None:
        seen = torch.where(subject.observed, target, torch.nan)
        part = 100 * subject.observed.double().mean()
        matrices[f"seen in training\n{part:.3g} % of the entries"] = panels.like(shown, seen)
    errors = [f"error {result[f'{kind}_frobenius']:.4g}" for kind in ("relative", "optimum")]
    names = [f"trained, rank {rank}", f"truncated SVD, rank {rank}"]
    if subject.computed:
        sees = result.get("accuracy") is not None
        names = [f"what the classifier sees, rank {rank}" if sees else f"truncated SVD, rank {rank}"]
    for name, error, array in zip(names, errors, shown.arrays[1:], strict=False):
        matrices[f"{name}\n{error}"] = array
    difference = shown.arrays[0] - shown.arrays[1]
    title = captions.approximation(result)
    return figures.approximation(path, matrices, difference, title=title, place=shown.place)


def _components(path: Path, target: Tensor, factors: panels.Factors, image: tuple[int, int]) -> Path:
    from eckart.results import figures

    _, s, vh = factor_svd(*factors)
    return figures.components(path, vh, s.square() / target.square().sum(), image)
