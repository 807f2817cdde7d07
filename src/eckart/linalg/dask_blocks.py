"""A matrix whose blocks are on other processes or machines, as an operator: a two-dimensional dask array."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eckart.linalg import block_products
from eckart.linalg.operators import Operator

# Arrays that are added in one task.
_ARITY = 8


class DaskBlocks(Operator):
    """One matrix in the blocks of a dask array; products are computed where the blocks are.

    A vector's part is sent to each block, and its part of the product comes back: the array itself never does. Sums
    over blocks are taken in a tree whose shape depends on the number of blocks alone, each block in float64. So the
    result does not depend on the number of workers, nor on which of them is done first, nor on one that is lost: what
    it held is computed anew from the array's own graph.

    Args:
        array: A dask array of shape ``(m, n)`` whose blocks are real NumPy arrays.
        client: Client of ``dask.distributed`` that computes; None for the scheduler that dask itself would choose.

    Raises:
        ValueError: If the array has not two dimensions of known size, or is not real.

    Example:
        >>> import dask.array as da
        >>> operator = DaskBlocks(da.from_array(np.arange(6.0).reshape(2, 3), chunks=(1, 2)))
        >>> operator.images(torch.tensor([[[1.0, 1.0, 1.0]]]))
        tensor([[[ 3., 12.]]])
    """

    stack = 1

    def __init__(self, array: Any, client: Any = None) -> None:
        shape = tuple(array.shape)
        if len(shape) != 2 or any(np.isnan(size) or size < 1 for size in shape):
            law = "A dask array must have two dimensions of known size, at least 1"
            raise ValueError(f"{law}. Found shape {shape}.")
        if array.dtype.kind not in "biuf" or not isinstance(array._meta, np.ndarray):
            found = f"{type(array._meta).__name__} of {array.dtype}"
            raise ValueError(f"The blocks of a dask array must be real NumPy arrays. Found {found}.")
        self.shape, self._client = (int(shape[0]), int(shape[1])), client
        self._cuts = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in array.chunks]
        self._blocks: list[list[Any]] = array.to_delayed().tolist()
        self._squares: Tensor | None = None

    def images(self, x: Tensor) -> Tensor:
        """``x @ A.mT``: each block's part of ``x`` goes to it, and its images come back summed over a row of blocks."""
        parts = self._split(x[0], axis=1)
        rows = [
            self._sum([self._call(block_products.images, *pair) for pair in zip(row, parts, strict=True)])
            for row in self._blocks
        ]
        return torch.from_numpy(np.concatenate(self._compute(rows), axis=1)).to(x)[None]

    def transpose_images(self, y: Tensor) -> Tensor:
        """``y @ A``, summed over a column of blocks."""
        parts = self._split(y[0], axis=0)
        columns = [
            self._sum([self._call(block_products.transpose_images, *pair) for pair in zip(column, parts, strict=True)])
            for column in zip(*self._blocks, strict=True)
        ]
        return torch.from_numpy(np.concatenate(self._compute(columns), axis=1)).to(y)[None]

    def gram_images(self, x: Tensor) -> Tensor:
        """``x AᵀA``: in one pass where blocks have whole rows, in two where they have not."""
        if len(self._blocks[0]) > 1:
            return super().gram_images(x)
        (part,) = self._split(x[0], axis=1)
        (found,) = self._compute(
            [self._sum([self._call(block_products.gram_images, row[0], part) for row in self._blocks])]
        )
        return torch.from_numpy(found).to(x)[None]

    def has_transpose(self) -> bool:
        """True; nothing is computed for it."""
        return True

    def squares(self) -> Tensor:
        """Squared Frobenius norm, shape ``(1,)``, float64; computed once.

        Raises:
            ValueError: If an entry is not finite.
        """
        if self._squares is None:
            parts = [self._call(block_products.squares, block) for row in self._blocks for block in row]
            (found,) = self._compute([self._sum(parts)])
            if not np.isfinite(found):
                raise ValueError(
                    "The target must be finite, and so must be its squares. Found NaN or infinite entries."
                )
            self._squares = torch.tensor([float(found)], dtype=torch.float64)
        return self._squares

    def residual_products(self, left: Tensor, right: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of every operator, in one pass over the blocks.

        The residual's own entries are summed up, so that no digit of its norm is lost.
        """
        lefts, rights = self._split(left[0].mT, axis=0, transposed=True), self._split(right[0], axis=1)
        grid = [
            [
                self._call(block_products.residual_products, block, own, part, outputs=3)
                for block, part in zip(row, rights, strict=True)
            ]
            for row, own in zip(self._blocks, lefts, strict=True)
        ]
        square = self._sum([found[0] for row in grid for found in row])
        by_row = [self._sum([found[1] for found in row]) for row in grid]
        by_column = [self._sum([found[2] for found in column]) for column in zip(*grid, strict=True)]
        first, *others = self._compute([square, *by_row, *by_column])
        found = (
            first[None],
            np.concatenate(others[: len(by_row)])[None],
            np.concatenate(others[len(by_row) :], axis=1)[None],
        )
        one, two, three = (torch.from_numpy(part).to(left) for part in found)
        return one, two, three

    def dense(self) -> Tensor:
        """The matrix itself, float64; for small ones."""
        blocks = self._compute([self._call(block_products.double, block) for row in self._blocks for block in row])
        width = len(self._blocks[0])
        rows = [np.concatenate(blocks[first : first + width], axis=1) for first in range(0, len(blocks), width)]
        return torch.from_numpy(np.concatenate(rows))[None]

    def _split(self, vectors: Tensor, axis: int, *, transposed: bool = False) -> list[Any]:
        """The part of rows ``vectors`` that belongs to each block along an axis, each a task of its own."""
        from dask.delayed import delayed

        whole, cuts = vectors.detach().cpu().double().numpy(), self._cuts[axis]
        parts = (whole[:, start:stop] for start, stop in pairwise(cuts))
        # Of tasks in the graph, and not data on one worker, nothing is lost with a worker.
        return [delayed(np.ascontiguousarray(part.T if transposed else part), pure=False) for part in parts]

    @staticmethod
    def _call(function: Callable[..., Any], *arguments: Any, outputs: int | None = None) -> Any:
        from dask.delayed import delayed

        return delayed(function, pure=False, nout=outputs, traverse=False)(*arguments)

    def _sum(self, parts: Sequence[Any]) -> Any:
        while len(parts) > 1:
            groups = [list(parts[first : first + _ARITY]) for first in range(0, len(parts), _ARITY)]
            parts = [self._call(block_products.total, group) if len(group) > 1 else group[0] for group in groups]
        return parts[0]

    def _compute(self, tasks: Sequence[Any]) -> list[Any]:
        from dask.base import compute

        chosen = {} if self._client is None else {"scheduler": self._client}
        try:
            return list(compute(*tasks, traverse=False, **chosen))
        except Exception as error:
            if type(error).__name__ != "KilledWorker":
                raise
            law = "Workers must survive the blocks that they are given; less memory is needed by smaller chunks"
            raise RuntimeError(f"{law}. Found that a block was given up after it had ended several workers.") from error
