"""The reference of a completion whose target is sparse: what is observed is a list, and no mask is stored."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.operators import Operator
from eckart.linalg.reference import Reference


class ListedReference(Reference):
    """A stack of targets, and lists of those entries that training sees.

    Beside the errors of :class:`Reference` there are those on the observed entries, exact, and on all others, whose
    squares are the difference of the whole and of what is observed: an error on them below some 1e-8 of the norm of
    the target is lost in rounding.

    Args:
        operator: The targets.
        ranks: As of :class:`Reference`.
        entries: Observed entries of each target.
        limit: As of :class:`Reference`.

    Example:
        >>> from eckart.linalg.operators import Sparse
        >>> target = torch.diag(torch.tensor([3.0, 4.0]))
        >>> seen = Entries.of_matrix(target, torch.eye(2) > 0)
        >>> reference = ListedReference(Sparse(target.to_sparse()), [1], [seen])
        >>> reference.errors(torch.tensor([[[3.0], [0.0]]]), torch.tensor([[[1.0, 0.0]]]))["relative_observed"]
        tensor([0.8000], dtype=torch.float64)
    """

    def __init__(
        self, operator: Operator, ranks: Sequence[int], entries: Sequence[Entries], *, limit: float = 1e140
    ) -> None:
        super().__init__(operator, ranks, limit=limit)
        self._entries = [own.to(torch.float64) for own in entries]
        self._seen = torch.stack([own.value.square().sum() for own in self._entries])
        self._every = operator.squares()

    def errors(self, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """As of :class:`Reference`, and ``relative_observed`` and ``relative_held_out``; NaN where all are observed."""
        errors = super().errors(left, right, tolerance=tolerance)
        left, right = (factor.detach().cpu().double() for factor in (left, right))
        whole, _, _ = self.operator.residual_products(left, right, self._every)
        pairs = zip(self._entries, left, right, strict=True)
        seen = torch.stack([(own.value - own.product(*pair)).square().sum() for own, *pair in pairs])
        rest, others = (whole - seen).clamp(min=0), (self._every - self._seen).clamp(min=0)
        return errors | {
            "relative_observed": (seen / self._seen).sqrt().to(errors["relative_frobenius"]),
            "relative_held_out": (rest / others).sqrt().to(errors["relative_frobenius"]),
        }
