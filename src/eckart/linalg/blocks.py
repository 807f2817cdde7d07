"""A matrix larger than memory: its long side comes in blocks from storage, the next one read while one is used."""

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from eckart.linalg.operators import Operator

Work = Callable[[slice, Tensor], tuple[Tensor, ...]]
Watch = Callable[[int], AbstractContextManager[Callable[[], object]]]
"""From the number of blocks of a pass to what is called after each of them."""

# Rows that are multiplied at once. In float32 they bound the rounding error, see Gram.
_SUMMED = 512
# Threads that work on a block at once; each has its own sums.
_THREADS = 8
# Blocks in memory: one is read while the threads are at one or two others.
_AHEAD = 3
# Entries of images that are asked for at once, 2 GiB.
_LARGEST = 2**28
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
    """One matrix in storage, of which up to three blocks at a time are in memory.

    T below is the matrix or, where it is wide, its transpose: the long side comes in blocks. Every method here is one
    pass over the file, and adds in the order of the rows, so that equal calls give equal results. A pass refuses
    entries that are not finite.

    Args:
        tall: T, as it is stored.
        transposed: Whether the matrix is the transpose of T.
        scale: The matrix is multiplied by this.

    Attributes:
        passes: Passes over the file so far.
        watch: Is told of each block of a pass, to show how far it is.
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
        self.watch: Watch = lambda blocks: contextlib.nullcontext(lambda: None)
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

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            long[place] = chunk
            return ()

        self._pass(work)
        return (long.mT if self.transposed else long)[None]

    def squares(self) -> Tensor:
        """Squared Frobenius norm, shape ``(1,)``, float64; a pass where no other has seen it."""
        if "squares" not in self.memory:
            self._pass(lambda *_: ())
        return torch.tensor([self.memory["squares"]], dtype=torch.float64)

    def residual_products(self, left: Tensor, right: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``‖E‖²``, ``E rightᵀ`` and ``leftᵀ E`` of ``E = left @ right - A``, entry by entry, in one pass."""
        long, short = (right[0].mT, left[0].mT) if self.transposed else (left[0], right[0])
        long, short = long.detach().cpu().double(), short.detach().cpu().double()
        product, turned = torch.empty_like(long), short.mT.contiguous()

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            residual = torch.addmm(chunk, long[place], short, beta=-1)
            product[place] = residual @ turned
            return torch.linalg.vector_norm(residual).square(), long[place].mT @ residual

        found, other = self._pass(work)
        sides = (other.mT, product.mT) if self.transposed else (product, other)
        return found[None].to(left), sides[0][None].to(left), sides[1][None].to(left)

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
        rows, cols = self.tall.shape
        parts = max(1, min(4, cols // _PART))
        cuts = [cols * part // parts for part in range(parts + 1)]

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            product = _times(chunk.mT, chunk)
            # Parts of the lower triangle; products of float32 numbers are added in float64.
            return tuple(product[start:stop, :stop] for start, stop in itertools.pairwise(cuts))

        found = self._pass(work, double=dtype == torch.float64)
        total = torch.zeros(cols, cols, dtype=torch.float64)
        for start, stop, part in zip(cuts[:-1], cuts[1:], found, strict=True):
            total[start:stop, :stop] = part
        total = total.tril() + total.tril(-1).mT
        error = (_SUMMED + -(-rows // _SUMMED) + 2) * 2.0**-53
        return Gram(total, dtype, error + ((_SUMMED + 1) * 2.0**-24 if dtype == torch.float32 else 0.0))

    def gram_images(self, x: Tensor) -> Tensor:
        """``x AᵀA``, in one pass where the matrix is tall and two where it is wide."""
        if self.transposed:
            return super().gram_images(x)
        return self.gram_products(x[0].cpu().double().mT)[0].mT.to(x)[None]

    def gram_products(self, x: Tensor) -> tuple[Tensor, float]:
        """``TᵀT x`` of columns ``x (n, w)``, float64, and the squared Frobenius norm of T, in one pass."""
        (found,) = self._pass(lambda _, chunk: (_times(chunk.mT, _times(chunk, x)),))
        return found, self.memory["squares"]

    def project(self, v: Tensor, count: int, unit: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Moments]:
        """Images of orthonormal columns, the first stored as a factor, and all that its errors need, in one pass.

        Args:
            v: Shape ``(n, w)``, float64.
            count: Columns k whose images are stored.
            unit: What each is multiplied by before it is stored, shape ``(k,)``.
            dtype: Type that the factor is stored in.

        Returns:
            The factor ``T v * unit (m, k)``, ``TᵀT v (n, w)``, and the moments of the factor as it is stored.
        """
        rows = self.tall.shape[0]
        # A factor is stored with its long side last where it is a right one.
        long = torch.empty(count, rows, dtype=dtype).mT if self.transposed else torch.empty(rows, count, dtype=dtype)

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            images = _times(chunk, v)
            long[place] = images[:, :count] * unit
            stored = long[place].double()
            # The product with few rows is the faster one.
            return _times(torch.cat([images, stored], dim=1).mT, chunk), stored.mT @ stored

        sums, square = self._pass(work)
        images, cross = sums.mT.split([v.shape[1], count], dim=1)
        return long, images, Moments(cross.contiguous(), square, self.memory["squares"])

    def moments(self, long: Tensor) -> Moments:
        """What the errors of a factor ``long (m, k)`` need, in one pass."""

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            part = long[place].double()
            return chunk.mT @ part, part.mT @ part

        cross, square = self._pass(work)
        return Moments(cross, square, self.memory["squares"])

    def _long_images(self, x: Tensor) -> Tensor:
        rows = self.tall.shape[0]
        if x.shape[1] * rows > _LARGEST:
            law = f"Images of a target in blocks must have at most {_LARGEST} entries together: ask for fewer vectors"
            raise ValueError(f"{law}. Found {x.shape[1]} of {rows}.")
        columns = x[0].cpu().double().mT.contiguous()
        found = torch.empty(x.shape[1], rows, dtype=x.dtype)

        def work(place: slice, chunk: Tensor) -> tuple[Tensor, ...]:
            found[:, place] = _times(chunk, columns).mT.to(x.dtype)
            return ()

        self._pass(work)
        return found.to(x)[None]

    def _short_images(self, y: Tensor) -> Tensor:
        vectors = y[0].cpu()
        (found,) = self._pass(lambda place, chunk: (vectors[:, place].double() @ chunk,))
        return found.to(y)[None]

    def _pass(self, work: Work, *, double: bool = True) -> list[Tensor]:
        """Sums over all chunks of rows of what ``work`` makes of each, in float64.

        This thread reads, and threads of our own follow, each at its own pace through its own chunks of every block
        with one thread of the libraries: so none waits for another in the middle of a product, nor at the end of a
        block. An interrupt ends the pass after the blocks that were read.
        """
        (rows, cols), height = self.tall.shape, self.tall.height
        threads = min(torch.get_num_threads(), _THREADS)
        step = min(_SUMMED, height)
        sums: list[list[Tensor]] = [[] for _ in range(threads)]
        squares = [0.0] * threads
        buffers = [torch.empty(step, cols, dtype=torch.float64) for _ in range(threads)]

        def take(worker: int, start: int, block: Tensor) -> None:
            torch.set_num_threads(1)
            for first in range(worker * step, len(block), threads * step):
                place = slice(start + first, start + min(first + step, len(block)))
                chunk, square = self._chunk(block[first : first + step], place.start, buffers[worker], double=double)
                squares[worker] += square
                found = work(place, chunk)
                if sums[worker]:
                    for total, part in zip(sums[worker], found, strict=True):
                        total += part
                else:
                    sums[worker] = [part.double() for part in found]

        from threadpoolctl import threadpool_limits

        before = torch.get_num_threads()
        starts = range(0, rows, height)
        blocks = [torch.empty(min(height, rows), cols, dtype=self.tall.dtype) for _ in starts[:_AHEAD]]
        running: deque[list[Future[None]]] = deque()
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(threadpool_limits(1, user_api="blas"))
                pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(threads)]
                move = stack.enter_context(self.watch(len(starts)))

                def wait() -> None:
                    for job in running.popleft():
                        job.result()
                    move()

                for number, start in enumerate(starts):
                    if len(running) == len(blocks):
                        wait()
                    block = blocks[number % len(blocks)][: min(height, rows - start)]
                    self.tall.read(start, block)
                    running.append([pool.submit(take, worker, start, block) for worker, pool in enumerate(pools)])
                while running:
                    wait()
        finally:
            torch.set_num_threads(before)
        self.passes += 1
        self.memory["squares"] = sum(squares)
        started = [own for own in sums if own]
        return [torch.stack(parts).sum(0) for parts in zip(*started, strict=True)]

    def _chunk(self, rows: Tensor, start: int, buffer: Tensor, *, double: bool) -> tuple[Tensor, float]:
        """Rows as they are multiplied, and the sum of their squares, which tells whether all of them are finite."""
        # float32 is for the numbers as they stand in the file: those that are multiplied have other ones.
        if rows.dtype == torch.float32 and not double and self.scale == 1:
            square = float(torch.linalg.vector_norm(rows, dtype=torch.float64)) ** 2
            low, high = (size**2 for size in _SINGLE)
            # The largest entry is at most the norm, and at least as large as the root of their mean square.
            if square == 0 or low * rows.numel() < square < high:
                return rows, square
        chunk = buffer[: len(rows)].copy_(rows)
        if self.scale != 1:
            chunk.mul_(self.scale)
        entries = chunk.flatten()
        square = float(torch.dot(entries, entries))
        if not math.isfinite(square):
            self._require_finite(rows, start)
        return chunk, square

    def _require_finite(self, rows: Tensor, start: int) -> None:
        broken = torch.nonzero(~rows.isfinite())
        if len(broken):
            row, col = broken[0].tolist()
            value, place = float(rows[row, col]), (start + row + 1, col + 1)
            found = f"Found {value} in row {place[self.transposed]}, column {place[not self.transposed]}"
            law = f"Cannot read {self.tall.name}: every entry must be finite"
            raise ValueError(f"{law}. {found} (counted from 1).")


def _times(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` by NumPy, which multiplies a matrix with its own transpose in half of the time."""
    return torch.from_numpy(left.numpy() @ right.numpy())


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
