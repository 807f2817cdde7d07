"""Entries that are held out of training, and the errors on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.reference import ObservedReference

# Entries whose predictions are computed at a time.
_BLOCK = 2**18


class HeldOutReference(ObservedReference):
    """Targets of which some entries are known, and some of these held out of training.

    Predictions are clipped to the range of the observed entries, as those of ratings are.

    Args:
        entries: Observed entries of each target, of one shape ``(m, n)``.
        held_out: Entries that training does not see, of the same shape; none may be held out.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.
        how: What the errors are known on, in words.

    Raises:
        ValueError: As in :class:`ObservedReference`.

    Example:
        >>> seen = Entries.of_matrix(torch.tensor([[1.0, 5.0], [3.0, torch.nan]]))
        >>> hidden = Entries.of_matrix(torch.tensor([[torch.nan, torch.nan], [torch.nan, 3.0]]))
        >>> reference = HeldOutReference([seen], [hidden], [1], how="known on 3 ratings")
        >>> reference.errors(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[1.0, 5.0]]]))
        {'relative_observed': tensor([0.1690], dtype=torch.float64), 'rmse': tensor([2.], dtype=torch.float64),
         'mae': tensor([2.], dtype=torch.float64)}
    """

    def __init__(
        self, entries: Sequence[Entries], held_out: Sequence[Entries], ranks: Sequence[int], *, how: str
    ) -> None:
        super().__init__(entries, ranks)
        self.how = how
        self._held_out = list(held_out)
        self._ranges = [(float(own.value.min()), float(own.value.max())) for own in entries]

    def errors(self, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Relative error on the observed entries; RMSE and MAE on those held out, where there are any; ``(J,)``."""
        observed, root, mean = [], [], []
        left, right = left.detach().cpu(), right.detach().cpu()
        for member, (seen, hidden) in enumerate(zip(self._entries, self._held_out, strict=True)):
            pair = left[member], right[member]
            squares = sum(float(part.square().sum()) for part in _residuals(seen, *pair, None))
            observed.append(squares**0.5 / float(self._norms[member]))
            if len(hidden):
                parts = list(_residuals(hidden, *pair, self._ranges[member]))
                root.append((sum(float(part.square().sum()) for part in parts) / len(hidden)) ** 0.5)
                mean.append(sum(float(part.abs().sum()) for part in parts) / len(hidden))
        found = {"relative_observed": observed, "rmse": root, "mae": mean}
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items() if values}


def predictions(left: Tensor, right: Tensor, row: Tensor, col: Tensor, limits: tuple[float, float] | None) -> Tensor:
    """Entries of ``left @ right``, float64, shape ``(N,)``, clipped to limits; the product is not formed.

    Args:
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.
        row: Rows, shape ``(N,)``.
        col: Columns, shape ``(N,)``.
        limits: The least and the largest that a prediction may be; None for any.

    Example:
        >>> place = torch.tensor([0])
        >>> predictions(torch.tensor([[2.0]]), torch.tensor([[4.0]]), place, place, (1.0, 5.0))
        tensor([5.], dtype=torch.float64)
    """
    parts = [
        (left[some].double() * right.mT[others].double()).sum(1)
        for some, others in zip(row.split(_BLOCK), col.split(_BLOCK), strict=True)
    ]
    found = torch.cat(parts) if parts else left.new_zeros(0, dtype=torch.float64)
    return found if limits is None else found.clamp(*limits)


def _residuals(entries: Entries, left: Tensor, right: Tensor, limits: tuple[float, float] | None) -> list[Tensor]:
    found = predictions(left, right, entries.row, entries.col, limits)
    return list((entries.value.double() - found).split(_BLOCK))
