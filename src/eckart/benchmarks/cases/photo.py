"""The fit of the main job, beside one SVD of its target."""

from collections.abc import Callable, Iterable
from typing import Any

from eckart.benchmarks.case import Case, Contender, Prepared, Score
from eckart.benchmarks.goals import at_most_of
from eckart.benchmarks.peers import svds

RANK = 10
SVD = "torch.linalg.svd"

_NOTE = (
    "A step asks for three products of the 400×400 matrix with ten vectors, which take 0.4 ms on one core, and for "
    "some 200 operations on small arrays, which take twice as long to start; a fit takes about 45 steps."
)
_DRAWN = (
    " Before them the net's 400 probes are drawn and made orthogonal, and 168,000 weights are drawn: on one core that "
    "takes as long as one SVD."
)


def cases(quick: bool) -> Iterable[Case]:
    """The net, and a factor pair."""
    for method in ("bottleneck", "factorization"):
        yield Case(
            f"photo_{method}",
            f"method={method} on the photo, 400×400, rank 10, from images or entries to the optimum",
            [
                _ours(method),
                _peer(SVD, svds.torch_svd),
                _peer("numpy.linalg.svd", svds.numpy_svd),
                _peer("randomized_svd", svds.sklearn_randomized),
            ],
            accuracy="excess of the Frobenius error, relative to the optimum",
            goals=[at_most_of(SVD, 3.0)],
            budget=1.0 if quick else 4.0,
            note=_NOTE + (_DRAWN if method == "bottleneck" else ""),
        )


def _ours(method: str) -> Contender:
    def prepare() -> Prepared:
        import torch

        from eckart.benchmarks.ours import trained

        matrix = _photo()
        target = torch.from_numpy(matrix)[None]

        def score(made: Any) -> Score:
            left, right = (factor.detach()[0].numpy() for factor in made.factors())
            return Score(_excess(matrix, left, right), f"{int(made.driver.steps[0])} steps")

        return Prepared(lambda: trained(target, [RANK], [0], method, lightning=False), score)

    return Contender(f"eckart, method={method}", prepare)


def _peer(name: str, load: Callable[[], svds.Decompose]) -> Contender:
    def prepare() -> Prepared:
        matrix, decompose = _photo(), load()
        return Prepared(lambda: decompose(matrix, RANK), lambda factors: _excess(matrix, *factors))

    return Contender(name, prepare)


def _photo() -> Any:
    from eckart.data.targets import photo

    return photo().numpy()


def _excess(matrix: Any, left: Any, right: Any) -> float:
    import numpy as np

    from eckart.benchmarks.accuracy import excess

    return excess(matrix, left, right, np.linalg.svd(matrix, compute_uv=False))
