"""Targets larger than memory: passes over blocks, and the truncated SVD with its bounds, against dense computations."""

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import torch
from matrices import gaussian
from torch import Tensor

from eckart.linalg import blocks, out_of_core
from eckart.linalg.blocked_reference import BlockedReference
from eckart.linalg.blocks import Blocked, Stored
from eckart.linalg.operators import Dense
from eckart.linalg.out_of_core import decompose, leading
from eckart.linalg.reference import Reference


def matrix(rows: int, cols: int, decay: float = 0.8, dtype: torch.dtype = torch.float64) -> Tensor:
    """A matrix with the singular values ``decay ** i``."""
    draw = torch.Generator().manual_seed(rows + cols)
    u, v = (torch.linalg.qr(torch.randn(side, cols, dtype=torch.float64, generator=draw)).Q for side in (rows, cols))
    return ((u * decay ** torch.arange(cols, dtype=torch.float64)) @ v.mT).to(dtype)


def blocked(tall: Tensor, *, transposed: bool = False, scale: float = 1.0) -> Blocked:
    return Blocked(Stored(tall, height=700), transposed=transposed, scale=scale)


@pytest.mark.parametrize("transposed", [False, True])
def test_products_by_blocks_are_those_of_the_whole(transposed: bool) -> None:
    tall = matrix(1500, 20, dtype=torch.float32)
    operator = blocked(tall, transposed=transposed, scale=-2.0)
    dense = Dense(-2 * (tall.mT if transposed else tall).double())
    x = torch.randn(1, 3, operator.shape[1], dtype=torch.float64)
    y = torch.randn(1, 3, operator.shape[0], dtype=torch.float64)
    torch.testing.assert_close(operator.images(x), dense.images(x), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(operator.transpose_images(y), dense.transpose_images(y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(operator.dense(), dense.dense(), rtol=0, atol=0)
    left, right = y[:, :2].mT.contiguous(), x[:, :2].contiguous()
    assert operator.passes == 3
    torch.testing.assert_close(operator.gram_images(x), dense.gram_images(x), rtol=1e-12, atol=1e-12)
    assert operator.passes == (5 if transposed else 4)
    operator.passes = 3
    found, wanted = (each.residual_products(left, right, dense.squares()) for each in (operator, dense))
    assert operator.passes == 4
    for part, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-11, atol=1e-11)


def test_a_gram_matrix_in_float32_is_within_its_bound() -> None:
    tall = matrix(2000, 130, decay=0.97, dtype=torch.float32)
    exact = tall.double().mT @ tall.double()
    for dtype in (torch.float32, torch.float64):
        gram = blocked(tall).gram(dtype)
        error = float(torch.linalg.matrix_norm(gram.matrix - exact) / exact.trace())
        assert error <= gram.error
        # The products were computed in that type indeed.
        assert (error > 1e-11) == (dtype == torch.float32)


def test_squares_that_overflow_or_vanish_in_float32_are_computed_in_float64() -> None:
    for unit in (1e-30, 1e25):
        tall = (matrix(600, 5) * unit).float()
        gram = blocked(tall).gram(torch.float32).matrix
        torch.testing.assert_close(gram, tall.double().mT @ tall.double(), rtol=1e-12, atol=0)


def test_an_entry_that_is_not_finite_is_named() -> None:
    tall = matrix(1500, 20, dtype=torch.float32)
    tall[1234, 7] = torch.nan
    for transposed, where in ((False, "row 1235, column 8"), (True, "row 8, column 1235")):
        with pytest.raises(ValueError, match=rf"every entry must be finite\. Found nan in {where} "):
            decompose(blocked(tall, transposed=transposed), 2)


def test_squares_that_overflow_are_no_entries_that_are_not_finite() -> None:
    assert float(blocked(matrix(600, 5) * 1e200).squares()) == torch.inf


def test_a_pass_tells_of_each_of_its_blocks() -> None:
    told: list[int] = []

    @contextlib.contextmanager
    def watch(blocks: int) -> Iterator[Callable[[], object]]:
        told.append(blocks)
        yield lambda: told.append(-1)
        told.append(0)

    operator = blocked(matrix(1500, 20))
    operator.watch = watch
    operator.squares()
    assert told == [3, -1, -1, -1, 0]


def test_an_interrupt_ends_a_pass_after_a_block() -> None:
    reads: list[int] = []

    class Interrupting(Stored):
        def read(self, first: int, out: Tensor) -> None:
            reads.append(first)
            if len(reads) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            super().read(first, out)

    with pytest.raises(KeyboardInterrupt):
        Blocked(Interrupting(matrix(1000, 4), height=10)).squares()
    assert 3 <= len(reads) <= 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.8, 1.0])
@pytest.mark.parametrize("solver", ["gram", "randomized"])
def test_the_optimum_is_in_its_interval_and_the_factors_are_optimal(
    solver: str, decay: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A spectrum that is flat but for rounding: no vectors are better than others.
    monkeypatch.setattr(out_of_core, "_DOUBLE_SIDE", 10)
    tall = matrix(900, 80, decay, dtype)
    spectrum = torch.linalg.svdvals(tall.double())
    best = float(torch.linalg.vector_norm(spectrum[3:]) / torch.linalg.vector_norm(spectrum))
    operator = blocked(tall)
    found = decompose(operator, 3, solver=solver)
    assert leading(operator, 3).solver == solver
    residual = torch.linalg.matrix_norm(tall.double() - found.long.double() @ found.short)
    assert found.error == pytest.approx(float(residual / torch.linalg.vector_norm(spectrum)), abs=1e-13)
    low, high = found.optimum
    assert low <= best * (1 + 1e-13) and best <= high * (1 + 1e-13)
    assert found.error - best <= 1e-6 * best
    # Two passes by a Gram matrix, and a third where float32 cannot tell the singular values from each other.
    if solver == "gram":
        assert operator.passes == (3 if decay == 1 and dtype == torch.float32 else 2)
        assert found.error - low <= 1e-6 * best


def test_passes_are_certified_only_as_far_as_they_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    # Vectors that are far from singular ones: the interval is wide, and holds the optimum all the same.
    tall = matrix(900, 80)
    spectrum = torch.linalg.svdvals(tall)
    best = float(torch.linalg.vector_norm(spectrum[3:]) / torch.linalg.vector_norm(spectrum))
    operator = blocked(tall)
    found = leading(operator, 3)
    turned = torch.linalg.qr(found.v + 0.2 * torch.randn(found.v.shape, dtype=torch.float64)).Q
    operator.memory["leading"] = dataclasses.replace(found, v=turned, outside=float(spectrum[0]))
    result = decompose(operator, 3)
    low, high = result.optimum
    assert low <= best <= high
    assert result.error > best * 1.001
    assert low < 0.9 * best


def test_one_thread_and_two_agree_and_equal_calls_are_equal() -> None:
    tall = matrix(1500, 20, dtype=torch.float32)
    first, second = (blocked(tall).gram(torch.float32).matrix for _ in range(2))
    assert torch.equal(first, second)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        other = blocked(tall).gram(torch.float32).matrix
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_reference_measures_what_a_dense_one_does_without_another_pass(transposed: bool) -> None:
    tall = matrix(1500, 20)
    operator = blocked(tall, transposed=transposed)
    reference = BlockedReference(operator, [4])
    dense = Reference(Dense(tall.mT if transposed else tall), [4])
    zero = torch.zeros(()).expand(1, operator.shape[0], 4), torch.zeros(()).expand(1, 4, operator.shape[1])
    assert float(reference.errors(*zero)["relative_2norm"]) == pytest.approx(1)
    found = decompose(operator, 4)
    pair = (found.short.mT, found.long.mT) if transposed else (found.long, found.short)
    factors = pair[0][None], pair[1][None]
    measured, wanted = reference.errors(*factors), dense.errors(*factors)
    assert operator.passes == 2
    for name, value in wanted.items():
        torch.testing.assert_close(measured[name], value, rtol=1e-9, atol=1e-9)
    bounds = reference.bounds(0, factors[0][0], factors[1][0], {name: float(value) for name, value in measured.items()})
    for name in ("optimum_2norm", "optimum_frobenius"):
        exact = float(dense.optimum[name == "optimum_frobenius"])
        assert bounds[f"{name}_bounds"][0] <= exact <= bounds[f"{name}_bounds"][1] * (1 + 1e-15)
    for name in ("excess_2norm", "excess_frobenius"):
        low, high = bounds[f"{name}_bounds"]
        assert low <= float(wanted[name]) <= high and high - low < 1e-6
    # Other factors are measured by another pass, of the same shape too.
    others = factors[0] * 1.5, factors[1] * 2
    torch.testing.assert_close(
        reference.errors(*others)["relative_2norm"], dense.errors(*others)["relative_2norm"], rtol=1e-9, atol=0
    )
    assert operator.passes == 3
    values = reference.singular_values(*(factor[0] for factor in factors))
    torch.testing.assert_close(values, torch.linalg.svdvals(tall)[:4], rtol=1e-9, atol=0)


def test_images_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LARGEST", 5000)
    with pytest.raises(ValueError, match=r"at most 5000 entries together: ask for fewer vectors\. Found 4 of 1500"):
        blocked(matrix(1500, 20)).images(torch.zeros(1, 4, 20))


def test_bounds_of_an_excess_hold_it_where_it_is_lost_in_the_rounding_of_squares() -> None:
    for seed in range(8):
        matrix = gaussian(300, 4, seed=seed) @ gaussian(4, 60 + seed, seed=seed + 100)
        operator = Blocked(Stored(matrix))
        found = decompose(operator, 4)
        left, right = found.long.clone(), found.short
        left[0] += 3e-7 * left[1].norm()
        measured = BlockedReference(operator, [4])
        errors = {name: float(error) for name, error in measured.errors(left[None], right[None]).items()}
        values = torch.linalg.svdvals(matrix)
        excess = float(((matrix - left @ right).norm() - values[4:].norm()) / values.norm())
        low, high = measured.bounds(0, left, right, errors)["excess_frobenius_bounds"]
        assert low <= excess <= high < 1e-6
