"""A matrix larger than memory, read from a file in blocks."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import at_most_of, error_at_most, memory_at_most

RANK, COLS = 10, 1000
WANTED = 20e9
SIZE = "ECKART_BENCHMARK_GIGABYTES"
"""The variable that sets the size of the file."""
READ = "reading the file twice"


def cases(quick: bool) -> Iterable[Case]:
    """The largest file up to 20 GB that fits on the disk beside 5 GB that stay free."""
    rows = _rows(quick)
    gigabytes = rows * COLS * 4 / 1e9
    asked = "" if gigabytes > 0.99 * WANTED / 1e9 else f": scaled down from {WANTED / 1e9:g} GB"
    yield Case(
        "large_file",
        f"{rows:,}×{COLS} float32 in a .npy file of {gigabytes:.3g} GB{'' if quick else asked}, rank {RANK}",
        [
            Contender("eckart method=svd data=file", lambda: _ours(rows)),
            Contender(READ, lambda: _reading(rows)),
            Contender("dask svd_compressed", lambda: _dask(rows), ("dask",)),
            Contender("IncrementalPCA", lambda: _incremental(rows), note="of the matrix less its column means"),
        ],
        accuracy="excess of the Frobenius error, relative to the optimum",
        goals=[at_most_of(READ, 1.3), memory_at_most(1500), error_at_most(1e-6)],
        budget=3.0 if quick else 60.0,
        patience=20.0,
        asked_only=not quick,
    )


def _rows(quick: bool) -> int:
    wished = float(os.environ.get(SIZE, WANTED / 1e9)) * 1e9
    free = shutil.disk_usage(tempfile.gettempdir()).free - 5e9
    size = 0.04e9 if quick else max(min(wished, free), 0.1e9)
    return int(size / 4 / COLS / 1000) * 1000


def _file(rows: int) -> Path:
    """The file: a matrix of rank 10 whose values fall, and noise; the exact spectrum is that of its Gram matrix."""
    import numpy as np

    from eckart.benchmarks.scratch import scratch

    path = scratch() / "large.npy"
    if path.is_file():
        return path
    draw = np.random.default_rng(0)
    right = np.linalg.qr(draw.standard_normal((COLS, 2 * RANK)))[0].T.astype(np.float32)
    right *= (2.0 ** -np.arange(2 * RANK, dtype=np.float32) * 30)[:, None]
    written = path.with_suffix(".part.npy")
    matrix = np.lib.format.open_memmap(written, mode="w+", dtype=np.float32, shape=(rows, COLS))
    gram = np.zeros((COLS, COLS))
    step = 20_000
    for start in range(0, rows, step):
        count = min(step, rows - start)
        block = draw.standard_normal((count, 2 * RANK), dtype=np.float32) @ right
        block += draw.standard_normal((count, COLS), dtype=np.float32)
        matrix[start : start + count] = block
        gram += block.T.astype(np.float64) @ block
    matrix.flush()
    np.save(scratch() / "gram.npy", gram)
    written.rename(path)
    return path


def _cold(path: Path) -> None:
    """Have the file read from the disk, and not from what the system keeps of it."""
    if hasattr(os, "posix_fadvise"):
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _ours(rows: int) -> Prepared:
    import eckart
    from eckart.benchmarks.scratch import scratch

    path = _file(rows)

    def task() -> Any:
        _cold(path)
        folder = f"hydra.run.dir={tempfile.mkdtemp(dir=scratch())}"
        words = ["method=svd", "data=file", f"data.path={path}", f"rank={RANK}", "logger=none", "figures=false"]
        # In blocks also where the file would fit into memory.
        return eckart.run([*words, "data.blocks=true", folder])

    def score(result: Any) -> Score:
        fields = result.fields
        said = ", ".join(f"{name} {fields[name]}" for name in ("solver", "measured") if fields.get(name))
        return Score(_excess(path, result.left.numpy(), result.right.numpy()), said)

    return Prepared(task, score, warm_up=_nothing)


def _reading(rows: int) -> Prepared:
    path = _file(rows)

    def task() -> None:
        _cold(path)
        for _ in range(2):
            with path.open("rb", buffering=0) as file:
                block = bytearray(2**24)
                while file.readinto(block):
                    pass

    return Prepared(task, warm_up=_nothing)


def _dask(rows: int) -> Prepared:
    import dask.array
    import numpy as np

    path = _file(rows)

    def task() -> Any:
        _cold(path)
        blocks = dask.array.from_array(np.load(path, mmap_mode="r"), chunks=(max(rows // 64, 1000), COLS))
        return dask.array.compute(*dask.array.linalg.svd_compressed(blocks, RANK, n_power_iter=2, seed=0))

    def score(found: Any) -> float:
        u, s, vh = found
        return _excess(path, u * s, vh)

    return Prepared(task, score, warm_up=_nothing)


def _incremental(rows: int) -> Prepared:
    import numpy as np
    from sklearn.decomposition import IncrementalPCA

    path = _file(rows)

    def task() -> Any:
        _cold(path)
        matrix = np.load(path, mmap_mode="r")
        model = IncrementalPCA(RANK, batch_size=20_000)
        for start in range(0, rows, 20_000):
            model.partial_fit(matrix[start : start + 20_000])
        return model

    def score(model: Any) -> float:
        # It subtracts the means: the rows are projected to what it found, as an approximation of the same rank.
        basis = np.linalg.qr(model.components_.T.astype(np.float64))[0]
        return _excess(path, None, basis.T)

    return Prepared(task, score, warm_up=_nothing)


def _nothing() -> None:
    """A first run would be one of minutes."""


def _excess(path: Path, left: Any, right: Any) -> float:
    """Excess over the optimum: of ``left @ right``, or of the projection to the rows of ``right`` without a left."""
    import numpy as np

    gram = np.load(path.with_name("gram.npy"))
    values = np.linalg.eigvalsh(gram)
    optimum, short = values[:-RANK].sum(), np.asarray(right, dtype=np.float64)
    if left is None:
        return float(np.sqrt((np.trace(gram) - np.trace(short @ gram @ short.T)) / optimum) - 1)
    matrix, squares = np.load(path, mmap_mode="r"), 0.0
    for start in range(0, len(matrix), 20_000):
        block = matrix[start : start + 20_000].astype(np.float64)
        squares += float(np.square(block - np.asarray(left[start : start + 20_000], dtype=np.float64) @ short).sum())
    return float(abs(np.sqrt(squares / optimum) - 1))
