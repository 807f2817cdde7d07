"""A matrix larger than memory: its long side comes in blocks from storage, the next one read while one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from eckart.linalg.operators import Operator

# Rows whose products are added in float32; they bound the rounding error, see Gram.
_SUMMED = 512
# Entries that are multiplied at once: they fit into a cache.
_CHUNK = 2**20
# The squares of float32 numbers of this size are far from overflow and underflow.
_SINGLE = 1e-12, 1e15
# Columns of the parts in which a symmetric matrix is summed, above the diagonal left out.
_PART = 64


class Rows(Protocol):
    """A tall matrix in storage, of which blocks of rows can be read.

    Attributes:
        shape: ``(m, n)``.
        dtype: ``torch.float32`` or ``torch.float64``: what holds its numbers exactly.
        height: Rows that are best read at once.
        name: What an error calls it.
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    height: int
    name: str

    def read(self, first: int, out: Tensor) -> None:
        """Read ``len(out)`` rows from the row ``first`` on into ``out``, contiguous, of ``dtype``."""


@dataclass(frozen=True)
class Gram:
    """The Gram matrix of the short side.

    Attributes:
        matrix: ``TᵀT``, shape ``(n, n)``, float64.
        dtype: Type that the products within 512 rows were computed in.
        error: Bound on the Frobenius norm of the error of ``matrix``, relative to the squared Frobenius norm of T.
    """

    matrix: Tensor
    dtype: torch.dtype
    error: float


@dataclass(frozen=True)
class Moments:
    """All that a pass must see of an approximation ``long @ short`` of T to measure it.

    Attributes:
        cross: ``Tᵀ long``, shape ``(n, k)``, float64.
        square: ``longᵀ long``, shape ``(k, k)``, float64.
        squares: Squared Frobenius norm of T.
    """

    cross: Tensor
    square: Tensor
    squares: float


class Blocked(Operator):
    """One matrix in storage, of which one or two blocks at a time are in memory.

    T below is the matrix or, where it is wide, its transpose: the long side comes in blocks. Every method here is one
    pass over the file, and adds in the order of the rows, so that equal calls give equal results. A pass refuses the
    first entry that is not finite.

    Args:
        tall: T, as it is stored.
        transposed: Whether the matrix is the transpose of T.
        scale: The matrix is multiplied by this.

    Attributes:
        passes: Passes over the file so far.
        memory: What was computed from it, by name, for those who ask for the same.

    Example:
        >>> from eckart.linalg.blocks import Stored
        >>> operator = Blocked(Stored(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
        >>> operator.images(torch.tensor([[[1.0, 0.0]]]))
        tensor([[[1., 3., 5.]]])
    """

    stack = 1

    def __init__(self, tall: Rows, *, transposed: bool = False, scale: float = 1.0) -> None:
        self.tall, self.transposed, self.scale = tall, transposed, scale
        self.shape = (tall.shape[1], tall.shape[0]) if transposed else tall.shape
        self.passes = 0
        self.memory: dict[Any, Any] = {}

    def images(self, x: Tensor) -> Tensor:
        """``x @ A.mT``, in one pass."""
        return self._short_images(x) if self.transposed else self._long_images(x)

    def transpose_images(self, y: Tensor) -> Tensor:
        """``y @ A``, in one pass."""
        return self._long_images(y) if self.transposed else self._short_images(y)

    def has_transpose(self) -> bool:
        """True; nothing is read for it."""
        return True

    def dense(self) -> Tensor:
        """The matrix itself, float64; for small ones."""
        long = torch.empty(self.tall.shape, dtype=torch.float64)
        for rows, chunk in self._chunks():
            long[rows] = chunk
        return (long.mT if self.transposed else long)[None]

    def squares(self) -> Tensor:
        """Squared Frobenius norm, shape ``(1,)``, float64, in one pass."""
        return torch.tensor([sum(float(torch.linalg.vector_norm(chunk)) ** 2 for _, chunk in self._chunks())]).double()

    def residual_products(self, left: Tensor, right: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of every operator, in one pass; the residual's own entries are summed up, so that no digit is lost."""
        long, short = (right[0].mT, left[0].mT) if self.transposed else (left[0], right[0])
        long, short = long.cpu().double(), short.cpu().double().contiguous()
        by_short, by_long, square = torch.empty_like(long), torch.zeros_like(short), 0.0
        for place, chunk in self._chunks():
            residual = torch.addmm(chunk, long[place], short, beta=-1)
            square += float(torch.linalg.vector_norm(residual)) ** 2
            by_short[place] = residual @ short.mT
            by_long.addmm_(long[place].mT, residual)
        pair = (by_long.mT, by_short.mT) if self.transposed else (by_short, by_long)
        return torch.tensor([square]).to(left), pair[0][None].to(left), pair[1][None].to(left)

    def gram(self, dtype: torch.dtype) -> Gram:
        r"""``TᵀT``, in one pass.

        The products of 512 rows are computed in ``dtype`` and added in float64. In float32 the error of each is, entry
        by entry, at most ``513 u |B|ᵀ|B|`` with ``u = 2^-24``, whatever the order of its sums; so that of the whole is
        at most ``513 u ‖T‖²`` in the Frobenius norm.

        Args:
            dtype: ``torch.float32`` or ``torch.float64``.

        References:
            Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.5.
        """
        cols = self.tall.shape[1]
        total = torch.zeros(cols, cols, dtype=torch.float64)
        parts = max(1, min(4, cols // _PART))
        cuts = [cols * part // parts for part in range(parts + 1)]
        for _, chunk in self._chunks(double=dtype == torch.float64, scaled=False):
            for start, stop in zip(cuts, cuts[1:], strict=False):
                place, left, right = total[start:stop, :stop], chunk[:, start:stop].mT, chunk[:, :stop]
                if chunk.dtype == torch.float64:
                    place.addmm_(left, right)
                    continue
                whole = len(chunk) // _SUMMED * _SUMMED
                # As a batch, whose members are computed beside each other and not each by all threads.
                batch = chunk[:whole].view(-1, _SUMMED, cols)
                place += (batch[:, :, start:stop].mT @ batch[:, :, :stop]).sum(0, dtype=torch.float64)
                place += left[:, whole:] @ right[whole:]
        total = total.tril() + total.tril(-1).mT
        step = self._step()
        additions = step + -(-self.tall.shape[0] // step) + 2
        error = additions * 2.0**-53 + ((_SUMMED + 1) * 2.0**-24 if dtype == torch.float32 else 0.0)
        return Gram(total * self.scale**2, dtype, error)

    def gram_images(self, x: Tensor) -> tuple[Tensor, float]:
        """``TᵀT x`` of columns ``x (n, w)``, float64, and the squared Frobenius norm of T, in one pass."""
        found, squares = torch.zeros_like(x), 0.0
        for _, chunk in self._chunks():
            found.addmm_(chunk.mT, chunk @ x)
            squares += float(torch.linalg.vector_norm(chunk)) ** 2
        return found, squares

    def project(self, v: Tensor, count: int, unit: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Moments]:
        """Images of orthonormal columns, the first of them stored as a factor, and all that its errors need, in one pass.

        Args:
            v: Shape ``(n, w)``, float64.
            count: Columns k whose images are stored.
            unit: What each is multiplied by before it is stored, shape ``(k,)``.
            dtype: Type that the factor is stored in.

        Returns:
            The factor ``T v * unit (m, k)``, ``TᵀT v (n, w)``, and the moments of the factor as it is stored.
        """
        rows, cols = self.tall.shape
        # A factor is stored with its long side last where it is a right one.
        long = torch.empty(count, rows, dtype=dtype).mT if self.transposed else torch.empty(rows, count, dtype=dtype)
        sums, square, squares = v.new_zeros(cols, v.shape[1] + count), v.new_zeros(count, count), 0.0
        for place, chunk in self._chunks():
            images = chunk @ v
            long[place] = images[:, :count] * unit
            stored = long[place].double()
            sums.addmm_(chunk.mT, torch.cat([images, stored], dim=1))
            square.addmm_(stored.mT, stored)
            squares += float(torch.linalg.vector_norm(chunk)) ** 2
        return long, sums[:, : v.shape[1]], Moments(sums[:, v.shape[1] :], square, squares)

    def moments(self, long: Tensor) -> Moments:
        """What the errors of a factor ``long (m, k)`` need, in one pass."""
        count = long.shape[1]
        cross = torch.zeros(self.tall.shape[1], count, dtype=torch.float64)
        square, squares = cross.new_zeros(count, count), 0.0
        for place, chunk in self._chunks():
            part = long[place].double()
            cross.addmm_(chunk.mT, part)
            square.addmm_(part.mT, part)
            squares += float(torch.linalg.vector_norm(chunk)) ** 2
        return Moments(cross, square, squares)

    def _long_images(self, x: Tensor) -> Tensor:
        columns = x[0].double().mT.contiguous()
        found = torch.empty(x.shape[1], self.tall.shape[0], dtype=x.dtype)
        for place, chunk in self._chunks():
            found[:, place] = (chunk @ columns).mT.to(x.dtype)
        return found.to(x)[None]

    def _short_images(self, y: Tensor) -> Tensor:
        found = torch.zeros(y.shape[1], self.tall.shape[1], dtype=torch.float64)
        for place, chunk in self._chunks():
            found.addmm_(y[0, :, place].cpu().double(), chunk)
        return found.to(y)[None]

    def _chunks(self, *, double: bool = True, scaled: bool = True) -> Iterator[tuple[slice, Tensor]]:
        """Places and contents of a few rows after the others; valid until the next one is asked for."""
        step = self._step()
        buffer = torch.empty(step, self.tall.shape[1], dtype=torch.float64)
        for start, block in self._blocks():
            for first in range(0, len(block), step):
                chunk = block[first : first + step]
                largest = self._largest(chunk, start + first)
                if double or not (largest == 0 or _SINGLE[0] < largest < _SINGLE[1]):
                    chunk = buffer[: len(chunk)].copy_(chunk)
                if scaled and self.scale != 1:
                    chunk = chunk.mul_(self.scale)
                yield slice(start + first, start + first + len(chunk)), chunk

    def _step(self) -> int:
        return max(1, _CHUNK // self.tall.shape[1] // _SUMMED) * _SUMMED

    def _largest(self, chunk: Tensor, start: int) -> float:
        low, high = (float(value) for value in chunk.aminmax())
        largest = max(-low, high)
        if largest < float("inf"):
            return largest
        row, col = torch.nonzero(~chunk.isfinite())[0].tolist()
        value, place = float(chunk[row, col]), (start + row + 1, col + 1)
        found = f"Found {value} in row {place[self.transposed]}, column {place[not self.transposed]} (counted from 1)"
        raise ValueError(f"Cannot read {self.tall.name}: every entry must be finite. {found}.")

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        (rows, cols), height = self.tall.shape, self.tall.height
        starts = range(0, rows, height)
        buffers = [torch.empty(min(height, rows), cols, dtype=self.tall.dtype) for _ in starts[:2]]

        def read(number: int) -> Tensor:
            block = buffers[number % 2][: min(height, rows - starts[number])]
            self.tall.read(starts[number], block)
            return block

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(read, 0)
            for number, start in enumerate(starts):
                block = ahead.result()
                if number + 1 < len(starts):
                    ahead = pool.submit(read, number + 1)
                yield start, block
        self.passes += 1


@dataclass
class Stored:
    """A tall matrix in memory, in the form of one in storage.

    Attributes:
        matrix: Shape ``(m, n)``, float32 or float64.
        height: Rows of a block.
    """

    matrix: Tensor
    height: int = 1024
    name: str = "the matrix"
    shape: tuple[int, int] = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        self.shape, self.dtype = (self.matrix.shape[0], self.matrix.shape[1]), self.matrix.dtype

    def read(self, first: int, out: Tensor) -> None:
        """Copy rows."""
        out.copy_(self.matrix[first : first + len(out)])
