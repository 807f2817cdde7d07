"""Matrix completion: A ≈ U Vᵀ, trained on the observed entries alone."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from eckart.linalg.entries import Entries
from eckart.methods.factorization import PairMethod
from eckart.optim.objectives import Objective, ObservedEntries


class Completion(PairMethod):
    """Two factors, trained on the observed entries of the target; held-out entries are not even handed over.

    Args:
        entries: Observed entries of each target, of one shape ``(m, n)``.
        ranks: Rank of each member.
        **common: As in :class:`PairMethod`.

    Raises:
        ValueError: If no entry is observed or all that are observed are zero, or as in :class:`PairMethod`.
    """

    def __init__(self, entries: Sequence[Entries], *, ranks: Sequence[int], **common: Any) -> None:
        rows, cols = entries[0].shape
        for own, rank in zip(entries, ranks, strict=True):
            freedom = rank * (rows + cols - rank)
            if len(own) < freedom:
                warnings.warn(
                    f"{len(own)} entries are observed, fewer than the {freedom} degrees of freedom of a {rows}×{cols} "
                    f"matrix of rank {rank}: many matrices fit them, and held-out entries cannot be trusted",
                    stacklevel=2,
                )
        norms = torch.stack([own.norm() for own in entries])
        super().__init__(len(entries), (rows, cols), norms, ranks=ranks, **common)
        self.entries = [own.to(self.trained_dtype) for own in entries]

    def evidence(self) -> Entries:
        """The observed entries."""
        return self.entries[0]

    def make_objective(self) -> Objective:
        """The observed entries, as lists."""
        scales = self.scale.flatten()
        return ObservedEntries([own.to(scales.device) / scale for own, scale in zip(self.entries, scales, strict=True)])
