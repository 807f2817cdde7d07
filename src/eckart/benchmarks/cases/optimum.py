"""The optimum of a large target, beside the training that is measured against it."""

from collections.abc import Iterable
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import error_at_most, faster_than

RANK = 10
TRAINING = "eckart, method=factorization, the training"


def cases(quick: bool) -> Iterable[Case]:
    """Values that fall as 1/i, and noise, whose values are close to each other."""
    rows, cols = (10_000, 1100) if quick else (20_000, 5000)
    yield Case(
        "optimum_bounds",
        f"the optimum of a target of {rows:,}×{cols:,}, rank {RANK}, within proven bounds",
        [
            Contender("eckart, the optimum", lambda: _optimum(rows, cols)),
            Contender(TRAINING, lambda: _training(rows, cols)),
            Contender("torch.linalg.svdvals", lambda: _values(rows, cols)),
        ],
        accuracy="width of the bounds of the optimum in the Frobenius norm, relative to the optimum",
        goals=[faster_than(TRAINING, 1.0), error_at_most(1e-6)],
        budget=2.0 if quick else 10.0,
        patience=10.0,
        note="The training is timed without the measurement of its errors; what they are measured against is our row.",
    )


def _target(rows: int, cols: int) -> Any:
    import numpy as np
    import torch

    from eckart.benchmarks.scratch import kept

    def make() -> Any:
        draw, inner = np.random.default_rng(0), 100
        left, right = draw.standard_normal((rows, inner)), draw.standard_normal((inner, cols))
        made = (left / (1.0 + np.arange(inner))) @ right
        return made + 0.02 * draw.standard_normal((rows, cols))

    return torch.from_numpy(kept(f"target-{rows}x{cols}", make))


def _optimum(rows: int, cols: int) -> Prepared:
    from eckart.linalg.operators import Dense
    from eckart.linalg.reference import Reference

    operator = Dense(_target(rows, cols)[None])

    def score(found: Any) -> Score:
        zero = operator.matrix.new_zeros(rows, 1), operator.matrix.new_zeros(1, cols)
        low, high = found.bounds(0, *zero, {"relative_frobenius": 1.0})["optimum_frobenius_bounds"]
        return Score((high - low) / high, f"optimum {float(found.optimum[1][0]):.6g}")

    return Prepared(lambda: Reference(operator, [RANK]), score)


def _training(rows: int, cols: int) -> Prepared:
    from eckart.benchmarks.ours import trained

    target = _target(rows, cols)[None]

    return Prepared(lambda: trained(target, [RANK], [0], "factorization", lightning=False))


def _values(rows: int, cols: int) -> Prepared:
    import torch

    target = _target(rows, cols)
    return Prepared(lambda: torch.linalg.svdvals(target))
