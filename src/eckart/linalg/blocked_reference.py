"""The reference of errors where the target is larger than memory: what a decomposition has seen is not read again."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eckart.linalg.blocks import Blocked, Moments
from eckart.linalg.certificates import Certificate
from eckart.linalg.checks import require_nonzero
from eckart.linalg.out_of_core import Leading, leading, residual_squares
from eckart.linalg.ranks import check_rank
from eckart.linalg.reference import CERTIFIED, Reference


class BlockedReference(Reference):
    """A target in blocks, its norms and its optimum.

    The Frobenius error of factors is computed from products with the long one, seen in one pass: to about
    ``1e-16 / error²``, relative. The 2-norm is that of the residual's Gram matrix where there is one; without, it is
    the largest that the residual has on the Ritz vectors. The optimum is an interval, and the value that is stated lies
    in it; it is tighter after a decomposition.

    Args:
        operator: The target.
        ranks: Its rank, ``1 <= rank <= min(m, n)``.

    Raises:
        ValueError: If the rank does not fit the shape, or the target is not finite or all zero.

    Example:
        >>> from eckart.linalg.blocks import Stored
        >>> reference = BlockedReference(Blocked(Stored(torch.diag(torch.tensor([4.0, 3.0])))), [1])
        >>> reference.errors(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0, 3.0]]]))["excess_2norm"]
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(self, operator: Blocked, ranks: Sequence[int]) -> None:
        (rank,) = ranks
        check_rank(rank, operator.shape)
        self.operator, self.ranks, self.shape = operator, list(ranks), operator.shape
        self.stack, self.matrix, self.observed, self.certificates = 1, None, None, None
        self._blocked = operator
        require_nonzero(torch.tensor([leading(operator, rank).squares]))
        # Of a Gram matrix the bounds are never wrong.
        self.how = "exact, against an optimum within bounds" if self._found().gram is not None else CERTIFIED
        self._update()

    def _update(self) -> None:
        found, measured, rank = self._found(), self._measured, self.ranks[0]
        squares = found.squares if measured is None else measured[1].squares
        self.spectrum = None if found.gram is None else found.values.sqrt()[None]
        self.norms = found.values[:1].sqrt(), torch.tensor([squares], dtype=torch.float64).sqrt()
        following = found.values[rank] if rank < len(found.values) else torch.zeros((), dtype=torch.float64)
        kept = self._blocked.memory.get("kept", found.values[:rank].sum())
        left = torch.as_tensor(1 - kept / squares, dtype=torch.float64).clamp(min=0).sqrt()
        two_norm, (low, high) = (0.0, 1.0), (0.0, 1.0 if rank < min(self.shape) else 0.0)
        if (certificate := self._certificate()) is not None:
            two_norm, (low, high) = certificate.optimum(float(self.norms[1]))
        self.optimum = (following.sqrt() / self.norms[0]).clamp(*two_norm).reshape(1), left.clamp(low, high).reshape(1)
        self._least = two_norm[0]

    def bounds(self, member: int, left: Tensor, right: Tensor, errors: dict[str, float]) -> dict[str, list[float]]:
        """Proven bounds as of :meth:`Reference.bounds`, of the excess in the 2-norm only where there is a Gram matrix.

        None are known before a decomposition.
        """
        if (certificate := self._certificate()) is None:
            return {}
        two_norm, frobenius = certificate.optimum(float(self.norms[1]))
        error = errors["relative_frobenius"]
        found = {
            "optimum_2norm_bounds": two_norm,
            "optimum_frobenius_bounds": frobenius,
            "excess_frobenius_bounds": (error - frobenius[1], error - frobenius[0]),
        }
        if (gram := self._found().gram) is not None:
            square, slack = (
                (errors["relative_2norm"] * float(self.norms[0])) ** 2,
                gram.error * float(self.norms[1]) ** 2,
            )
            least, most = (math.sqrt(max(0.0, square + sign * slack)) for sign in (-1, 1))
            ends = least / certificate.largest[1], most / certificate.largest[0]
            found["excess_2norm_bounds"] = ends[0] - two_norm[1], ends[1] - two_norm[0]
        return {name: list(pair) for name, pair in found.items()}

    def _certificate(self) -> Certificate | None:
        found: Certificate | None = self._blocked.memory.get("certificate")
        return found if found is not None and found.rank == self.ranks[0] else None

    def to(self, device: torch.device) -> None:
        """Measure on the CPU, whatever is trained on."""

    def errors(self, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Relative errors of ``left @ right`` and their excess over the optimum, each of shape ``(1,)``, float64.

        A pass over the target, unless the factors are those that a decomposition has just stored.
        """
        long, short = self._sides(left, right)
        if not short.any():
            moments = Moments(short.mT * 0, short @ short.mT, float(self.norms[1]) ** 2)
        else:
            moments = self._moments(long)
        self._update()
        (two_norm, frobenius), (best_two, best) = self.norms, self.optimum
        relative = math.sqrt(max(0.0, residual_squares(moments, short))) / frobenius
        # A Gram matrix in float32 has eight digits; no error is below the proven optimum.
        relative_two = (self._two_norm(moments, short) / two_norm).reshape(1)
        relative_two = relative_two.clamp(min=self._least)
        return {
            "relative_2norm": relative_two,
            "relative_frobenius": relative,
            "excess_2norm": relative_two - best_two,
            "excess_frobenius": relative - best,
        }

    def singular_values(self, left: Tensor, right: Tensor) -> Tensor:
        """Singular values of ``left @ right``, shape ``(k,)``, from the moments of the long factor."""
        long, short = self._sides(left[None], right[None])
        square = self._moments(long).square if short.any() else short @ short.mT
        values, turn = torch.linalg.eigh(square)
        return torch.linalg.svdvals(values.clamp(min=0).sqrt()[:, None] * (turn.mT @ short))

    def _found(self) -> Leading:
        # It is another one where float32 was not enough.
        found: Leading = self._blocked.memory["leading"]
        return found

    @property
    def _measured(self) -> tuple[Tensor, Moments] | None:
        return self._blocked.memory.get("measured")

    def _sides(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        left, right = left[0].detach().cpu(), right[0].detach().cpu()
        long, short = (right.mT, left.mT) if self._blocked.transposed else (left, right)
        return long, short.double()

    def _moments(self, long: Tensor) -> Moments:
        if self._measured is not None:
            known, moments = self._measured
            if known.data_ptr() == long.data_ptr() and known.shape == long.shape and known.stride() == long.stride():
                return moments
        return self._blocked.moments(long)

    def _two_norm(self, moments: Moments, short: Tensor) -> Tensor:
        product = moments.cross @ short
        if (gram := self._found().gram) is not None:
            residual = gram.matrix - product - product.mT + short.mT @ moments.square @ short
        elif self._measured is None or moments is not self._measured[1]:
            return torch.full((), torch.nan, dtype=torch.float64)
        else:
            basis, images = self._found().basis, self._found().images
            assert basis is not None and images is not None
            coordinates = short @ basis
            inside = (moments.cross.mT @ basis).mT @ coordinates
            residual = basis.mT @ images - inside - inside.mT + coordinates.mT @ moments.square @ coordinates
        return torch.linalg.eigvalsh((residual + residual.mT) / 2)[-1].clamp(min=0).sqrt()
