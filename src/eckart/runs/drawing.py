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
    target: Tensor,
    left: Tensor,
    right: Tensor,
    spectrum: Tensor,
) -> list[Path]:
    """Draw the figures of a result.

    Always the approximation beside the truncated SVD, and the singular values; then accuracy by epoch where the history
    has an accuracy, else loss and errors by step where it has more than one step.

    Args:
        folder: Folder that the figures are written to.
        result: The result, as in ``result.json``.
        history: The measurements of the run.
        target: The target, shape ``(m, n)``.
        left: Trained factor, shape ``(m, k)``.
        right: Trained factor, shape ``(k, n)``.
        spectrum: Singular values of the target, shape ``(min(m, n),)``.

    Returns:
        Paths of the figures.
    """
    rank, block = result["rank"], figures.BLOCK
    tall = max(target.shape) >= 8 * min(target.shape)
    u, s, vh = (gram_svd if tall else truncated_svd)(target, rank)
    drawn = [
        figures.approximation(
            folder / "approximation.png",
            target[:block, :block],
            (left[:block] @ right[:, :block]).detach(),
            (u[:block] * s) @ vh[:, :block],
            shape=(target.shape[0], target.shape[1]),
            rank=rank,
            relative_frobenius=result["relative_frobenius"],
            optimum_frobenius=result["optimum_frobenius"],
        ),
        figures.singular_values(
            folder / "singular_values.png",
            spectrum,
            factor_singular_values(left.double(), right.double()),
            rank,
        ),
    ]
    epochs, accuracy = history.column("accuracy")
    if epochs:
        _, loss = history.column("train/loss")
        drawn.append(figures.accuracy(folder / "accuracy.png", list(range(1, len(epochs) + 1)), loss, accuracy))
        return drawn
    steps, loss = history.column("train/loss")
    if len(steps) > 1:
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
