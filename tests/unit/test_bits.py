"""A member of a stack has the same bits alone and among any neighbors, on one thread of a CPU."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from matrices import gaussian
from torch import Tensor

from eckart.linalg.gram import gram_svd
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.norms import residual_norms
from eckart.linalg.svd import balance, factor_singular_values, singular_values, truncated_svd
from eckart.optim.objectives import solve_damped

# Sizes of members that end inside a vector of the processor, so that the next one starts there.
SHAPES = [(7, 9), (9, 7), (5, 5), (33, 31), (10, 10)]
CALLS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "product": lambda x: (x @ x.mT,),
    "truncated_svd": lambda x: truncated_svd(x, 5),
    "gram_svd": lambda x: gram_svd(x, 5),
    "randomized_svd": lambda x: randomized_svd(x, 1, oversampling=0),
    "singular_values": lambda x: (singular_values(x),),
    "singular_values of a tall matrix": lambda x: (singular_values(x[..., :3]),),
    "factor_singular_values": lambda x: (factor_singular_values(x, x.mT),),
    "balance": lambda x: balance(x, x.mT),
    "residual_norms": lambda x: residual_norms(x, x[..., :2], x[..., :2, :]),
    "solve_damped": lambda x: (solve_damped(x @ x.mT, x, 1e-3),),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_member_has_the_bits_that_it_has_alone(name: str, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    stack = gaussian(12, *shape, dtype=dtype)
    whole = CALLS[name](stack)
    for places in ([3], [11, 0], [5, 4, 1, 7, 10]):
        for found, expected in zip(CALLS[name](stack[places]), whole, strict=True):
            assert torch.equal(found, expected[places])


@pytest.mark.parametrize(("before", "after"), [(None, "AUTO"), ("COMPATIBLE", "COMPATIBLE")])
def test_importing_the_package_asks_for_reproducible_products_unless_told_otherwise(
    before: str | None, after: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    environment |= {} if before is None else {"MKL_CBWR": before}
    code = "import eckart, os; print(os.environ['MKL_CBWR'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == after
