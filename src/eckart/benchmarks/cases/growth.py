"""How costs grow with the size n, the rank k, and the number of jobs J."""

from collections.abc import Iterable
from typing import Any

from eckart.benchmarks.case import Case, Contender, Point, Prepared
from eckart.benchmarks.cases import svd

PEERS = ("numpy.linalg.svd", "torch.linalg.svd", "SciPy svds, arpack", "randomized_svd, n_iter=20")
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
    return Case(
        name,
        f"{size}×{size}, rank {rank}, decaying spectrum",
        [svd.ours(size, size, rank, "decaying"), *svd.peers(size, size, rank, "decaying", PEERS)],
        accuracy=svd.EXCESS,
        level=svd.LEVEL,
        budget=1.5,
        # Where a peer is far behind, the plot needs its point all the same.
        patience=200.0,
        point=point,
    )


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
