"""Gradient descent over single entries, as in the lab's exercise on completion."""

from collections.abc import Callable, Iterable
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared
from eckart.benchmarks.goals import error_at_most, faster_than

ROWS, COLS, RANK, JUDGED = 200, 100, 5, 3
LAB, NUMBERS = "the lab's loop, tensors", "the same loop, Python's numbers"


def cases(quick: bool) -> Iterable[Case]:
    """One case; of the loops a part of the epochs is run."""
    epochs = 100 if quick else 1000
    yield Case(
        "entrywise_sgd",
        f"entrywise SGD on {ROWS}×{COLS}, half observed, rank {RANK}, {epochs} epochs",
        [
            Contender("eckart, optimizer=entrywise_sgd", lambda: _ours(epochs)),
            _loop(LAB, "tensors", 1 if quick else 3, epochs),
            _loop(NUMBERS, "numbers", 5 if quick else 50, epochs),
        ],
        accuracy=f"largest difference of a factor from that of plain Python numbers, after {JUDGED} epochs",
        goals=[faster_than(LAB, 1000), error_at_most(0.0)],
        budget=6.0,
        patience=1000.0,
    )


def _ours(epochs: int) -> Prepared:
    import torch

    from eckart.linalg.entries import Entries
    from eckart.optim.entrywise_sgd import EntrywiseSGD
    from eckart.optim.fit import fit
    from eckart.optim.objectives import ObservedEntries

    matrix, mask, u, v = _problem()
    entries = Entries.of_matrix(torch.from_numpy(matrix), torch.from_numpy(mask))

    def run(count: int) -> Any:
        left, right = torch.from_numpy(u)[None], torch.from_numpy(v).mT[None]
        return fit(
            ObservedEntries([entries]), left, right, EntrywiseSGD, max_steps=count, tolerance=0.0, record_every=count
        )

    def score(_: Any) -> float:
        found = run(JUDGED)
        return _difference(found.left[0].numpy(), found.right[0].mT.numpy())

    return Prepared(lambda: run(epochs), score, warm_up=lambda: run(1))


def _loop(name: str, kind: str, part: int, epochs: int) -> Contender:
    def prepare() -> Prepared:
        from eckart.benchmarks.peers import lab_loop

        loop: Callable[..., Any] = getattr(lab_loop, kind)
        problem = _problem()
        # One pass warms up.
        return Prepared(
            lambda: loop(*problem, part),
            lambda _: _difference(*loop(*problem, JUDGED)),
            warm_up=lambda: loop(*problem, 1),
        )

    note = f"{part} epochs were run, times {epochs // part}"
    return Contender(name, prepare, threads=1, times=epochs / part, note=note)


def _problem() -> tuple[Any, Any, Any, Any]:
    import numpy as np

    draw = np.random.default_rng(0)
    matrix = draw.uniform(size=(ROWS, RANK)) @ draw.uniform(size=(RANK, COLS)) / RANK
    mask = draw.uniform(size=matrix.shape) < 0.5
    return matrix, mask, draw.uniform(size=(ROWS, RANK)), draw.uniform(size=(COLS, RANK))


def _difference(left: Any, right: Any) -> float:
    from eckart.benchmarks.peers import lab_loop

    u, v = lab_loop.numbers(*_problem(), JUDGED)
    return float(max(abs(left - u).max(), abs(right - v).max()))
