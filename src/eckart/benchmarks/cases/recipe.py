"""The paper's nets: its recipe, and ours."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import at_most_of, error_at_most, faster_than

KERAS = ("keras", "tensorflow")
ALL_KERAS = "recipe_table_all"
MEAN = "mean distance of the 2-norm error from the optimum, relative to the norm of the target"
WORST = "largest excess over the optimum of any net in either norm, relative to the norm of the target"


def cases(quick: bool) -> Iterable[Case]:
    """One net, the whole table in the paper's recipe, and the whole table in ours."""
    vectors = 640 if quick else 10_000
    size = f"{vectors:,} vectors × 10 epochs"
    yield Case(
        "recipe_net",
        f"the paper's recipe, one net 10×10 of rank 5, {size}",
        [
            _ours("eckart, in Lightning's trainer", [5], 1, vectors),
            _nets("PyTorch, slices and fused Adam", _torch("sliced"), [5], vectors),
            _nets("PyTorch, DataLoader", _torch("loaded"), [5], vectors),
            _nets("Lightning, self.log at each step", _torch("lightning"), [5], vectors),
            _keras("Keras", [5], vectors),
            _keras("Keras, steps_per_execution=100", [5], vectors, steps=100),
        ],
        accuracy=MEAN,
        goals=[at_most_of("PyTorch, slices and fused Adam", 1.0), faster_than("Keras", 2.5)],
        budget=10.0,
    )
    each = "one of ten seeds was trained, times 10"
    slow = [
        _keras("Keras, one after another", NINE, vectors, times=10.0, note=each),
        _nets("PyTorch, slices and fused Adam", _torch("sliced"), NINE, vectors, times=10.0, note=each),
    ]
    yield Case(
        "recipe_table",
        f"the paper's recipe, 90 nets 10×10 of ranks 1 to 9, {size}",
        [_ours("eckart, one stack", NINE, 10, vectors), *slow],
        accuracy=MEAN,
        goals=[faster_than("Keras, one after another", 80)],
        budget=12.0,
        patience=1000.0,
    )
    yield Case(
        ALL_KERAS,
        f"the paper's recipe, 90 nets, each of them in Keras too, {size}",
        [
            _ours("eckart, one stack", NINE, 10, vectors),
            _keras("Keras, one after another", [*NINE] * 10, vectors),
        ],
        accuracy=MEAN,
        goals=[faster_than("Keras, one after another", 80)],
        budget=12.0,
        patience=1000.0,
        asked_only=True,
    )
    yield Case(
        "optimum_table",
        "90 nets 10×10 of ranks 1 to 9: to the optimum, and as far as the paper's recipe comes",
        [_optimum(), slow[0]],
        accuracy=WORST,
        goals=[error_at_most(1e-6), faster_than("Keras, one after another", 1000)],
        budget=12.0,
        patience=10_000.0,
    )


NINE = tuple(range(1, 10))


def _ours(name: str, ranks: Sequence[int], seeds: int, vectors: int) -> Contender:
    def prepare() -> Prepared:
        import torch

        from eckart.benchmarks import nets
        from eckart.benchmarks.ours import RECIPE, trained

        every = [*ranks] * seeds
        numbers = [seed for seed in range(seeds) for _ in ranks]
        matrices = nets.targets(seeds)[numbers]
        options: dict[str, Any] = {**RECIPE, "vectors": vectors, "max_steps": 10 * -(-vectors // 32)}

        def task() -> Any:
            return trained(torch.from_numpy(matrices), every, numbers, **options).factors()

        # What is compiled at the first call is of a short training here.
        short = {**options, "max_steps": 20}
        return Prepared(
            task,
            lambda factors: _mean(matrices, _products(factors), every),
            warm_up=lambda: trained(torch.from_numpy(matrices), every, numbers, **short),
        )

    return Contender(name, prepare)


def _optimum() -> Contender:
    def prepare() -> Prepared:
        import torch

        from eckart.benchmarks import nets
        from eckart.benchmarks.ours import trained

        ranks = [*NINE] * 10
        numbers = [seed for seed in range(10) for _ in NINE]
        matrices = nets.targets(10)[numbers]

        def score(factors: Any) -> float:
            return float(nets.excesses(list(matrices), _products(factors), ranks).max())

        return Prepared(lambda: trained(torch.from_numpy(matrices), ranks, numbers).factors(), score)

    return Contender("eckart, one stack", prepare)


def _nets(
    name: str,
    load: Callable[[], Any],
    ranks: Sequence[int],
    vectors: int,
    *,
    needs: Sequence[str] = (),
    threads: int | None = 1,
    times: float = 1.0,
    note: str = "",
) -> Contender:
    """Nets that are trained one after another, on one thread, which is faster at this size."""

    def prepare() -> Prepared:
        from eckart.benchmarks import nets

        train = load()
        seeds = -(-len(ranks) // 9)
        matrices = nets.targets(seeds)[[number // 9 for number in range(len(ranks))]]

        def task() -> list[Any]:
            return [train(matrix, rank, vectors, 10) for matrix, rank in zip(matrices, ranks, strict=True)]

        return Prepared(
            task,
            lambda products: _mean(matrices, products, ranks),
            warm_up=lambda: train(matrices[0], ranks[0], 320, 1),
        )

    return Contender(name, prepare, needs, threads, times, note)


def _keras(
    name: str, ranks: Sequence[int], vectors: int, *, steps: int = 1, times: float = 1.0, note: str = ""
) -> Contender:
    def load() -> Any:
        from eckart.benchmarks.peers.keras_recipe import trained

        return partial(trained, steps_per_execution=steps)

    return _nets(name, load, ranks, vectors, needs=KERAS, threads=None, times=times, note=note)


def _torch(name: str) -> Callable[[], Any]:
    def load() -> Any:
        from eckart.benchmarks.peers import torch_recipe

        return getattr(torch_recipe, name)

    return load


def _products(factors: Any) -> list[Any]:
    left, right = (factor.detach().double() for factor in factors)
    return list((left @ right).numpy())


def _mean(matrices: Any, products: Any, ranks: Sequence[int]) -> Score:
    from eckart.benchmarks import nets

    found = nets.excesses(list(matrices), products, ranks)
    return Score(float(found[:, 0].mean()), f"largest excess of a net {found.max():.1e}")
