"""Matrix completion: a factorization learned from the observed entries alone."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eckart.methods.factorization import Factorization
from eckart.optim.objectives import Objective, ObservedEntries


class Completion(Factorization):
    """Two factors, trained on the observed entries of the target; held-out entries never enter the loss.

    Args:
        target: Stack of targets, shape ``(J, m, n)``; held-out entries serve only to measure.
        observed: Which entries are observed, boolean, shape ``(J, m, n)``.
        ranks: Rank of each member.
        **common: As in :class:`Factorization`.

    Raises:
        ValueError: If no entry is observed or all that are observed are zero, or as in :class:`Factorization`.
    """

    observed: Tensor
    knows_optimum = False  # the excess is measured on the held-out entries too

    def __init__(self, target: Tensor, *, observed: Tensor, ranks: Sequence[int], **common: Any) -> None:
        self._mask = observed
        rows, cols = target.shape[1:]
        for count, rank in zip(observed.flatten(1).sum(1).tolist(), ranks, strict=True):
            freedom = rank * (rows + cols - rank)
            if count < freedom:
                warnings.warn(
                    f"{count} entries are observed, fewer than the {freedom} degrees of freedom of a {rows}×{cols} "
                    f"matrix of rank {rank}: many matrices fit them, and held-out entries cannot be trusted",
                    stacklevel=2,
                )
        super().__init__(target, ranks=ranks, **common)
        self.register_buffer("observed", observed, persistent=False)

    def seen_norms(self) -> Tensor:
        """Frobenius norm of the observed entries, shape ``(J,)``, float64."""
        norms = torch.linalg.matrix_norm(self.reference * self._mask)
        if not (norms > 0).all():
            raise ValueError("The observed entries must not be all zero, or none. Found norm 0.")
        return norms

    def make_objective(self) -> Objective:
        """The observed entries, as lists."""
        return ObservedEntries(self.target / self.scale, self.observed)

    def extra_errors(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """Relative Frobenius errors on the observed and on the held-out entries."""
        residual = self.reference - left @ right
        mask = self._mask.to(residual.device)
        errors = {}
        for name, part in (("relative_observed", mask), ("relative_held_out", ~mask)):
            errors[name] = torch.linalg.matrix_norm(residual * part) / torch.linalg.matrix_norm(self.reference * part)
        return errors
