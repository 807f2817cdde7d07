"""The figures of one result: which are drawn, and from which arrays."""

from pathlib import Path
from typing import Any

from torch import Tensor

from eckart.linalg.svd import factor_singular_values, gram_svd, truncated_svd
from eckart.results import figures
from eckart.results.history import History


def draw(
    folder: Path,
    result: dict[str, Any],
    history: History,
    target: Tensor | None,
    left: Tensor,
    right: Tensor,
    spectrum: Tensor | None,
    pictures: tuple[str, ...],
) -> list[Path]:
    """Draw the figures of a result.

    The approximation beside the truncated SVD, the singular values, accuracy by epoch where the history has an
    accuracy, and loss and errors by step where it has more than one step.

    Args:
        folder: Folder that the figures are written to.
        result: The result, as in ``result.json``.
        history: The measurements of the run.
        target: The target, shape ``(m, n)``; None where its entries are not known.
        left: Trained factor, shape ``(m, k)``.
        right: Trained factor, shape ``(k, n)``.
        spectrum: Singular values of the target, shape ``(min(m, n),)``; None where they are not known.
        pictures: Figures that have a meaning for the method: ``approximation``, ``singular_values``, ``convergence``,
            ``accuracy``.

    Returns:
        Paths of the figures.
    """
    drawn = []
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
