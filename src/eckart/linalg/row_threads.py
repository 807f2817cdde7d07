"""Work on the rows of a tall matrix by blocks, in threads of our own with one thread of the libraries each."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

# Threads at most; each has its own memory.
_THREADS = 8


def workers(matrix: Tensor) -> int:
    """How many threads :func:`over_rows` takes at most for a matrix; on an accelerator one.

    Example:
        >>> workers(torch.eye(3)) <= torch.get_num_threads()
        True
    """
    return min(torch.get_num_threads(), _THREADS) if matrix.device.type == "cpu" else 1


def over_rows(matrix: Tensor, step: int, work: Callable[[int, slice], None], threads: int) -> None:
    """Call ``work`` for every block of rows, each worker for its own blocks in their order.

    So no thread waits for another in the middle of a product, and a block that was converted is still in the cache of
    its core when it is multiplied.

    Args:
        matrix: Shape ``(m, n)``.
        step: Rows of a block.
        work: Takes the number of the worker and the rows of the block.
        threads: Workers, of :func:`workers`; a single one keeps all threads of the libraries.

    Example:
        >>> sums = [0, 0]
        >>> def work(worker, rows):
        ...     sums[worker] += rows.stop - rows.start
        >>> over_rows(torch.zeros(10, 2), 3, work, 2)
        >>> sums
        [6, 4]
    """
    rows = len(matrix)
    threads = min(threads, -(-rows // step))

    def take(worker: int) -> None:
        for start in range(worker * step, rows, threads * step):
            work(worker, slice(start, min(start + step, rows)))

    def alone(worker: int) -> None:
        torch.set_num_threads(1)
        take(worker)

    if threads <= 1:
        take(0)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            for job in [pool.submit(alone, worker) for worker in range(threads)]:
                job.result()
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def threads(*, one: bool) -> Iterator[None]:
    """Compute on one thread where a second one costs more than it saves, far more on a busy machine.

    Example:
        >>> with threads(one=True):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if one:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
