"""Truncated SVD of a sparse matrix, which is never made dense."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import error_at_most, within_of_fastest
from eckart.benchmarks.peers import svds

RANK, LEVEL = 20, 1e-6


def cases(quick: bool) -> Iterable[Case]:
    """One case: entries in random places, whose sizes fall with the row and the column, as counts do."""
    rows, cols, entries = (20_000, 2000, 200_000) if quick else (1_000_000, 100_000, 10_000_000)
    yield Case(
        "sparse_svd",
        f"sparse {rows:,}×{cols:,} with {entries:,} entries, rank {RANK}",
        [
            Contender("eckart, solver=auto", partial(_ours, rows, cols, entries)),
            _peer("SciPy svds, arpack", partial(_svds, "arpack"), rows, cols, entries),
            _peer("SciPy svds, propack", partial(_svds, "propack"), rows, cols, entries),
            _peer("SciPy svds, lobpcg", partial(_svds, "lobpcg"), rows, cols, entries),
            _peer("PRIMME svds", _primme, rows, cols, entries, ("primme",)),
            _peer("randomized_svd", _randomized, rows, cols, entries),
            _peer("randomized_svd, n_iter=20", partial(_randomized, n_iter=20), rows, cols, entries),
        ],
        accuracy="largest residual of a triplet, relative to the largest singular value",
        level=LEVEL,
        goals=[error_at_most(LEVEL), within_of_fastest(1.2, LEVEL)],
        note="A product with AᵀA takes 36 ms of one processor, whose time goes into reading 240 MB, and 67 of them are "
        "needed by a basis of single vectors that is never restarted; blocks of 4 vectors need 104.",
        budget=3.0 if quick else 12.0,
        patience=4.0,
    )


def _ours(rows: int, cols: int, entries: int) -> Prepared:
    from eckart.linalg.conversion import as_operator
    from eckart.methods.svd import SVD

    matrix = _matrix(rows, cols, entries)

    def task() -> Any:
        # The peers begin with a matrix of SciPy too, so that the copies of ours count.
        made = SVD(as_operator(matrix), solver="auto", tolerance=LEVEL, ranks=[RANK], seeds=[0])
        made.decompose()
        return made

    def score(made: Any) -> Score:
        left, right = (factor[0].numpy() for factor in made.factors())
        return Score(_residual(matrix, *_triplets(left, right)), str(made.fields(0).get("solver")))

    return Prepared(task, score)


def _triplets(left: Any, right: Any) -> tuple[Any, Any, Any]:
    """``u, s, vh`` of factors whose sides share the square roots of the singular values."""
    import numpy as np

    values = np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=1)
    return left / np.sqrt(values), values, right / np.sqrt(values)[:, None]


def _peer(
    name: str, load: Callable[[], Any], rows: int, cols: int, entries: int, needs: tuple[str, ...] = ()
) -> Contender:
    def prepare() -> Prepared:
        matrix, decompose = _matrix(rows, cols, entries), load()
        return Prepared(lambda: decompose(matrix), lambda triplets: _residual(matrix, *triplets))

    return Contender(name, prepare, needs)


def _svds(solver: str) -> Callable[[Any], Any]:
    from scipy.sparse.linalg import svds as decompose

    return lambda matrix: decompose(matrix, RANK, solver=solver, tol=svds.TOLERANCE, maxiter=1000, rng=0)


def _primme() -> Callable[[Any], Any]:
    import primme

    return lambda matrix: primme.svds(matrix, RANK, tol=LEVEL)


def _randomized(n_iter: int | str = "auto") -> Callable[[Any], Any]:
    from sklearn.utils.extmath import randomized_svd

    return lambda matrix: randomized_svd(matrix, RANK, n_iter=n_iter, random_state=0)


def _matrix(rows: int, cols: int, entries: int) -> Any:
    import numpy as np
    import scipy.sparse

    from eckart.benchmarks.scratch import kept

    def draw() -> Any:
        source = np.random.default_rng(0)
        # As often as words or items are: the share of a column falls as its number grows.
        place = (cols * source.uniform(size=entries) ** 2).astype(np.int32)
        row = source.integers(rows, size=entries, dtype=np.int32)
        weight = source.standard_exponential(entries) / (1 + place / 100) ** 0.25
        return np.stack([row, place, weight])

    row, place, weight = kept(f"sparse-{entries}", draw)
    return scipy.sparse.coo_array((weight, (row.astype(np.int32), place.astype(np.int32))), shape=(rows, cols)).tocsr()


def _residual(matrix: Any, left: Any, values: Any, right: Any) -> float:
    from eckart.benchmarks.accuracy import worst_residual

    return worst_residual(matrix, left, values, right)
