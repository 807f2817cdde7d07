"""Train low-rank models and measure them against the proven optimum.

The public names are imported when they are first asked for, so that ``import lowrank`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowrank.files.reading import read_matrix as read_matrix
    from lowrank.krylov import randomized_svd as randomized_svd
    from lowrank.layers import MLP as MLP
    from lowrank.layers import Bottleneck as Bottleneck
    from lowrank.layers import LowRankLinear as LowRankLinear
    from lowrank.linalg import gram_svd as gram_svd
    from lowrank.linalg import numerical_rank as numerical_rank
    from lowrank.linalg import singular_values as singular_values
    from lowrank.linalg import truncated_svd as truncated_svd
    from lowrank.metrics import Excess2Norm as Excess2Norm
    from lowrank.metrics import ExcessFrobenius as ExcessFrobenius
    from lowrank.metrics import NumericalRank as NumericalRank
    from lowrank.metrics import Relative2Norm as Relative2Norm
    from lowrank.metrics import RelativeFrobenius as RelativeFrobenius
    from lowrank.metrics import excess as excess
    from lowrank.metrics import optimum as optimum
    from lowrank.metrics import relative_2norm as relative_2norm
    from lowrank.metrics import relative_errors as relative_errors
    from lowrank.metrics import relative_frobenius as relative_frobenius
    from lowrank.objectives import KnownTarget as KnownTarget
    from lowrank.objectives import ObservedEntries as ObservedEntries
    from lowrank.optim import RiemannianCG as RiemannianCG
    from lowrank.results import read_result as read_result
    from lowrank.scaled_gd import ScaledGD as ScaledGD

_MODULES = {
    "files.reading": ["read_matrix"],
    "krylov": ["randomized_svd"],
    "layers": ["MLP", "Bottleneck", "LowRankLinear"],
    "linalg": ["gram_svd", "numerical_rank", "singular_values", "truncated_svd"],
    "metrics": [
        "Excess2Norm",
        "ExcessFrobenius",
        "NumericalRank",
        "Relative2Norm",
        "RelativeFrobenius",
        "excess",
        "optimum",
        "relative_2norm",
        "relative_errors",
        "relative_frobenius",
    ],
    "objectives": ["KnownTarget", "ObservedEntries"],
    "optim": ["RiemannianCG"],
    "results": ["read_result"],
    "scaled_gd": ["ScaledGD"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lowrank' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lowrank.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
