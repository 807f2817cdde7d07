"""Result fields and factors of a trained method, measured against its targets."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.blocked_reference import BlockedReference
from eckart.linalg.ranks import numerical_rank
from eckart.linalg.reference import ObservedReference, Reference
from eckart.linalg.svd import factor_singular_values
from eckart.methods.method import Method


def measure(method: Method, reference: Reference | ObservedReference) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Measure each member of a trained stack.

    Args:
        method: The method.
        reference: Its targets.

    Returns:
        For each member the fields of ``result.json`` that follow from the training, and the factors that they were
        computed from: ``left (m, k)`` and ``right (k, n)``, NaN in rows and columns that the method cannot know.
    """
    errors = {name: values.tolist() for name, values in reference.errors(*method.factors()).items()}
    left, right = (factor.detach().cpu() for factor in method.factors())
    return [
        _of_member(method, reference, member, left[member, :, :columns], right[member, :columns], errors)
        for member, columns in enumerate(map(method.columns, range(len(method.ranks))))
    ]


def floors(reference: Reference | ObservedReference | None) -> list[dict[str, float]]:
    """The least errors that any approximation of each member's rank can have, by name, where they are known."""
    if reference is None:
        return [{}]
    known = zip(*(values.tolist() for values in reference.optimum), strict=True)
    names = ("optimum_2norm", "optimum_frobenius")
    return [{name: value for name, value in zip(names, pair, strict=True) if math.isfinite(value)} for pair in known]


def _of_member(
    method: Method,
    reference: Reference | ObservedReference,
    member: int,
    left: Tensor,
    right: Tensor,
    errors: dict[str, list[float]],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    rank, (rows, cols) = method.ranks[member], reference.shape
    if in_blocks := isinstance(reference, BlockedReference):
        values = reference.singular_values(left, right)
    else:
        values = factor_singular_values(left.double(), right.double()).to(left.dtype)
    numerical, target_rank = int(numerical_rank(values, (rows, cols))), None
    # Small singular values are lost in a Gram matrix.
    if reference.spectrum is not None and not in_blocks:
        target_rank = int(numerical_rank(reference.spectrum[member], (rows, cols)))
    if numerical < min(rank, rank if target_rank is None else target_rank):
        warnings.warn(
            f"the approximation has numerical rank {numerical}, below the rank {rank} asked for", stacklevel=2
        )
    fields = {
        "shape": [rows, cols],
        "measured": reference.how,
        "optimum_2norm": float(reference.optimum[0][member]),
        "optimum_frobenius": float(reference.optimum[1][member]),
        **{name: values[member] for name, values in errors.items()},
        **reference.bounds(member, left, right, {name: values[member] for name, values in errors.items()}),
        "numerical_rank": numerical,
        "target_rank": target_rank,
        "parameters": rank * (rows + cols),
        "dense_parameters": rows * cols,
        "fit_seconds": method.fit_seconds / len(method.ranks),
        **method.fields(member),
    }
    hidden = method.undetermined(member)
    if hidden is not None:
        # Nothing is known of them, and a number would look as if there were.
        left = left.masked_fill(hidden[0][:, None], torch.nan)
        right = right.masked_fill(hidden[1], torch.nan)
    return fields, {"left": left, "right": right}
