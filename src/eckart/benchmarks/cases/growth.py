"""How costs grow with the size n, the rank k, and the number of jobs J."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from eckart.benchmarks.case import Case, Contender, Point, Prepared
from eckart.benchmarks.matrices import known, spectrum
from eckart.benchmarks.peers import svds

LEVEL = 1e-9
EXCESS = "excess of the Frobenius error, relative to the optimum"
OF_N = "Cost of a truncated SVD of rank 10 against the size of the matrix, decaying spectrum"
OF_K = "Cost of a truncated SVD of a matrix of 1000×1000 against the rank, decaying spectrum"
OF_J = "Time per job of the paper's nets against the number of jobs that are trained as one stack"


def cases(quick: bool) -> Iterable[Case]:
    """A case for each point."""
    for size in (128, 256) if quick else (250, 500, 1000, 2000):
        point = Point("n", size, "n, of a matrix n×n", OF_N)
        yield _svd(f"growth_n_{size}", size, 10, point)
    for rank in (10, 50) if quick else (5, 40, 320):
        size = 200 if quick else 1000
        yield _svd(f"growth_k_{rank}", size, rank, Point("k", rank, "rank k", OF_K))
    for jobs in (1, 10) if quick else (1, 3, 10, 30, 100, 300, 1000, 10_000):
        yield _jobs(jobs, 20 if quick else 200)


def _svd(name: str, size: int, rank: int, point: Point) -> Case:
    peers = (
        ("numpy.linalg.svd", svds.numpy_svd),
        ("torch.linalg.svd", svds.torch_svd),
        ("SciPy svds, arpack", partial(svds.scipy_svds, "arpack")),
        ("randomized_svd, n_iter=20", partial(svds.sklearn_randomized, careful=True)),
    )
    return Case(
        name,
        f"{size}×{size}, rank {rank}, decaying spectrum",
        [_ours(size, rank), *(_peer(*peer, size, rank) for peer in peers)],
        accuracy=EXCESS,
        level=LEVEL,
        budget=1.5,
        # Where a peer is far behind, the plot needs its point all the same.
        patience=200.0,
        point=point,
    )


def _ours(size: int, rank: int) -> Contender:
    def prepare() -> Prepared:
        import torch

        from eckart.linalg.operators import Dense
        from eckart.linalg.row_threads import threads
        from eckart.methods.svd import SVD

        matrix = known(size, size, "decaying")
        operator = Dense(torch.from_numpy(matrix)[None])

        def task() -> Any:
            made = SVD(operator, solver="auto", tolerance=svds.TOLERANCE, ranks=[rank], seeds=[0])
            # As many threads as in a run.
            with threads(one=made.one_thread):
                made.decompose()
            return made.factors()

        return Prepared(task, lambda found: _excess(matrix, found[0][0], found[1][0]))

    return Contender("eckart, solver=auto", prepare)


def _peer(name: str, load: Callable[[], svds.Decompose], size: int, rank: int) -> Contender:
    def prepare() -> Prepared:
        matrix, decompose = known(size, size, "decaying"), load()
        return Prepared(lambda: decompose(matrix, rank), lambda factors: _excess(matrix, *factors))

    return Contender(name, prepare)


def _excess(matrix: Any, left: Any, right: Any) -> float:
    from eckart.benchmarks.accuracy import excess

    return excess(matrix, left, right, spectrum("decaying", len(matrix)))


def _jobs(jobs: int, steps: int) -> Case:
    """Two stacks of J nets: time is given per job, as the number of jobs divides it."""
    return Case(
        f"growth_jobs_{jobs}",
        f"{jobs} nets 10×10 as one stack, time per job: to the optimum, and {steps} steps of the paper's recipe",
        [_stack("to the optimum", jobs, {}), _stack(f"the paper's recipe, {steps} steps", jobs, {"max_steps": steps})],
        budget=2.0,
        patience=1000.0,
        point=Point("jobs", jobs, "number of jobs J", OF_J),
    )


def _stack(name: str, jobs: int, options: dict[str, Any]) -> Contender:
    def prepare() -> Prepared:
        import torch

        from eckart.benchmarks import nets
        from eckart.benchmarks.ours import RECIPE, trained

        ranks = [1 + job % 9 for job in range(jobs)]
        targets = torch.from_numpy(nets.targets(jobs))
        settings: dict[str, Any] = {**RECIPE, "vectors": 32 * options["max_steps"], **options} if options else {}
        return Prepared(lambda: trained(targets, ranks, list(range(jobs)), lightning=False, **settings))

    return Contender(name, prepare, times=1 / jobs)
