"""The pictures of one result: which are drawn, and from which arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from eckart.linalg.svd import factor_singular_values, gram_svd, truncated_svd
from eckart.results import figures, preview
from eckart.results.history import History
from eckart.runs import panels


@dataclass(frozen=True)
class Subject:
    """What is drawn of a result, besides its numbers and its factors.

    Attributes:
        target: The target, shape ``(m, n)``; None where its entries are not known.
        spectrum: Singular values of the target, shape ``(min(m, n),)``; None where they are not known.
        pictures: Figures that have a meaning for the method: ``approximation``, ``singular_values``, ``convergence``,
            ``accuracy``.
        image: Rows and columns of the image that a row of the target is; None where it is none.
        computed: Whether the approximation is the truncated SVD, and was not trained.
    """

    target: Tensor | None
    spectrum: Tensor | None
    pictures: tuple[str, ...]
    image: tuple[int, int] | None = None
    computed: bool = False


def write_preview(folder: Path, result: dict[str, Any], subject: Subject, left: Tensor, right: Tensor) -> None:
    """Write the small picture of a result; none where the entries of the target are not known.

    Args:
        folder: The run's folder.
        result: The result, as in ``result.json``.
        subject: What is drawn.
        left: Trained factor, shape ``(m, k)``.
        right: Trained factor, shape ``(k, n)``.
    """
    target, rank = subject.target, result["rank"]
    if target is None or "approximation" not in subject.pictures:
        return
    trained = left.detach().double(), right.detach().double()
    best = trained if subject.computed else panels.best(target, rank, trained, result["optimum_frobenius"])
    both = [trained, best]
    if subject.image is None:
        shown = panels.means(target, both, preview.CELLS)
    else:
        shown = panels.mosaic(target, both, subject.image, preview.CELLS)
    arrays = [array.numpy() for array in shown.arrays]
    preview.write(folder, *arrays, shape=(target.shape[0], target.shape[1]), rank=rank, drawn=shown.drawn)


def draw(
    folder: Path,
    result: dict[str, Any],
    history: History,
    subject: Subject,
    left: Tensor,
    right: Tensor,
) -> list[Path]:
    """Draw the figures of a result.

    The approximation beside the truncated SVD, the singular values, accuracy by epoch where the history has an
    accuracy, and loss and errors by step where it has more than one step.

    Args:
        folder: Folder that the figures are written to.
        result: The result, as in ``result.json``.
        history: The measurements of the run.
        subject: What is drawn.
        left: Trained factor, shape ``(m, k)``.
        right: Trained factor, shape ``(k, n)``.

    Returns:
        Paths of the figures.
    """
    drawn = []
    target, spectrum, pictures = subject.target, subject.spectrum, subject.pictures
    if target is not None and "approximation" in pictures:
        drawn.append(_approximation(folder, result, target, left, right))
    if spectrum is not None and "singular_values" in pictures:
        trained = factor_singular_values(left.double(), right.double())
        drawn.append(figures.singular_values(folder / "singular_values.png", spectrum, trained, result["rank"]))
    epochs, accuracy = history.column("accuracy")
    steps, loss = history.column("train/loss")
    if epochs and "accuracy" in pictures:
        drawn.append(figures.accuracy(folder / "accuracy.png", list(range(1, len(epochs) + 1)), loss, accuracy))
    if len(steps) > 1 and "convergence" in pictures and result["optimum_2norm"] is not None:
        drawn.append(
            figures.convergence(
                folder / "convergence.png",
                steps,
                loss,
                history.column("relative_2norm")[1],
                history.column("relative_frobenius")[1],
                result["optimum_2norm"],
                result["optimum_frobenius"],
            )
        )
    return drawn


def _approximation(folder: Path, result: dict[str, Any], target: Tensor, left: Tensor, right: Tensor) -> Path:
    block = figures.BLOCK
    tall = max(target.shape) >= 8 * min(target.shape)
    u, s, vh = (gram_svd if tall else truncated_svd)(target, result["rank"])
    return figures.approximation(
        folder / "approximation.png",
        target[:block, :block],
        (left[:block] @ right[:, :block]).detach(),
        (u[:block] * s) @ vh[:, :block],
        shape=(target.shape[0], target.shape[1]),
        rank=result["rank"],
        relative_frobenius=result["relative_frobenius"],
        optimum_frobenius=result["optimum_frobenius"],
    )
