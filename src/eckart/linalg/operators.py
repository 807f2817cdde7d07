"""Operators: matrices of which nothing is asked but products, however they are stored."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eckart.linalg.sparse_products import BLOCK, SparseGram, transposed

Apply = Callable[[Tensor], Tensor]

# Entries of the unit vectors whose images are asked for at once.
_BLOCK = 2**26


class Operator(ABC):
    """A stack of J matrices of one shape ``(m, n)``, known by their products; one matrix is a stack of one.

    Vectors are rows, as in a batch of samples: the images of ``x (J, N, n)`` are ``x @ A.mT``, of shape ``(J, N, m)``.

    Attributes:
        stack: Number of matrices J.
        shape: ``(m, n)`` of each.
    """

    stack: int
    shape: tuple[int, int]

    @abstractmethod
    def images(self, x: Tensor) -> Tensor:
        """Images ``A x`` of vectors, ``(J, N, n)`` to ``(J, N, m)``, in the dtype and on the device of ``x``."""

    @abstractmethod
    def transpose_images(self, y: Tensor) -> Tensor:
        """Images ``Aᵀ y`` of the transpose, ``(J, N, m)`` to ``(J, N, n)``.

        Raises:
            ValueError: If the operator has no transpose.
        """

    def dense(self) -> Tensor:
        """The matrices themselves, shape ``(J, m, n)``, float64: the images of the n unit vectors.

        Where n unit vectors at once would take too much memory, they are the m images of the transpose, or, of an
        operator that has none, images of one block of unit vectors after the other.
        """
        rows, cols = self.shape
        if cols**2 > _BLOCK and rows < cols and self.has_transpose():
            return self.transpose_images(torch.eye(rows, dtype=torch.float64).expand(self.stack, -1, -1))
        step = max(1, _BLOCK // cols)
        blocks = [
            self.images(_unit_vectors(range(first, min(first + step, cols)), cols).expand(self.stack, -1, -1))
            for first in range(0, cols, step)
        ]
        return torch.cat(blocks, dim=1).mT

    def gram_images(self, x: Tensor) -> Tensor:
        """Images ``AᵀA x`` of vectors, ``(J, N, n)`` to the same shape."""
        return self.transpose_images(self.images(x))

    @property
    def narrow(self) -> int | None:
        """Number of vectors whose products take the least time each; None where more of them are never slower."""
        return None

    def squares(self) -> Tensor:
        """Squared Frobenius norm of each matrix, shape ``(J,)``, float64: the sum over the images of unit vectors."""
        step = max(1, _BLOCK // max(self.shape))
        total = torch.zeros(self.stack, dtype=torch.float64)
        for first in range(0, self.shape[1], step):
            unit = _unit_vectors(range(first, min(first + step, self.shape[1])), self.shape[1])
            total += self.images(unit.expand(self.stack, -1, -1)).square().sum((1, 2))
        return total

    def residual_products(self, left: Tensor, right: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training asks of the residual ``E = left @ right - A``, which is not formed.

        Args:
            left: Shape ``(J, m, k)``.
            right: Shape ``(J, k, n)``.
            squares: :meth:`squares` of the matrices, which were asked for once.

        Returns:
            ``‖E‖²`` of shape ``(J,)``, ``E rightᵀ`` of shape ``(J, m, k)`` and ``leftᵀ E`` of shape ``(J, k, n)``. The
            two products have the rounding of products with A. The first is here the difference of ``‖A‖²`` and
            ``‖left @ right‖²``, so an error ``‖E‖`` below some 1e-8 of ``‖A‖`` is lost in rounding; operators that
            are stored in blocks of entries sum up the entries of E, and lose nothing.
        """
        left_gram, right_gram = left.mT @ left, right @ right.mT
        left_product = left @ right_gram - self.images(right).mT
        right_product = left_gram @ right - self.transpose_images(left.mT)
        explained = (left_gram * right_gram).sum((1, 2)) - 2 * (left * left_product).sum((1, 2))
        return (squares.to(explained) - explained).clamp(min=0), left_product, right_product

    def has_transpose(self) -> bool:
        """Whether the operator gives images of its transpose, tried on one vector of zeros."""
        try:
            self.transpose_images(torch.zeros(self.stack, 1, self.shape[0], dtype=torch.float64))
        except ValueError:
            return False
        return True


class Dense(Operator):
    """Matrices that are stored entry by entry.

    Args:
        matrix: Shape ``(m, n)`` or ``(J, m, n)``; not copied.

    Example:
        >>> Dense(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).images(torch.tensor([[[1.0, 0.0]]]))
        tensor([[[1., 3.]]])
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix if matrix.ndim == 3 else matrix[None]
        self.stack, self.shape = len(self.matrix), (self.matrix.shape[1], self.matrix.shape[2])

    def images(self, x: Tensor) -> Tensor:
        """``x @ A.mT``."""
        return x @ self.matrix.to(x).mT

    def transpose_images(self, y: Tensor) -> Tensor:
        """``y @ A``."""
        return y @ self.matrix.to(y)

    def dense(self) -> Tensor:
        """The matrices, float64, on the device that they are on (on the CPU if that one has no float64)."""
        matrix = self.matrix
        return (matrix.cpu() if matrix.device.type == "mps" else matrix).double()

    def squares(self) -> Tensor:
        """The sum over the entries."""
        return self.dense().square().sum((1, 2))


class Sparse(Operator):
    """One sparse matrix; no product with it makes a dense ``m × n`` array.

    Args:
        matrix: A sparse tensor of shape ``(m, n)``, in any layout.

    Example:
        >>> Sparse(torch.eye(2).to_sparse()).images(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[1., 2.]]])
    """

    stack = 1

    def __init__(self, matrix: Tensor) -> None:
        # Rows that are compressed have each place once; to sort them again takes longer than many products.
        self.matrix = matrix if matrix.layout == torch.sparse_csr else matrix.to_sparse_coo().coalesce().to_sparse_csr()
        self.shape = (matrix.shape[0], matrix.shape[1])
        self._parts: SparseGram | None = None

    def images(self, x: Tensor) -> Tensor:
        """``x @ A.mT`` by a sparse product; by blocks of rows, where the matrix is large."""
        if self.narrow is not None:
            return self._by_parts().images(x[0])[None]
        return (self.matrix.to(x) @ x[0].mT.contiguous()).mT[None]

    @functools.cached_property
    def transpose(self) -> Tensor:
        """The transpose in compressed rows: along the other side, products are slow."""
        if self.matrix.device.type == "cpu" and self.matrix.dtype in (torch.float32, torch.float64):
            return transposed(self.matrix)
        return self.matrix.to_sparse_coo().mT.coalesce().to_sparse_csr()

    def transpose_images(self, y: Tensor) -> Tensor:
        """``y @ A`` by a sparse product."""
        return (self.transpose.to(y) @ y[0].mT.contiguous()).mT[None]

    def gram_images(self, x: Tensor) -> Tensor:
        """``x AᵀA`` by blocks of rows, where the matrix is large."""
        if self.narrow is None:
            return super().gram_images(x)
        return self._by_parts()(x[0])[None]

    def _by_parts(self) -> SparseGram:
        if self._parts is None:
            self._parts = SparseGram(self.matrix)
        return self._parts

    @property
    def narrow(self) -> int | None:
        """A few, where they would not fit the caches."""
        # The images on both sides of ten times as many vectors, against some megabytes.
        large = self.matrix.device.type == "cpu" and sum(self.shape) > 10**5
        return BLOCK if large else None

    def squares(self) -> Tensor:
        """The sum over the stored entries."""
        return self.matrix.values().double().square().sum()[None]


class MatrixFree(Operator):
    """One matrix that is known by a function alone: a Fourier transform, a Jacobian, a solver of an equation.

    Args:
        apply: Images of vectors, ``(N, n)`` to ``(N, m)``, in float64.
        shape: ``(m, n)``.
        transpose: Images of the transpose, ``(N, m)`` to ``(N, n)``; None where it is not known.

    Example:
        >>> shift = MatrixFree(lambda x: x.roll(1, dims=1), shape=(3, 3))
        >>> shift.images(torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64))
        tensor([[[3., 1., 2.]]], dtype=torch.float64)
    """

    stack = 1

    def __init__(self, apply: Apply, shape: tuple[int, int], transpose: Apply | None = None) -> None:
        self.shape, self._apply, self._transpose = (int(shape[0]), int(shape[1])), apply, transpose

    def images(self, x: Tensor) -> Tensor:
        """The function's images.

        Raises:
            ValueError: If they have another shape than the operator's states.
        """
        return _checked(self._apply, x, self.shape[0])

    def transpose_images(self, y: Tensor) -> Tensor:
        """The images of the transpose."""
        if self._transpose is None:
            raise ValueError("Images of the transpose need an operator that has one. Found none.")
        return _checked(self._transpose, y, self.shape[1])


class Stacked(Operator):
    """Single matrices, each stored in its own way, as one stack.

    Args:
        members: Operators of one shape, each a stack of one.

    Raises:
        ValueError: If their shapes differ.
    """

    def __init__(self, members: Sequence[Operator]) -> None:
        shapes = {member.shape for member in members}
        if len(shapes) != 1:
            raise ValueError(f"The matrices of a stack must have one shape. Found {sorted(shapes)}.")
        self.members, self.stack, self.shape = list(members), len(members), members[0].shape

    def images(self, x: Tensor) -> Tensor:
        """Images by each member of its own vectors."""
        parts = x.expand(self.stack, -1, -1).split(1)
        return torch.cat([member.images(own) for member, own in zip(self.members, parts, strict=True)])

    def transpose_images(self, y: Tensor) -> Tensor:
        """Images by the transpose of each member of its own vectors."""
        parts = y.expand(self.stack, -1, -1).split(1)
        return torch.cat([member.transpose_images(own) for member, own in zip(self.members, parts, strict=True)])

    def squares(self) -> Tensor:
        """Those of each member."""
        return torch.cat([member.squares() for member in self.members])

    def residual_products(self, left: Tensor, right: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of each member."""
        parts = zip(self.members, left.split(1), right.split(1), squares.split(1), strict=True)
        found = [member.residual_products(*own) for member, *own in parts]
        first, second, third = (torch.cat(each) for each in zip(*found, strict=True))
        return first, second, third


class Residual(Operator):
    """What factors leave of one matrix, ``A - left @ right``, as an operator; it is never formed.

    Args:
        operator: The matrix A.
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.

    Example:
        >>> residual = Residual(Dense(torch.eye(2)), torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0, 0.0]]))
        >>> residual.images(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[0., 2.]]])
    """

    stack = 1

    def __init__(self, operator: Operator, left: Tensor, right: Tensor) -> None:
        self.operator, self.left, self.right, self.shape = operator, left, right, operator.shape

    def images(self, x: Tensor) -> Tensor:
        """``A x - left (right x)``."""
        return self.operator.images(x) - (x @ self.right.mT) @ self.left.mT

    def transpose_images(self, y: Tensor) -> Tensor:
        """``Aᵀ y - rightᵀ (leftᵀ y)``."""
        return self.operator.transpose_images(y) - (y @ self.left) @ self.right


class Scaled(Operator):
    """One matrix times a number.

    Args:
        operator: The matrix, a stack of one.
        factor: The number.
    """

    stack = 1

    def __init__(self, operator: Operator, factor: float) -> None:
        self.operator, self.factor, self.shape = operator, factor, operator.shape

    def images(self, x: Tensor) -> Tensor:
        """Images by the matrix, times the number."""
        return self.operator.images(x) * self.factor

    def transpose_images(self, y: Tensor) -> Tensor:
        """Images by the transpose, times the number."""
        return self.operator.transpose_images(y) * self.factor


class Transposed(Operator):
    """The transpose of one matrix.

    Args:
        operator: The matrix.
    """

    stack = 1

    def __init__(self, operator: Operator) -> None:
        self.operator, self.shape = operator, (operator.shape[1], operator.shape[0])

    def images(self, x: Tensor) -> Tensor:
        """Images by the transpose."""
        return self.operator.transpose_images(x)

    def transpose_images(self, y: Tensor) -> Tensor:
        """Images by the matrix."""
        return self.operator.images(y)


class Member(Operator):
    """One matrix of a stack.

    Args:
        operator: The stack.
        member: Place of the matrix in it.
    """

    stack = 1

    def __init__(self, operator: Operator, member: int) -> None:
        self.operator, self.member, self.shape = operator, member, operator.shape

    def images(self, x: Tensor) -> Tensor:
        """Images by this matrix; the others are asked for those of zeros."""
        return self.operator.images(self._alone(x))[self.member : self.member + 1]

    def transpose_images(self, y: Tensor) -> Tensor:
        """Images by the transpose of this matrix."""
        return self.operator.transpose_images(self._alone(y))[self.member : self.member + 1]

    def gram_images(self, x: Tensor) -> Tensor:
        """Images by ``AᵀA`` of this matrix."""
        return self.operator.gram_images(self._alone(x))[self.member : self.member + 1]

    @property
    def narrow(self) -> int | None:
        """As of the stack."""
        return self.operator.narrow

    def _alone(self, x: Tensor) -> Tensor:
        rows = x.new_zeros(self.operator.stack, *x.shape[1:])
        rows[self.member] = x[0]
        return rows


def _unit_vectors(places: range, length: int) -> Tensor:
    unit = torch.zeros(len(places), length, dtype=torch.float64)
    unit[torch.arange(len(places)), torch.tensor(places)] = 1
    return unit


def _checked(apply: Apply, x: Tensor, length: int) -> Tensor:
    images = apply(x[0].double())
    wanted = (x.shape[1], length)
    if tuple(images.shape) != wanted:
        raise ValueError(
            f"The operator's images of {x.shape[1]} vectors must have shape {wanted}. Found {tuple(images.shape)}."
        )
    return images.to(x)[None]
