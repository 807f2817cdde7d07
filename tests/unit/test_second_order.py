"""Steps off saddles, against the decompositions of NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from numpy.typing import NDArray
from torch import Tensor

from eckart.linalg import krylov
from eckart.linalg.operators import Dense, Residual
from eckart.linalg.random import stream
from eckart.optim import second_order
from eckart.optim.objectives import KnownTarget
from eckart.optim.second_order import leave_saddles

pytestmark = pytest.mark.usefixtures("one_thread")

ONE = torch.tensor([True])


def holding(target: Tensor, *triplets: int, columns: int = 0) -> tuple[Tensor, Tensor]:
    """Factors of the given singular triplets of a target, padded with zeros to a number of columns."""
    u, s, vh = (torch.from_numpy(part) for part in np.linalg.svd(target.numpy(), full_matrices=False))
    places = list(triplets)
    left, right = u[:, places] * s[places].sqrt(), s[places].sqrt()[:, None] * vh[places]
    missing = max(columns, len(places)) - len(places)
    pad = torch.nn.functional.pad
    return pad(left, (0, missing))[None], pad(right, (0, 0, 0, missing))[None]


def moved(target: Tensor, left: Tensor, right: Tensor, rank: int, tolerance: float = 1e-10, **options: Any) -> bool:
    return bool(leave_saddles(KnownTarget(target[None]), left, right, [rank], ONE, tolerance=tolerance, **options))


def best_in_span(target: NDArray[np.float64], left: NDArray[np.float64], rank: int, width: int) -> NDArray[np.float64]:
    """The best product whose columns lie in the span of the present ones and of leading residual directions."""
    projected = left @ np.linalg.lstsq(left, target, rcond=None)[0]
    directions = np.linalg.svd(target - projected)[0][:, :width]
    basis = np.linalg.qr(np.hstack([left, directions]))[0]
    u, s, vh = np.linalg.svd(basis.T @ target, full_matrices=False)
    return basis @ (u[:, :rank] * s[:rank]) @ vh[:rank]


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (70, 90), (90, 70)])
def test_a_saddle_is_exchanged_for_the_four_leading_directions(shape: tuple[int, int]) -> None:
    spectrum = np.linspace(2, 1, 9)
    target = with_spectrum(*shape, spectrum)
    left, right = holding(target, 3, 5, 6, 7, 8)
    expected = best_in_span(target.numpy(), left[0].numpy(), 5, 4)
    assert moved(target, left, right, 5)
    # 0, 1, 2 and 4 came in, and of those that were held only 3 stayed: the optimum.
    np.testing.assert_allclose(left[0] @ right[0], expected, atol=1e-7)
    np.testing.assert_allclose(np.linalg.svd(left[0] @ right[0])[1][:5], spectrum[:5], atol=1e-7)
    np.testing.assert_allclose(left.mT @ left, right @ right.mT, atol=1e-10)


@pytest.mark.parametrize("shape", [(12, 9), (80, 70)])
def test_no_more_than_four_directions_come_in(shape: tuple[int, int]) -> None:
    spectrum = np.linspace(2, 1, 9)
    target = with_spectrum(*shape, spectrum)
    left, right = holding(target, 4, 5, 6, 7, 8)
    # Iterated directions need to be good to a few digits only; the margin is never in doubt here.
    assert moved(target, left, right, 5)
    expected = spectrum[[0, 1, 2, 3, 4]]
    np.testing.assert_allclose(np.linalg.svd(left[0] @ right[0])[1][:5], expected, atol=1e-6)
    assert second_order._WIDTH == 4
    if min(shape) <= second_order._DENSE_SIDE:
        # All members of a stack are decomposed at once, and the directions are not iterated.
        return
    left, right = holding(target, 5, 6, 7, 8, 4)
    u = np.linalg.svd(target.numpy())[0]
    _, directions = second_order._leading(Dense(target), left[0], right[0], np.inf, 1e-9)
    assert directions.shape == (shape[0], 4)
    np.testing.assert_allclose(np.abs(u[:, :4].T @ directions.numpy()), np.eye(4), atol=1e-4)


def test_where_fewer_directions_are_left_all_of_them_come_in() -> None:
    target = with_spectrum(6, 5, [5.0, 4, 3, 2, 1])
    left, right = holding(target, 2, 3, 4)
    _, directions = second_order._leading(Dense(target), left[0], right[0], 0.0, 0.0)
    assert directions.shape == (6, 2)
    assert moved(target, left, right, 3)
    np.testing.assert_allclose(np.linalg.svd(left[0] @ right[0])[1], [5, 4, 3, 0, 0], atol=1e-12)


@pytest.mark.parametrize("side", [10, 80])
def test_the_optimum_stays(side: int) -> None:
    target = with_spectrum(side + 3, side, [5.0, 4, 3, 2, 1])
    left, right = holding(target, 0, 1, 2)
    before = left.clone(), right.clone()
    assert not moved(target, left, right, 3)
    assert torch.equal(left, before[0]) and torch.equal(right, before[1])


@pytest.mark.parametrize("side", [10, 80])
@pytest.mark.parametrize(("beyond", "expected"), [(0.5, False), (2.0, True)])
def test_the_margin_is_the_tolerance_times_the_norm_of_the_target(side: int, beyond: float, expected: bool) -> None:
    tolerance = 1e-3
    spectrum = np.array([3.0, 1.0, 1.0, 0.5])
    norm = np.linalg.norm(spectrum)
    for _ in range(3):
        spectrum[1] = 1 + beyond * tolerance * norm
        norm = np.linalg.norm(spectrum)
    target = with_spectrum(side, side, spectrum)
    left, right = holding(target, 0, 2)
    assert moved(target, left, right, 2, tolerance) == expected
    left, right = holding(target, 0, 2)
    assert moved(100 * target, 10 * left, 10 * right, 2, tolerance) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("beyond", "expected"), [(8, False), (32, True)])
def test_the_margin_is_no_less_than_rounding(dtype: torch.dtype, beyond: int, expected: bool) -> None:
    # Diagonal matrices, whose singular values have no rounding.
    eps = torch.finfo(dtype).eps
    target = torch.diag(torch.tensor([1 + beyond * eps, 1.0, 2**-20], dtype=dtype))
    left = torch.zeros(1, 3, 1, dtype=dtype)
    left[0, 1] = 1
    # The norm is the root of 2.
    assert moved(target, left, left.mT.clone(), 1, 0.0) == expected


def test_a_member_that_must_move_does_so_at_the_optimum_too_and_keeps_its_product() -> None:
    target = with_spectrum(10, 8, [5.0, 4, 3, 2, 1])
    left, right = holding(target, 0, 1)
    product = left @ right
    left *= 2
    right /= 2
    assert moved(target, left, right, 2, always=True)
    np.testing.assert_allclose(left @ right, product, atol=1e-12)
    np.testing.assert_allclose(left.mT @ left, right @ right.mT, atol=1e-12)


def test_beside_the_optimum_the_step_lowers_the_loss_to_that_of_the_span() -> None:
    target = gaussian(10, 8)
    left, right = gaussian(1, 10, 2, seed=1), gaussian(1, 2, 8, seed=2)
    before = left[0].numpy().copy()
    basis = np.linalg.qr(np.hstack([before, np.linalg.svd(target - left[0] @ right[0])[0][:, :4]]))[0]
    u, s, vh = np.linalg.svd(basis.T @ target.numpy(), full_matrices=False)
    assert moved(target, left, right, 2, always=True)
    np.testing.assert_allclose(left[0] @ right[0], basis @ (u[:, :2] * s[:2]) @ vh[:2], atol=1e-12)


def test_ranks_of_a_padded_stack_are_each_looked_at_by_themselves() -> None:
    target = with_spectrum(10, 8, [5.0, 4, 3, 2, 1])
    cases = [(0, 1), (0, 2), (0,), (1,), (2, 3, 4), (2, 3, 4)]
    pairs = [holding(target, *case, columns=4) for case in cases]
    left, right = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    before = left.clone(), right.clone()
    members = torch.tensor([True, True, True, True, True, False])
    ranks = [len(case) for case in cases]
    found = leave_saddles(KnownTarget(target.expand(6, -1, -1)), left, right, ranks, members, tolerance=1e-10)
    assert found.tolist() == [False, True, False, True, True, False]
    for member, (rank, changed) in enumerate(zip(ranks, found.tolist(), strict=True)):
        # Columns beyond the rank stay zero.
        assert (left[member, :, rank:] == 0).all() and (right[member, rank:] == 0).all()
        if changed:
            best = np.linalg.svd(left[member] @ right[member])[1][:rank]
            np.testing.assert_allclose(best, [5, 4, 3][:rank], atol=1e-12)
        else:
            assert torch.equal(left[member], before[0][member]) and torch.equal(right[member], before[1][member])


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_a_product_of_full_rank_has_no_saddle(shape: tuple[int, int]) -> None:
    target = gaussian(*shape)
    left, right = gaussian(1, shape[0], 3, seed=1), gaussian(1, 3, shape[1], seed=2)
    before = left.clone()
    assert not moved(target, left, right, 3, always=True)
    assert torch.equal(left, before)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_member_that_is_not_finite_is_passed_over_and_the_next_one_is_not(side: str) -> None:
    target = with_spectrum(10, 8, [5.0, 4, 3, 2, 1])
    left, right = (part.repeat(2, 1, 1) for part in holding(target, 3))
    (left if side == "left" else right)[0, 0, 0] = torch.nan
    found = leave_saddles(
        KnownTarget(target.expand(2, -1, -1)), left, right, [1, 1], torch.tensor([True, True]), tolerance=1e-10
    )
    assert found.tolist() == [False, True]


@pytest.mark.parametrize(("smaller", "iterated"), [(64, False), (65, True)])
@pytest.mark.parametrize("wide", [False, True])
def test_large_residuals_are_iterated(
    smaller: int, iterated: bool, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = krylov.block_lanczos

    def counted(operator: Any, width: int, *arguments: Any, **options: Any) -> Any:
        calls.append((operator.shape, width))
        return plain(operator, width, *arguments, **options)

    monkeypatch.setattr(second_order, "block_lanczos", counted)
    target = with_spectrum(smaller + 20, smaller, [5.0, 4, 3, 2, 1])
    target = target.mT.contiguous() if wide else target
    left, right = holding(target, 1, 2)
    assert moved(target, left, right, 2)
    assert calls == ([(tuple(target.shape), 4)] if iterated else [])


def steps_of_iteration(
    target: Tensor, enough: float, error: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, float]:
    """Number of products that are asked for, and the singular value found for a product of zero."""
    asked = []
    plain = Residual.images

    def counted(self: Residual, x: Tensor) -> Tensor:
        asked.append(x.shape)
        return plain(self, x)

    monkeypatch.setattr(Residual, "images", counted)
    zero = target.new_zeros(target.shape[0], 1), target.new_zeros(1, target.shape[1])
    value, _ = second_order._leading(Dense(target), *zero, enough, error)
    return len(asked), float(value)


def test_iteration_ends_by_its_bound_or_as_soon_as_the_value_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    target = with_spectrum(90, 80, np.linspace(1, 0.5, 80))
    # A value that is allowed, and as near to the largest as this, has to be told from it to every digit.
    near = 1 + 1e-12
    fine, value = steps_of_iteration(target, near, 1e-10, monkeypatch)
    assert value == pytest.approx(1, abs=1e-10)
    coarse, rough = steps_of_iteration(target, near, 1e-2, monkeypatch)
    assert rough == pytest.approx(1, abs=1e-2)
    enough, lower = steps_of_iteration(target, 0.9, 1e-10, monkeypatch)
    assert 0.9 < lower <= 1 + 1e-12
    assert enough < coarse < fine <= 40
    # Of one that is far from it, two digits of the difference are enough.
    far, value = steps_of_iteration(target, 1.5, 1e-10, monkeypatch)
    assert value == pytest.approx(1, abs=0.005)
    assert far < fine


def test_iteration_that_does_not_reach_its_bound_ends_after_forty_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    target = with_spectrum(400, 300, np.linspace(1, 0.999, 300))
    steps, value = steps_of_iteration(target, 1 + 1e-12, 0.0, monkeypatch)
    assert steps == second_order._ITERATIONS == 40
    assert value == pytest.approx(1, abs=1e-3)


def test_iteration_has_a_stream_of_its_own_and_the_error_bound_of_a_leading_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def watched(operator: Any, width: int, generator: Any, converged: Any, iterations: int, *, like: Tensor) -> Any:
        seen.extend([generator.initial_seed(), converged, like.dtype])
        return like[:, :width], like.new_ones(width), like, True

    monkeypatch.setattr(second_order, "block_lanczos", watched)
    target = gaussian(80, 70)
    second_order._leading(Dense(target), gaussian(80, 1), gaussian(1, 70), 5.0, 0.25)
    seed, converged, dtype = seen
    assert seed == stream(0, "saddle").initial_seed() and dtype == torch.float64
    # Enough, or not, by the value alone.
    lost = torch.full((4,), 9.0, dtype=torch.float64)
    assert converged(torch.tensor([5.001, 1.0, 1.0, 1.0], dtype=torch.float64), lost) is True
    assert converged(torch.tensor([5.0, 1.0, 1.0, 1.0], dtype=torch.float64), lost) is False
    for scale in np.geomspace(0.01, 1, 60):
        for shape in ([1.0, 1, 1, 9], [0.1, 0.2, 3, 3], [2, 0.1, 0.1, 0.1]):
            residuals = scale * np.array(shape)
            for s in (np.array([4.0, 3, 2, 1]), np.array([4.0, 4, 4, 3.9]), np.array([4.0, 4, 0.1, 0.1])):
                # Of the first p values against the others: r^2 / gap, with one digit of care; or the residual itself.
                with np.errstate(divide="ignore"):
                    joint = [10 * (residuals[:p] ** 2).sum() / (s[0] - s[p]) for p in (1, 2, 3)]
                expected = min(residuals[0], *joint) <= 0.25
                assert converged(torch.from_numpy(s), torch.from_numpy(residuals)) is bool(expected)
    # The bound itself is good enough.
    assert converged(torch.tensor([4.0, 4, 4, 4], dtype=torch.float64), torch.full((4,), 0.25).double()) is True
