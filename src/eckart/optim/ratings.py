"""What the solvers of rating models share: the entries in two orders, vectors with a bias, and threads."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.optim.compiled import compiled
from eckart.optim.layout import Layout

Array = NDArray[Any]
# Entries below which a second thread costs more than it saves.
_MANY = 200_000
# Rows that a thread takes at a time.
_ROWS = 256


class RatingsSolver(nn.Module):
    """A solver of ``mean + b_r + c_i + p_r · v_i`` on the observed entries of one matrix.

    All that a step changes are buffers, so that a checkpoint holds it; a step draws from a random stream of its own, so
    that a resumed training takes the same steps. Ratings are centered by their mean and divided by their standard
    deviation, so that nothing depends on their unit.

    Args:
        entries: The entries, in row-major order.
        rank: Rank k of the product of the vectors without their biases.
        seed: Draws the start, and whatever the solver draws.
        dtype: Type of the vectors, float32 or float64.
        biases: Whether vectors begin with a bias.

    Attributes:
        mean: Mean of the ratings.
        unit: Their standard deviation.
        low: The least rating.
        high: The largest.
        sweeps: Steps until it is done.
    """

    on_cpu = True
    sweeps: int
    rows: Tensor
    cols: Tensor

    def __init__(self, entries: Entries, rank: int, seed: int, dtype: torch.dtype, *, biases: bool = True) -> None:
        super().__init__()
        value, found = entries.value.to(dtype), entries.value.double()
        self.mean, self.unit = float(found.mean()), float(found.std(correction=0))
        self.biases = biases
        self.rank, self.seed, self.shape = rank, seed, entries.shape
        self.by_row, self.by_col = Layout.both(entries, ((value - self.mean) / self.unit).numpy())
        self.low, self.high = float(entries.value.min()), float(entries.value.max())
        generator = stream(seed, "factors")
        for name, size in zip(("rows", "cols"), entries.shape, strict=True):
            vectors = 0.1 * torch.randn(size, rank + biases, generator=generator, dtype=torch.float64).to(dtype)
            if biases:
                vectors[:, 0] = 0
            self.register_buffer(name, vectors)

    def advance(self, step: int) -> None:
        """Take a step, counted from 0."""
        raise NotImplementedError

    def sweep(self, step: int) -> bool:
        """Take a step; whether all is finite after it, and else the vectors are those of before."""
        before = self.rows.clone(), self.cols.clone()
        self.advance(step)
        if self.rows.isfinite().all() and self.cols.isfinite().all():
            return True
        self.rows.copy_(before[0])
        self.cols.copy_(before[1])
        return False

    def done(self, step: int) -> str | None:
        """Why there is nothing left to do after so many steps; None while there is."""
        raise NotImplementedError

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors of rows and columns, bias first, ``(m, k + 1)`` and ``(n, k + 1)``, in units of ``unit``."""
        if self.biases:
            return self.rows, self.cols
        pad = nn.functional.pad
        return pad(self.rows, (1, 0)), pad(self.cols, (1, 0))

    def pair(self) -> tuple[Tensor, Tensor]:
        """The model as a factor pair in the unit of the ratings: ``(m, k + 2)`` and ``(k + 2, n)``.

        The first column of the left factor is the mean and the bias of a row, times 1; the second is 1, times the bias
        of a column.
        """
        rows, cols = self.vectors()
        one_row, one_col = torch.ones_like(rows[:, :1]), torch.ones_like(cols[:, :1])
        left = torch.cat([rows[:, :1] * self.unit + self.mean, one_row, rows[:, 1:] * self.unit], dim=1)
        return left, torch.cat([one_col, cols[:, :1] * self.unit, cols[:, 1:]], dim=1).mT

    def squared_residual(self) -> float:
        """Sum of the squared residuals of the ratings now, of :meth:`vectors`."""
        rows, cols = (part.numpy() for part in self.vectors())
        return float(self.unit**2 * np.square(self.residual(self.by_row, rows, cols), dtype=np.float64).sum())

    def residual(self, layout: Layout, rows: Array, cols: Array) -> Array:
        """Residual of each entry of a layout, for the vectors of its rows and columns."""
        from eckart.optim import row_updates

        found = np.empty_like(layout.value)
        self.loop(row_updates.residuals)(layout.start, layout.col, layout.value, rows, cols, found)
        return found

    def loop(self, loop: Callable[..., None]) -> Callable[..., None]:
        """A compiled loop, parallel where there are many entries and more threads than one."""
        import numba

        # Several members share the threads; a loop that is parallel inside belongs to the main thread alone.
        most: Any = numba.config
        threads = min(torch.get_num_threads(), most.NUMBA_NUM_THREADS)
        alone = threading.current_thread() is threading.main_thread()
        if threads == 1 or not alone or len(self.by_row.value) < _MANY:
            return compiled(loop)
        numba.set_num_threads(threads)
        made = compiled(loop, parallel=True)

        def run(*arguments: Any) -> None:
            # Rows differ in how many entries they have, so a thread takes a few hundred at a time.
            with numba.parallel_chunksize(_ROWS):
                made(*arguments)

        return run

    def draws(self, step: int) -> np.random.Generator:
        """Random numbers of a step."""
        start = torch.randint(2**62, (), generator=stream(self.seed, "sampling", step))
        return np.random.default_rng(int(start))
