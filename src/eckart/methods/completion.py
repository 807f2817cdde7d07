"""Matrix completion: A ≈ U Vᵀ, trained on the observed entries alone."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eckart.methods.factorization import PairMethod
from eckart.optim.objectives import Objective, ObservedEntries


class Completion(PairMethod):
    """Two factors, trained on the observed entries of the target; held-out entries are not even handed over.

    Args:
        entries: Observed entries of each target, and NaN in the place of all others, shape ``(J, m, n)``.
        ranks: Rank of each member.
        **common: As in :class:`PairMethod`.

    Raises:
        ValueError: If no entry is observed or all that are observed are zero, or as in :class:`PairMethod`.
    """

    entries: Tensor

    def __init__(self, entries: Tensor, *, ranks: Sequence[int], **common: Any) -> None:
        rows, cols = entries.shape[1:]
        observed = ~entries.isnan()
        for count, rank in zip(observed.flatten(1).sum(1).tolist(), ranks, strict=True):
            freedom = rank * (rows + cols - rank)
            if count < freedom:
                warnings.warn(
                    f"{count} entries are observed, fewer than the {freedom} degrees of freedom of a {rows}×{cols} "
                    f"matrix of rank {rank}: many matrices fit them, and held-out entries cannot be trusted",
                    stacklevel=2,
                )
        norms = torch.linalg.matrix_norm(entries.double().nan_to_num(0))
        super().__init__(len(entries), (rows, cols), norms, ranks=ranks, **common)
        self.register_buffer("entries", entries.to(self.trained_dtype), persistent=False)

    def make_objective(self) -> Objective:
        """The observed entries, as lists."""
        return ObservedEntries(self.entries / self.scale, ~self.entries.isnan())
