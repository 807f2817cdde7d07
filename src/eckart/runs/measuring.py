"""What a trained method comes to: the figures of a result, and the factors behind them."""

import warnings
from typing import Any

from torch import Tensor

from eckart.linalg.ranks import numerical_rank
from eckart.linalg.svd import factor_singular_values
from eckart.methods.base import MatrixMethod
from eckart.methods.classifier import Classifier


def measure(method: MatrixMethod | Classifier) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    """What each member of a trained stack comes to.

    Returns:
        For each member the fields of ``result.json`` that follow from the training; and what they were computed from:
        ``left (m, k)``, ``right (k, n)`` and the target's ``spectrum``.
    """
    if isinstance(method, Classifier):
        return [_of_classifier(method)]
    errors = {name: values.tolist() for name, values in method.measure().items()}
    left, right = (factor.detach().cpu() for factor in method.factors())
    return [
        _of_member(method, member, left[member, :, :rank], right[member, :rank], errors)
        for member, rank in enumerate(method.ranks)
    ]


def _of_member(
    method: MatrixMethod, member: int, left: Tensor, right: Tensor, errors: dict[str, list[float]]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    rank = method.ranks[member]
    rows, cols = method.reference.shape[1:]
    trained = factor_singular_values(left.double(), right.double())
    numerical = int(numerical_rank(trained.to(left.dtype), (rows, cols)))
    target_rank = int(numerical_rank(method.spectrum[member], (rows, cols)))
    if numerical < min(rank, target_rank):
        warnings.warn(
            f"the approximation has numerical rank {numerical}, below the rank {rank} asked for", stacklevel=2
        )
    diverged = bool(method.diverged[member])
    reason = method.stop_reason(member)
    fields = {
        "status": "diverged" if diverged else "completed",
        "error": reason if diverged else None,
        "stop_reason": reason,
        "shape": [rows, cols],
        "loss": float(method.loss[member]),
        "optimum_2norm": float(method.optimum[0][member]),
        "optimum_frobenius": float(method.optimum[1][member]),
        **{name: values[member] for name, values in errors.items()},
        "numerical_rank": numerical,
        "target_rank": target_rank,
        "parameters": rank * (rows + cols),
        "dense_parameters": rows * cols,
        "steps": int(method.steps[member]),
        "fit_seconds": method.fit_seconds / len(method.ranks),
    }
    return fields, {"left": left, "right": right, "spectrum": method.spectrum[member].cpu()}


def _of_classifier(method: Classifier) -> tuple[dict[str, Any], dict[str, Tensor]]:
    rows, cols = len(method.left), method.right.shape[1]
    reason = "diverged: its loss is no longer finite" if method.diverged else f"ran method.epochs={method.epochs}"
    fields = {
        "status": "diverged" if method.diverged else "completed",
        "error": reason if method.diverged else None,
        "stop_reason": reason,
        "shape": [rows, cols],
        "loss": method.train_loss,
        "optimum_2norm": float(method.optimum[0]),
        "optimum_frobenius": float(method.optimum[1]),
        **{name: float(error) for name, error in method.errors.items()},
        "numerical_rank": int(numerical_rank(factor_singular_values(method.left, method.right), (rows, cols))),
        "target_rank": int(numerical_rank(method.spectrum, (rows, cols))),
        "parameters": method.rank * (rows + cols),
        "dense_parameters": rows * cols,
        "steps": method.trainer.global_step,
        "fit_seconds": method.fit_seconds,
        "accuracy": method.accuracy,
        "train_loss_sum_per_epoch": method.train_loss_sum_per_epoch,
    }
    return fields, {"left": method.left, "right": method.right, "spectrum": method.spectrum}
