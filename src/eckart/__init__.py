"""Train low-rank models and measure them against the proven optimum.

The public names are imported when they are first asked for, so that ``import eckart`` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# By default MKL chooses its kernels by the alignment of the data: the last bits of a member of a stack depend on its
# place in memory. In this mode, which MKL reads at its first call, they do not.
os.environ.setdefault("MKL_CBWR", "AUTO")

if TYPE_CHECKING:
    from eckart.api.estimators import LowRankApproximation as LowRankApproximation
    from eckart.api.estimators import MatrixCompletion as MatrixCompletion
    from eckart.api.fit import fit as fit
    from eckart.api.result import Result as Result
    from eckart.api.run import run as run
    from eckart.compression.factorize import factorize as factorize
    from eckart.compression.factorized import Factorized as Factorized
    from eckart.data.files.reading import read_matrix as read_matrix
    from eckart.linalg.krylov import randomized_svd as randomized_svd
    from eckart.linalg.optimality import excess as excess
    from eckart.linalg.optimality import optimum as optimum
    from eckart.linalg.optimality import relative_errors as relative_errors
    from eckart.linalg.svd import truncated_svd as truncated_svd
    from eckart.nn.low_rank_linear import LowRankLinear as LowRankLinear
    from eckart.optim.scaled_gd import ScaledGD as ScaledGD

_HOME = {
    "Factorized": "compression.factorized",
    "LowRankApproximation": "api.estimators",
    "LowRankLinear": "nn.low_rank_linear",
    "MatrixCompletion": "api.estimators",
    "Result": "api.result",
    "ScaledGD": "optim.scaled_gd",
    "excess": "linalg.optimality",
    "factorize": "compression.factorize",
    "fit": "api.fit",
    "optimum": "linalg.optimality",
    "randomized_svd": "linalg.krylov",
    "read_matrix": "data.files.reading",
    "relative_errors": "linalg.optimality",
    "run": "api.run",
    "truncated_svd": "linalg.svd",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # pyproject.toml alone says it.
        return importlib.import_module("importlib.metadata").version("eckart")
    if name not in _HOME:
        raise AttributeError(f"module 'eckart' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eckart.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
