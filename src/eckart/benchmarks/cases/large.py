"""A matrix file that is larger than memory, or is read as if it were."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from eckart.benchmarks import large_file
from eckart.benchmarks.case import Case, Command, Contender, Prepared, Score
from eckart.benchmarks.goals import at_most_of, error_at_most, memory_at_most
from eckart.benchmarks.programs import eckart
from eckart.benchmarks.scratch import scratch

RANK, COLS = 10, 500
READING = "reading the file twice"
NOTE = (
    "Of 500 columns the Gram matrix takes 2.5e11 operations per GB, 1.4 s of one processor in float32, and the "
    "products of the second pass .6 s in float64. Checking, converting and adding take .7 s, reading twice .3 s: 3.0 s "
    "of processor time, so that both passes over 20 GB take 30 s on two cores where none ever waits, and the start of "
    "the process, the factors and the figures 4 s more; reading alone leaves the processors idle. What the memory "
    "holds is read faster still."
)


def cases(quick: bool) -> Iterable[Case]:
    """The file of 20 GB only where it is asked for: it needs the disk, and minutes."""
    for rows, asked_only in ((20_000, False),) if quick else ((1_000_000, False), (10_000_000, True)):
        size = rows * COLS * 4 / 1e9
        name = f"large_{size:g}gb" if size >= 1 else "large_quick"
        yield Case(
            name=name,
            title=f"{size:g} GB of float32, {rows}×{COLS}, rank {RANK}, from a .npy file, errors included",
            contenders=[
                Command("eckart method=svd", _ours(rows), _score(rows)),
                Contender(READING, _prepared(rows, _read_twice)),
                Contender("dask svd_compressed, 2 power iterations", _prepared(rows, _dask), ("dask",)),
                Contender(
                    "IncrementalPCA", _prepared(rows, _incremental), note="it subtracts the means of the columns"
                ),
            ],
            accuracy="excess of the Frobenius error, relative to the optimum",
            level=1e-6,
            goals=[at_most_of(READING, 1.3), memory_at_most(1500), error_at_most(1e-6)],
            budget=10.0,
            # A peer that takes four times as long is not waited for: of 20 GB that is minutes.
            patience=4.0,
            asked_only=asked_only,
            note=NOTE,
        )


def _file(folder: Path, rows: int) -> Path:
    path = folder / f"large-{rows}.npy"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        large_file.write(partial, rows, COLS)
        partial.rename(path)
    return path


def _ours(rows: int) -> Callable[[Path], list[str]]:
    def arguments(folder: Path) -> list[str]:
        path = _file(folder.parent, rows)
        settings = ["method=svd", f"rank={RANK}", "data=file", f"data.path={path}", "data.blocks=true", "logger=csv"]
        return eckart(*settings, "hydra.run.dir=run")

    return arguments


def _score(rows: int) -> Callable[[Path], Score]:
    def score(folder: Path) -> Score:
        from safetensors import safe_open

        from eckart.results.result import read_result

        result = read_result(folder / "run")
        with safe_open(folder / "run" / "factors.safetensors", framework="np") as factors:
            left, right = factors.get_slice("left"), factors.get_tensor("right").astype("float64")
            first, residual = 0, 0.0
            for block in large_file.blocks(_file(folder.parent, rows)):
                part = block - left[first : first + len(block)].astype("float64") @ right
                residual += float((part * part).sum())
                first += len(block)
        proven = max(result["excess_frobenius_bounds"][1], 0.0) / float(result["optimum_frobenius"])
        return Score(_excess(rows, residual), f"solver={result['solver']}; proven: at most {proven:.0e}")

    return score


def _excess(rows: int, residual: float) -> float:
    """Of a squared residual over the known optimum, relative to it."""
    squares = large_file.singular_values(rows, COLS) ** 2
    return max(0.0, float((residual / squares[RANK:].sum()) ** 0.5 - 1))


def _of_span(rows: int, right: Any) -> float:
    """Excess of the best approximation with given right vectors, orthonormal rows ``(k, n)``."""
    residual = 0.0
    for block in large_file.blocks(_file(scratch(), rows)):
        part = block.astype("float64")
        part -= (part @ right.T) @ right
        residual += float((part * part).sum())
    return _excess(rows, residual)


def _prepared(rows: int, make: Callable[[Path], Callable[[], Any]]) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        path = _file(scratch(), rows)
        task = make(path)

        def score(right: Any) -> Score:
            return Score(_of_span(rows, right.astype("float64"))) if right is not None else Score(0.0)

        return Prepared(task, score, warm_up=lambda: None)

    return prepare


def _read_twice(path: Path) -> Callable[[], Any]:
    def task() -> None:
        for _ in range(2):
            for _ in large_file.blocks(path):
                pass

    return task


def _dask(path: Path) -> Callable[[], Any]:
    import dask.array as da
    import numpy as np

    def task() -> Any:
        mapped = np.load(path, mmap_mode="r")
        array = da.from_array(mapped, chunks=(100_000, COLS))
        _, _, right = da.linalg.svd_compressed(array, k=RANK, n_power_iter=2, compute=True, seed=0)
        return np.asarray(right)

    return task


def _incremental(path: Path) -> Callable[[], Any]:
    from sklearn.decomposition import IncrementalPCA  # type: ignore[import-untyped, unused-ignore]

    def task() -> Any:
        pca = IncrementalPCA(n_components=RANK)
        for block in large_file.blocks(path):
            if len(block) >= RANK:
                pca.partial_fit(block)
        return pca.components_

    return task
