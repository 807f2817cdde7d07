"""Steps do not wait for the device: no number is read from a tensor in the loop of steps."""

import functools
import traceback
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from matrices import gaussian
from torch.utils._python_dispatch import TorchDispatchMode

from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.completion import Completion
from eckart.methods.factorization import Factorization
from eckart.methods.factorized_linear import FactorizedLinear
from eckart.methods.matrix import MatrixMethod
from eckart.optim import driver, line_search
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.solver import ALS

STEPS = 64
ADAM = functools.partial(torch.optim.Adam, lr=1e-3, foreach=True)
SCALED = functools.partial(ScaledGD, lr=0.5)
# What copies a number, or a number of results, from the device to the process; the last one copies in the other way.
READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh"}
METHODS: dict[str, Any] = {
    "Adam on batches": functools.partial(
        BottleneckNet, optimizer=ADAM, probes="uniform", vectors=4 * STEPS * 8, batch_size=8
    ),
    "Adam on all probes": functools.partial(BottleneckNet, optimizer=ADAM),
    "Adam on factors": functools.partial(Factorization, optimizer=ADAM),
    "conjugate gradient": functools.partial(BottleneckNet, optimizer=RiemannianCG),
    "a layer": functools.partial(FactorizedLinear, optimizer=RiemannianCG),
    "scaled gradients": functools.partial(Factorization, optimizer=SCALED),
    "least squares": functools.partial(Factorization, optimizer=ALS),
    "completion": functools.partial(Completion, optimizer=RiemannianCG),
    "completion by least squares": functools.partial(Completion, optimizer=ALS),
    "completion by Adam": functools.partial(Completion, optimizer=ADAM),
}
# Where a step waits on a GPU all the same: torch looks there whether an SVD has converged.
WAITS = {"least squares": "linalg/svd.py", "completion by least squares": "linalg/svd.py"}


class Reads(TorchDispatchMode):
    """Counts the reads of numbers by the line of the package that asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__ in READS:
            # The foreach steps of Adam count in numbers of the CPU, wherever the weights are.
            frames = traceback.extract_stack()
            if not any(frame.filename.endswith("torch/optim/adam.py") for frame in frames):
                self.found[
                    next(f"{at.filename}:{at.lineno}" for at in reversed(frames) if "eckart" in at.filename)
                ] += 1
        return function(*args, **(kwargs or {}))


def begun(name: str, device: str = "cpu") -> MatrixMethod:
    matrices = gaussian(3, 12, 10)
    holes = torch.rand(matrices.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    observed = [
        Entries.of_matrix(matrix.masked_fill(hole, torch.nan)) for matrix, hole in zip(matrices, holes, strict=True)
    ]
    target = observed if METHODS[name].func is Completion else Dense(matrices)
    settings = {"ranks": [1, 2, 3], "seeds": [0, 1, 2], "max_steps": 4 * STEPS}
    made = METHODS[name](target, **settings)
    assert isinstance(made, MatrixMethod)
    method = made.to(device)
    method._alone, method._own_optimizer = True, method.configure_optimizers()
    method.on_fit_start()
    method.on_train_start()
    return method


def run(method: MatrixMethod, steps: int) -> None:
    assert method._problem is not None
    stop = method.driver.step_count + steps
    for step in range(method.driver.step_count, stop):
        method.driver.active.fill_(True)
        method._problem.advance(step, method.driver.active)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_reads_no_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a device: on the CPU, numpy takes the numbers of the line search where they are.
    monkeypatch.setattr(line_search, "_HOST", "none")
    method = begun(name)
    # What is prepared once, and the first batches.
    run(method, 16)
    with Reads() as reads:
        run(method, STEPS)
    assert not reads.found


def test_a_block_of_steps_looks_seldom_for_members_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    method = begun("Adam on factors")
    assert method._problem is not None
    monkeypatch.setattr(driver, "_WATCHED", ())
    monkeypatch.setattr(method.driver, "record_every", STEPS)
    with Reads() as reads:
        method.driver.block(method._problem)
    assert method.driver.step_count == STEPS
    # Some more at the end of the block, whatever its length.
    assert STEPS // 16 <= reads.found.total() <= STEPS // 16 + 5


@pytest.mark.parametrize("name", METHODS)
def test_a_step_on_a_gpu_waits_for_nothing(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU whose synchronizations could be counted")
    method = begun(name, "cuda")
    run(method, 16)
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run(method, STEPS)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(f"{one.filename}:{one.lineno}" for one in told if "called a synchronizing" in str(one.message))
    allowed = WAITS.get(name)
    assert not [place for place in places if allowed is None or allowed not in place], places
    # One decomposition in a step, and a look or two for each.
    assert places.total() <= (0 if allowed is None else 4 * STEPS), places
