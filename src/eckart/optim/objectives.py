"""Objectives of factor pairs: all entries of a stack of targets, or the observed ones.

An objective is ``½ ‖P(left @ right - target)‖²`` for each member of a stack, where ``P`` selects the entries
of the objective. Both kinds have the same methods, so each solver is written once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense, Operator
from eckart.optim.line_search import along_by_products, inner


class Objective(Protocol):
    """The entries seen of a stack of J targets of shape ``(m, n)``.

    What :meth:`sight` returns is the objective's own business: solvers hand it back to :meth:`squares`,
    :meth:`gradients` and :meth:`along`.
    """

    norms: Tensor
    """Frobenius norm of the entries seen, shape ``(J,)``."""

    ridge: float
    """Damping of the least-squares steps that a solver starts with. It keeps rows with few entries small."""

    def residual(self, left: Tensor, right: Tensor) -> Any:
        """``left @ right - target`` on the entries seen."""

    def sight(self, left: Tensor, right: Tensor) -> Any:
        """What a step asks of the residual, which is formed only where that takes less time than products do."""

    def squares(self, residual: Any) -> Tensor:
        """``‖residual‖²``, shape ``(J,)``; of a residual that was not formed, to rounding of ``‖target‖²``."""

    def loss(self, left: Tensor, right: Tensor) -> Tensor:
        """``½ ‖residual‖²``, shape ``(J,)``, which can be differentiated."""

    def gradients(self, residual: Any, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of ``½ ‖residual‖²`` with respect to ``left (J, m, k)`` and ``right (J, k, n)``."""

    def along(
        self, residual: Any, left: Tensor, right: Tensor, direction: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The second to fourth coefficient of the loss along a direction, as ``minimize_along`` takes them."""

    def best_left(self, right: Tensor, damping: float = 0.0) -> Tensor:
        """The left factor with the least residual for a right one, shape ``(J, m, k)``."""

    def best_right(self, left: Tensor, damping: float = 0.0) -> Tensor:
        """The right factor with the least residual for a left one, shape ``(J, k, n)``."""

    def entries(self, member: int) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of each entry seen of one member, in row-major order."""


class _Stored:
    """What objectives have in common whose residual is a tensor."""

    def residual(self, left: Tensor, right: Tensor) -> Tensor:
        raise NotImplementedError

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        raise NotImplementedError

    def sight(self, left: Tensor, right: Tensor) -> Any:
        """The residual itself."""
        return self.residual(left, right)

    def squares(self, residual: Any) -> Tensor:
        """The sum over the entries of the residual."""
        return inner((residual,), (residual,))

    def loss(self, left: Tensor, right: Tensor) -> Tensor:
        """Half of the sum over the entries of the residual."""
        return self.residual(left, right).flatten(1).square().sum(1) / 2

    def along(
        self, residual: Tensor, left: Tensor, right: Tensor, direction: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From the entries of the residual, which are quadratic in the step."""
        linear = self.product(direction[0], right) + self.product(left, direction[1])
        quadratic = self.product(*direction)
        second = inner((linear,), (linear,)) + 2 * inner((residual,), (quadratic,))
        return second, inner((linear,), (quadratic,)), inner((quadratic,), (quadratic,))


class Products(NamedTuple):
    """All that is known of a residual ``left @ right - target`` that was not formed.

    Attributes:
        squares: Its squared norm, shape ``(J,)``.
        left: The gradient of the left factor, shape ``(J, m, k)``.
        right: That of the right factor, shape ``(J, k, n)``.
    """

    squares: Tensor
    left: Tensor
    right: Tensor


# Of a target with a shorter side above this, an array of its size costs more than the products of a step.
_FORMED = 64


class KnownTarget(_Stored):
    """Every entry of the targets.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.

    Example:
        >>> objective = KnownTarget(torch.eye(2).expand(1, 2, 2))
        >>> left, right = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> objective.residual(left, right)
        tensor([[[ 0.,  0.],
                 [ 0., -1.]]])
    """

    ridge = 0.0

    def __init__(self, target: Tensor) -> None:
        self.target = target
        self.norms = torch.linalg.matrix_norm(target)

    def residual(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right - target``, shape ``(J, m, n)``."""
        return torch.baddbmm(self.target, left, right, beta=-1)

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right``, shape ``(J, m, n)``."""
        return left @ right

    def sight(self, left: Tensor, right: Tensor) -> Any:
        """The residual, or both gradients where the target is so large that they take less time without it.

        See :meth:`eckart.linalg.operators.Operator.residual_products`.
        """
        if min(self.target.shape[1:]) <= max(_FORMED, 4 * left.shape[2]):
            return self.residual(left, right)
        return Products(*Dense(self.target).residual_products(left, right, self.norms.square()))

    def squares(self, residual: Any) -> Tensor:
        """The sum over the entries of the residual, or the difference of two norms."""
        return residual.squares if isinstance(residual, Products) else super().squares(residual)

    def gradients(self, residual: Any, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """``residual rightᵀ`` and ``leftᵀ residual``."""
        if isinstance(residual, Products):
            return residual.left, residual.right
        return _times(residual, right), left.mT @ residual

    def along(
        self, residual: Any, left: Tensor, right: Tensor, direction: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From the residual, or from Gram matrices of the factors and the direction and a product with the target."""
        if not isinstance(residual, Products):
            return super().along(residual, left, right, direction)
        return along_by_products(left, right, direction, _times(self.target, direction[1]))

    def best_left(self, right: Tensor, damping: float = 0.0) -> Tensor:
        """``target rightᵀ (right rightᵀ)⁻¹``."""
        return solve_damped(right @ right.mT, right @ self.target.mT, damping).mT

    def best_right(self, left: Tensor, damping: float = 0.0) -> Tensor:
        """``(leftᵀ left)⁻¹ leftᵀ target``."""
        return solve_damped(left.mT @ left, left.mT @ self.target, damping)

    def entries(self, member: int) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of every entry of one member, in row-major order."""
        rows, cols = self.target.shape[1:]
        place = torch.arange(rows * cols, device=self.target.device)
        return place // cols, place % cols, self.target[member].flatten()

    def operator(self, member: int) -> Operator:
        """The target of one member."""
        return Dense(self.target[member])


def _times(matrix: Tensor, right: Tensor) -> Tensor:
    # matrix @ right.mT takes up to seven times as long, depending on the layout of the matrix.
    return (right @ matrix.mT).mT


class _Pattern(NamedTuple):
    """Places of the entries of one member, as a compressed matrix and as its transpose, and their order in that."""

    by_row: tuple[Tensor, Tensor]
    by_col: tuple[Tensor, Tensor]
    order: Tensor

    @classmethod
    def of(cls, row: Tensor, col: Tensor, rows: int, cols: int) -> "_Pattern":
        order = torch.argsort(col, stable=True)
        return cls((_starts(row, rows), col), (_starts(col, cols), row[order]), order)


def _starts(place: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(torch.bincount(place, minlength=count).cumsum(0), (1, 0))


class ObservedEntries(_Stored):
    """The observed entries of the targets; no step with them needs a dense ``m × n`` array.

    Members of a stack may observe different entries, and different numbers of them: shorter lists are padded with
    entries of weight zero.

    Args:
        entries: Entries of each member, of one shape ``(m, n)``, dtype and device.
        withheld: Of each member, which entries have weight zero until they are released, boolean, shape ``(N,)``; None
            where all are seen from the start.

    Example:
        >>> observed = Entries.of_matrix(torch.tensor([[1.0, torch.nan], [torch.nan, 4.0]]))
        >>> objective = ObservedEntries([observed])
        >>> objective.residual(torch.ones(1, 2, 1), torch.ones(1, 1, 2))
        tensor([[ 0., -3.]])
    """

    ridge = 0.1

    def __init__(self, entries: Sequence[Entries], withheld: Sequence[Tensor] | None = None) -> None:
        self.rows, self.cols = entries[0].shape
        first = entries[0].value
        # Numbers of the process: a step that read them from the device would wait for it.
        self.counts = [len(own) for own in entries]
        size = len(entries), max(self.counts)
        self.row = torch.zeros(size, dtype=torch.long, device=first.device)
        self.col, self._all, self._observed = (self.row.new_zeros(size), *(first.new_zeros(size) for _ in range(2)))
        for member, own in enumerate(entries):
            for part, filled in ((self.row, own.row), (self.col, own.col), (self._all, own.value)):
                part[member, : len(own)] = filled
            self._observed[member, : len(own)] = 1
        self._patterns = [_Pattern.of(own.row, own.col, self.rows, self.cols) for own in entries]
        self.weight = self._observed.clone()
        for member, chosen in enumerate(withheld or ()):
            self.weight[member, : len(chosen)][chosen] = 0
        self._weigh()

    def release(self, members: Tensor) -> None:
        """Let some members see the entries that were withheld from them, boolean, shape ``(J,)``."""
        self.weight = torch.where(members[:, None], self._observed, self.weight)
        self._weigh()

    def residual(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right - target`` on the observed entries, shape ``(J, observed)``."""
        return self.product(left, right) - self.values

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right`` on the observed entries, shape ``(J, observed)``."""
        entries = [
            torch.einsum("ij,ij->i", rows[row], cols[col])
            for rows, row, cols, col in zip(left, self.row, right.mT, self.col, strict=True)
        ]
        return torch.stack(entries) * self.weight

    def gradients(self, residual: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Products of the sparse residual with the other factor."""
        pairs = [
            (self._matrix(member, entries) @ right[member].mT, (self._matrix(member, entries, True) @ left[member]).mT)
            for member, entries in enumerate(residual)
        ]
        return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])

    def best_left(self, right: Tensor, damping: float = 0.0) -> Tensor:
        """Least squares for each row on its observed entries."""
        return torch.stack([self._best(member, right[member].mT, damping) for member in range(len(right))])

    def best_right(self, left: Tensor, damping: float = 0.0) -> Tensor:
        """Least squares for each column on its observed entries."""
        return torch.stack(
            [self._best(member, left[member], damping, transposed=True).mT for member in range(len(left))]
        )

    def entries(self, member: int) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of the entries of one member that have weight, in row-major order."""
        seen = self.weight[member] > 0
        return self.row[member, seen], self.col[member, seen], self.values[member, seen]

    def _weigh(self) -> None:
        self.values = torch.where(self.weight > 0, self._all, 0)
        self.norms = torch.linalg.vector_norm(self.values, dim=1)

    def _matrix(self, member: int, entries: Tensor, transposed: bool = False) -> Tensor:
        pattern, entries = self._patterns[member], entries[: self.counts[member]]
        if transposed:
            shape = (self.cols, self.rows)
            return torch.sparse_csr_tensor(*pattern.by_col, entries[pattern.order], shape, check_invariants=False)
        return torch.sparse_csr_tensor(*pattern.by_row, entries, (self.rows, self.cols), check_invariants=False)

    def _best(self, member: int, other: Tensor, damping: float, transposed: bool = False) -> Tensor:
        # Row i's Gram matrix is the sum of r rᵀ over its entries: one sparse product with all the outer products.
        rank = other.shape[1]
        outer = (other[:, :, None] * other[:, None, :]).flatten(1)
        grams = self._matrix(member, self.weight[member], transposed) @ outer
        moments = self._matrix(member, self.values[member], transposed) @ other
        return solve_damped(grams.view(-1, rank, rank), moments[:, :, None], damping)[:, :, 0]


def damped(gram: Tensor, damping: float) -> Tensor:
    """A Gram matrix ``(…, k, k)`` with a small multiple of its mean diagonal added, so that it can be inverted.

    Rows of zeros, the padding of a lower-rank member, get its trace, and a matrix of zeros gets ones.
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    trace, padded = diagonal.sum(-1, keepdim=True), diagonal == 0
    # In the dtype of the matrix: an integer times a float would be of torch's default dtype.
    rank = (~padded).sum(-1, keepdim=True).clamp(min=1).to(gram.dtype)
    shift = (damping + rank * torch.finfo(gram.dtype).eps) * trace / rank
    shift = torch.where(padded, trace, shift)
    return gram + torch.diag_embed(torch.where(trace > 0, shift, 1))


def solve_damped(gram: Tensor, right: Tensor, damping: float = 0.0, *, left: bool = True) -> Tensor:
    """``gram⁻¹ right``, or ``right gram⁻¹`` with ``left=False``, damped by a few eps at least.

    Example:
        >>> solve_damped(torch.zeros(2, 2), torch.ones(2, 1))
        tensor([[1.],
                [1.]])
    """
    return torch.linalg.solve_ex(damped(gram, damping), right, left=left).result
