"""On a GPU: beside the CPU of the same machine, and beside what people use on one."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from eckart.benchmarks.case import Case, Contender, Point, Prepared, Score
from eckart.benchmarks.device import awaited, device, memory
from eckart.benchmarks.peers import svds

CPU = "cpu"
EXCESS, LEVEL = "excess of the Frobenius error, relative to the optimum", 1e-9
MEAN = "mean distance of the 2-norm error from the optimum, relative to the norm of the target"
WORST = "largest excess over the optimum of any net in either norm, relative to the norm of the target"
OF_J = "Time per job of the paper's nets against the number of jobs, as one stack on a GPU and on the CPU beside it"
DRAWN = (
    "Ours draws the vectors and the first weights of each job on the CPU, from a stream of its own, so that a job has "
    "the same numbers on each device and in each stack; that is in its time. *PyTorch, one batch* draws all of them at "
    "once on the GPU."
)
THERE = "The matrix is on the device before the clock starts."
RANK, MNIST_RANK = 20, 16
# Rows and columns of what is decomposed to load the libraries, whose first call takes seconds.
FEW = 200


def cases(quick: bool) -> Iterable[Case]:
    """Stacks of nets, truncated SVDs, a rank reduction and a factorization."""
    for jobs in (2, 10) if quick else (10, 100, 1000, 10_000):
        yield _recipe(jobs, 64 if quick else 640)
        yield _optimum(jobs)
    for rows, cols in ((300, 200), (400, 120)) if quick else ((2000, 2000), (20_000, 500)):
        yield _svd(rows, cols)
    yield _reduction(1000 if quick else 60_000)
    yield _factorization(150 if quick else 4000, 5 if quick else 50)


def _recipe(jobs: int, vectors: int) -> Case:
    epochs = 10
    steps = epochs * -(-vectors // 32)
    return Case(
        f"gpu_recipe_{jobs}",
        f"{jobs:,} nets 10×10 in the paper's recipe, {steps} steps, time per job",
        [
            _stack("eckart, GPU", jobs, vectors, steps),
            _stack("eckart, CPU", jobs, vectors, steps, on_cpu=True),
            Contender("PyTorch, one batch", lambda: _batch(jobs, vectors, epochs), times=1 / jobs),
            Contender("PyTorch, one after another", lambda: _alone(vectors, epochs), note="one net was trained"),
        ],
        accuracy=MEAN,
        budget=2.0,
        patience=1000.0,
        gpu=True,
        point=Point("gpu_recipe", jobs, "number of jobs J", f"{OF_J}: {steps} steps of the paper's recipe"),
        note=DRAWN,
    )


def _optimum(jobs: int) -> Case:
    return Case(
        f"gpu_optimum_{jobs}",
        f"{jobs:,} nets 10×10 to the optimum, time per job",
        [_stack("eckart, GPU", jobs), _stack("eckart, CPU", jobs, on_cpu=True)],
        accuracy=WORST,
        budget=2.0,
        patience=1000.0,
        gpu=True,
        point=Point("gpu_optimum", jobs, "number of jobs J", f"{OF_J}: to the optimum"),
    )


def _svd(rows: int, cols: int) -> Case:
    return Case(
        f"gpu_svd_{rows}x{cols}",
        f"{rows}×{cols}, rank {RANK}, decaying spectrum, float64",
        [
            Contender("eckart, solver=auto, GPU", lambda: _ours_svd(rows, cols, device())),
            Contender("eckart, solver=auto, CPU", lambda: _ours_svd(rows, cols, CPU)),
            Contender("torch.linalg.svd", lambda: _peer(svds.torch_svd(), rows, cols, RANK)),
            Contender("torch.svd_lowrank", lambda: _peer(svds.torch_lowrank(), rows, cols, RANK)),
            Contender("torch.svd_lowrank, niter=12", lambda: _peer(svds.torch_lowrank(careful=True), rows, cols, RANK)),
        ],
        accuracy=EXCESS,
        level=LEVEL,
        budget=1.5,
        patience=40.0,
        gpu=True,
        note=THERE,
    )


def _reduction(images: int) -> Case:
    return Case(
        "gpu_reduction",
        f"rank reduction of MNIST, {images:,}×784, rank {MNIST_RANK}, with the errors of all ranks",
        [
            Contender("eckart, Gram matrix, GPU", lambda: _ours_reduction(images, device())),
            Contender("eckart, Gram matrix, CPU", lambda: _ours_reduction(images, CPU)),
            Contender("torch.linalg.svd, float32", lambda: _peer_reduction(svds.torch_svd(), images, "float32")),
            Contender(
                "torch.svd_lowrank, niter=12, float64",
                lambda: _peer_reduction(svds.torch_lowrank(careful=True), images, "float64"),
            ),
        ],
        accuracy=EXCESS,
        level=LEVEL,
        budget=1.5,
        patience=40.0,
        gpu=True,
        note=f"{THERE} Truncated decompositions give the errors of no other rank; the full one and ours do.",
    )


def _factorization(size: int, rank: int) -> Case:
    return Case(
        "gpu_factorization",
        f"method=factorization of {size:,}×{size:,}, rank {rank}, values as 1/i, to the optimum",
        [
            Contender("eckart, method=factorization, GPU", lambda: _trained(size, rank, device())),
            Contender("eckart, method=factorization, CPU", lambda: _trained(size, rank, CPU)),
            Contender("torch.linalg.svd", lambda: _peer(svds.torch_svd(), size, size, rank)),
            Contender("torch.svd_lowrank, niter=12", lambda: _peer(svds.torch_lowrank(careful=True), size, size, rank)),
        ],
        accuracy=EXCESS,
        level=LEVEL,
        budget=3.0,
        patience=40.0,
        gpu=True,
        note="The training brings its matrix to the GPU in its time; to the decompositions it is brought before.",
    )


def _stack(
    name: str, jobs: int, vectors: int | None = None, steps: int | None = None, *, on_cpu: bool = False
) -> Contender:
    """A stack of jobs, from its making to its factors; without a number of steps, to the optimum."""

    def prepare() -> Prepared:
        import torch

        from eckart.benchmarks import nets
        from eckart.benchmarks.ours import RECIPE, trained

        matrices, ranks = nets.targets(jobs), _ranks(jobs)
        options: dict[str, Any] = {} if steps is None else {**RECIPE, "vectors": vectors, "max_steps": steps}
        where = CPU if on_cpu else device()

        def train(count: int) -> Any:
            targets, seeds = torch.from_numpy(matrices[:count]), list(range(count))
            return trained(targets, ranks[:count], seeds, lightning=False, device=where, **options)

        def score(made: Any) -> Score:
            left, right = (factor.detach().double().cpu() for factor in made.factors())
            found = nets.excesses(list(matrices), list((left @ right).numpy()), ranks)
            said = f"the steps alone take {made.fit_seconds:.3g} s"
            return Score(float(found.max() if steps is None else found[:, 0].mean()), _also(said, on_cpu))

        # Of the same kinds of operations, which are loaded or compiled where they run first.
        return Prepared(awaited(lambda: train(jobs), where), score, warm_up=lambda: train(min(jobs, 10)))

    return Contender(name, prepare, times=1 / jobs)


def _batch(jobs: int, vectors: int, epochs: int) -> Prepared:
    from eckart.benchmarks import nets
    from eckart.benchmarks.peers.torch_recipe import batched

    matrices, ranks = nets.targets(jobs), _ranks(jobs)

    def score(products: Any) -> Score:
        return Score(float(nets.excesses(list(matrices), products, ranks)[:, 0].mean()), memory())

    return Prepared(
        awaited(lambda: batched(matrices, ranks, vectors, epochs, device())),
        score,
        warm_up=lambda: batched(matrices[:10], ranks[:10], 64, 1, device()),
    )


def _alone(vectors: int, epochs: int) -> Prepared:
    from eckart.benchmarks import nets
    from eckart.benchmarks.peers.torch_recipe import sliced

    matrix, rank = nets.targets(1)[0], 5

    def score(product: Any) -> Score:
        return Score(float(nets.excesses([matrix], [product], [rank])[0, 0]), memory())

    return Prepared(
        awaited(lambda: sliced(matrix, rank, vectors, epochs, device())),
        score,
        warm_up=lambda: sliced(matrix, rank, 64, 1, device()),
    )


def _ours_svd(rows: int, cols: int, where: str) -> Prepared:
    from eckart.linalg.choosing_solver import auto_svd

    matrix, judge = _known(rows, cols, where)

    def score(found: Any) -> Score:
        u, s, vh, solver = found
        return Score(judge(u * s, vh), _also(f"solver={solver}", where == CPU))

    # As far as the iterative peers of the svd cases are asked to go.
    return Prepared(
        awaited(lambda: auto_svd(matrix, RANK, tolerance=svds.TOLERANCE), where),
        score,
        warm_up=lambda: auto_svd(matrix[:FEW, :FEW], RANK, tolerance=svds.TOLERANCE),
    )


def _peer(decompose: svds.Decompose, rows: int, cols: int, rank: int) -> Prepared:
    matrix, judge = _known(rows, cols, device())
    return Prepared(
        awaited(lambda: decompose(matrix, rank)),
        lambda factors: Score(judge(*factors), memory()),
        warm_up=lambda: decompose(matrix[:FEW, :FEW], rank),
    )


def _trained(size: int, rank: int, where: str) -> Prepared:
    from eckart.benchmarks.ours import trained

    matrix, judge = _known(size, size, CPU)

    def score(made: Any) -> Score:
        left, right = (factor[0].detach() for factor in made.factors())
        said = f"{int(made.driver.steps[0])} steps in {made.fit_seconds:.3g} s"
        return Score(judge(left, right), _also(said, where == CPU))

    task = partial(trained, ranks=[rank], seeds=[0], method="factorization", lightning=False, device=where)
    return Prepared(
        awaited(lambda: task(matrix[None]), where), score, warm_up=lambda: task(matrix[None, :FEW, :FEW].contiguous())
    )


def _known(rows: int, cols: int, where: str) -> tuple[Any, Callable[[Any, Any], float]]:
    """A matrix whose values fall as 1/i, on a device, and the judge of its factors."""
    import torch

    from eckart.benchmarks.accuracy import excess
    from eckart.benchmarks.matrices import known, spectrum

    matrix = known(rows, cols, "decaying")
    values = spectrum("decaying", min(rows, cols))
    return torch.from_numpy(matrix).to(where), lambda left, right: excess(matrix, left.cpu(), right.cpu(), values)


def _ours_reduction(images: int, where: str) -> Prepared:
    import torch

    from eckart.benchmarks.ours import reduced

    pixels, judge = _images(images)
    matrix = torch.from_numpy(pixels).to(where)

    def score(found: Any) -> Score:
        (u, s, vh), errors = found
        return Score(judge(u * s, vh), _also(f"errors of {len(errors)} ranks", where == CPU))

    return Prepared(
        awaited(lambda: reduced(matrix, MNIST_RANK), where), score, warm_up=lambda: reduced(matrix[:1000], MNIST_RANK)
    )


def _peer_reduction(decompose: svds.Decompose, images: int, kind: str) -> Prepared:
    import torch

    pixels, judge = _images(images)
    matrix = torch.from_numpy(pixels.astype(kind)).to(device())
    return Prepared(
        awaited(lambda: decompose(matrix, MNIST_RANK)),
        lambda factors: Score(judge(*factors), memory()),
        warm_up=lambda: decompose(matrix[:1000], MNIST_RANK),
    )


def _images(count: int) -> tuple[Any, Callable[[Any, Any], float]]:
    """The images as rows of bytes, and the judge of their factors."""
    from eckart.benchmarks.cases import mnist

    return mnist.images_of(count, "uint8"), lambda left, right: mnist.excess_of(count, left.cpu(), right.cpu())


def _ranks(jobs: int) -> Sequence[int]:
    return [1 + job % 9 for job in range(jobs)]


def _also(said: str, on_cpu: bool) -> str:
    return "; ".join(part for part in (said, "" if on_cpu else memory()) if part)
