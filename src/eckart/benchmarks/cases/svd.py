"""Truncated SVD of dense matrices, by shape, rank and spectrum."""

from collections.abc import Callable, Iterable
from functools import partial

from eckart.benchmarks.accuracy import excess
from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import within_of_fastest
from eckart.benchmarks.matrices import known, spectrum
from eckart.benchmarks.peers import svds

SHAPES = ((2000, 2000, 20), (20000, 500, 20), (500, 20000, 5), (3000, 3000, 1500))
SMALL = ((400, 400, 10), (2000, 100, 10), (100, 2000, 5), (300, 300, 150))
SPECTRA = ("flat", "decaying", "clustered")
EXCESS, LEVEL = "excess of the Frobenius error, relative to the optimum", 1e-9
NOTE = (
    f"Every iteration is asked for a residual of {svds.TOLERANCE:.0e} of the largest value. *SciPy eigh of the Gram "
    "matrix* does what solver=gram does, without the trial of an iteration before it, and without a look at what the "
    "square has lost."
)

PEERS: dict[str, tuple[Callable[[], svds.Decompose], tuple[str, ...]]] = {
    "numpy.linalg.svd": (svds.numpy_svd, ()),
    "torch.linalg.svd": (svds.torch_svd, ()),
    "SciPy eigh of the Gram matrix": (svds.scipy_gram, ()),
    "torch.svd_lowrank": (svds.torch_lowrank, ()),
    "torch.svd_lowrank, niter=12": (partial(svds.torch_lowrank, careful=True), ()),
    "randomized_svd": (svds.sklearn_randomized, ()),
    "randomized_svd, n_iter=20": (partial(svds.sklearn_randomized, careful=True), ()),
    "SciPy svds, arpack": (partial(svds.scipy_svds, "arpack"), ()),
    "SciPy svds, propack": (partial(svds.scipy_svds, "propack"), ()),
    "SciPy svds, lobpcg": (partial(svds.scipy_svds, "lobpcg"), ()),
    "PRIMME svds": (svds.primme_svds, ("primme",)),
}


def cases(quick: bool) -> Iterable[Case]:
    """A case for each cell."""
    for rows, cols, rank in SMALL if quick else SHAPES:
        for kind in SPECTRA:
            yield Case(
                name=f"svd_{rows}x{cols}_{kind}",
                title=f"{rows}×{cols}, rank {rank}, {kind} spectrum",
                contenders=[ours(rows, cols, rank, kind), *peers(rows, cols, rank, kind)],
                accuracy=EXCESS,
                level=LEVEL,
                goals=[within_of_fastest(1.2, LEVEL)],
                budget=2.0,
                patience=2.5,
                note=NOTE,
            )


def ours(rows: int, cols: int, rank: int, kind: str) -> Contender:
    """``method=svd`` on a matrix of a known spectrum."""

    def prepare() -> Prepared:
        import torch

        from eckart.linalg.operators import Dense
        from eckart.linalg.row_threads import threads
        from eckart.methods.svd import SVD

        matrix = known(rows, cols, kind)
        operator = Dense(torch.from_numpy(matrix)[None])

        def task() -> SVD:
            # As far as the iterative peers are asked to go.
            method = SVD(operator, solver="auto", tolerance=svds.TOLERANCE, ranks=[rank], seeds=[0])
            # As many threads as in a run.
            with threads(one=method.one_thread):
                method.decompose()
            return method

        def score(method: SVD) -> Score:
            left, right = method.factors()
            error = excess(matrix, left[0], right[0], spectrum(kind, min(rows, cols)))
            return Score(error, f"solver={method.fields(0).get('solver')}")

        return Prepared(task, score)

    return Contender("eckart, solver=auto", prepare)


def peers(rows: int, cols: int, rank: int, kind: str, names: Iterable[str] = tuple(PEERS)) -> Iterable[Contender]:
    """Other decompositions of the same matrix, by their names in the table."""
    for name in names:
        load, needs = PEERS[name]
        yield Contender(name, _peer(load, rows, cols, rank, kind), needs)


def _peer(load: Callable[[], svds.Decompose], rows: int, cols: int, rank: int, kind: str) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        matrix, decompose = known(rows, cols, kind), load()

        def score(factors: svds.Factors) -> float:
            left, right = factors
            return excess(matrix, left, right, spectrum(kind, min(rows, cols)))

        return Prepared(lambda: decompose(matrix, rank), score)

    return prepare
