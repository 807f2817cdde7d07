import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from eckart.optim.entrywise_sgd import EntrywiseSGD
from eckart.optim.line_search import cubic_roots, minimize_along
from eckart.optim.objectives import KnownTarget, Objective, ObservedEntries
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import stationarity

Matrix = NDArray[np.float64]
LAB = np.array([[0.3374, 0.6005, 0.1735], [3.3359, 0.0492, 1.8374], [2.9407, 0.5301, 2.2620]])
LAB_MASK = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=bool)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # On matrices this small threads only wait for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def symmetric(size: int, seed: int) -> Matrix:
    half = rng(seed).random((size, size))
    return (half + half.T) / 2


def with_spectrum(rows: int, cols: int, spectrum: Sequence[float], seed: int = 0) -> Matrix:
    u, v = (
        scipy.linalg.qr(rng(seed + side).standard_normal((side, len(spectrum))), mode="economic")[0]
        for side in (rows, cols)
    )
    return np.asarray((u * np.asarray(spectrum)) @ v.T)


def start(targets: Tensor, ranks: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian factors whose product has about the norm of the target, zero beyond each member's rank."""
    stack, rows, cols = targets.shape
    left = torch.zeros(stack, rows, max(ranks), dtype=torch.float64)
    right = torch.zeros(stack, max(ranks), cols, dtype=torch.float64)
    for member, rank in enumerate(ranks):
        # Each member draws its own numbers, so that it starts alike alone.
        draw = rng(seed + 1000 * rank)
        deviation = (float(torch.linalg.matrix_norm(targets[member])) / math.sqrt(rows * cols * rank)) ** 0.5
        left[member, :, :rank] = torch.from_numpy(draw.standard_normal((rows, rank))) * deviation
        right[member, :rank] = torch.from_numpy(draw.standard_normal((rank, cols))) * deviation
    return left, right


def solve(solver: RiemannianCG, steps: int = 1000) -> None:
    for _ in range(steps):
        if not solver.active.any():
            return
        solver.step()


def train(targets: Sequence[Matrix], ranks: Sequence[int], tolerance: float = 1e-10) -> RiemannianCG:
    stack = torch.from_numpy(np.stack(targets))
    solver = RiemannianCG(KnownTarget(stack), *start(stack, ranks), tolerance=tolerance)
    solve(solver)
    return solver


def assert_optimal(solver: RiemannianCG, targets: Sequence[Matrix], ranks: Sequence[int], atol: float = 1e-8) -> None:
    for member, (target, rank) in enumerate(zip(targets, ranks, strict=True)):
        spectrum = scipy.linalg.svdvals(target)
        residual = target - (solver.left[member] @ solver.right[member]).numpy()
        found = scipy.linalg.svdvals(residual)
        best_2norm, best_frobenius = ([*spectrum, 0.0][rank], np.linalg.norm(spectrum[rank:]))
        assert abs(found[0] - best_2norm) <= atol * spectrum[0], (member, rank)
        assert abs(np.linalg.norm(found) - best_frobenius) <= atol * np.linalg.norm(spectrum), (member, rank)


FAMILIES = {
    "uniform": lambda seed: rng(seed).random((10, 10)),
    "gaussian": lambda seed: rng(seed).standard_normal((10, 10)),
    "symmetric": lambda seed: symmetric(10, seed),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_stack_of_all_ranks_reaches_the_truncated_svd(family: str) -> None:
    ranks = [*range(1, 10), *range(1, 10)]
    targets = [FAMILIES[family](seed) for seed in range(len(ranks))]
    solver = train(targets, ranks)
    assert not solver.active.any()
    assert_optimal(solver, targets, ranks)
    for member, rank in enumerate(ranks):
        assert (solver.left[member, :, rank:] == 0).all()
        assert (solver.right[member, rank:] == 0).all()


TARGETS: dict[str, tuple[Matrix, int]] = {
    "identity": (np.eye(50), 20),
    "diagonal": (np.diag(np.arange(50.0)), 20),
    "tall": (rng(1).standard_normal((60, 12)), 5),
    "wide": (rng(2).standard_normal((12, 60)), 5),
    "one column": (rng(3).standard_normal((9, 1)), 1),
    "one row": (rng(4).standard_normal((1, 9)), 1),
    "one entry": (np.array([[3.0]]), 1),
    "rank = min(m, n), square": (rng(5).standard_normal((10, 10)), 10),
    "rank = min(m, n), tall": (rng(6).standard_normal((20, 6)), 6),
    "rank = min(m, n), wide": (rng(7).standard_normal((6, 20)), 6),
    "rank(A) < k": (with_spectrum(12, 10, [3.0, 2.0, 1.0]), 6),
    "rank(A) = k": (with_spectrum(12, 10, [3.0, 2.0, 1.0]), 3),
    "rank(A) = 1 < k": (np.ones((8, 8)), 3),
    "scale 1e-6": (1e-6 * rng(8).standard_normal((10, 10)), 4),
    "scale 1e6": (1e6 * rng(8).standard_normal((10, 10)), 4),
    "tie at the cut": (with_spectrum(15, 12, [5.0, 4.0, 2.0, 2.0, 2.0, 1.0, 0.5]), 4),
    "tie of all": (with_spectrum(12, 12, [1.0] * 12), 7),
    "ill-conditioned": (with_spectrum(15, 12, [1e3, 1.0, 1e-2, 1e-3]), 3),
    "zeros but one entry": (np.diag([0.0, 0.0, 4.0, 0.0]), 1),
    "block": (np.kron(np.eye(2), np.ones((5, 5))).astype(np.float64), 1),
}


@pytest.mark.parametrize("name", TARGETS)
def test_truncated_svd_is_reached(name: str) -> None:
    target, rank = TARGETS[name]
    assert_optimal(train([target], [rank]), [target], [rank])


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3])
def test_near_tie_is_told_apart(gap: float) -> None:
    target = with_spectrum(10, 10, [3.0, 2.0, 1.0, 1.0 - gap, 0.5, 0.2])
    assert_optimal(train([target], [3]), [target], [3])


def test_member_of_a_stack_takes_the_steps_that_it_takes_alone() -> None:
    ranks = [2, 5, 1, 7]
    targets = torch.from_numpy(np.stack([rng(seed).random((9, 8)) for seed in range(4)]))
    left, right = start(targets, ranks)
    stacked = RiemannianCG(KnownTarget(targets), left, right, tolerance=1e-9)
    alone = []
    for member, rank in enumerate(ranks):
        part = targets[member : member + 1]
        alone.append(RiemannianCG(KnownTarget(part), *start(part, [rank]), tolerance=1e-9))
    for _ in range(40):
        together = stacked.step()
        for member, solver in enumerate(alone):
            np.testing.assert_allclose(together[member], solver.step()[0], rtol=1e-7)
            own = (solver.left @ solver.right)[0]
            product = left[member] @ right[member]
            assert torch.linalg.matrix_norm(own - product) <= 1e-8 * torch.linalg.matrix_norm(own)


def test_iterates_do_not_depend_on_how_the_product_is_split() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 9, 7)))
    left, right = start(target, [3])
    mixing = torch.from_numpy(rng(1).standard_normal((3, 3)) * np.array([0.2, 1.0, 5.0]))
    assert torch.linalg.cond(mixing) > 10
    other = RiemannianCG(KnownTarget(target), left @ mixing, torch.linalg.solve(mixing, right), damping=0.0)
    solver = RiemannianCG(KnownTarget(target), left, right, damping=0.0)
    for _ in range(12):
        solver.step()
        other.step()
        np.testing.assert_allclose(other.left @ other.right, solver.left @ solver.right, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.data())
def test_loss_never_increases(seed: int, rows: int, cols: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(rows, cols)))
    target = torch.from_numpy(rng(seed).standard_normal((1, rows, cols)))
    objective: Objective = KnownTarget(target)
    if data.draw(st.booleans()):
        observed = torch.from_numpy(rng(seed).random((1, rows, cols)) < 0.6)
        observed[0, 0, 0] = True
        objective = ObservedEntries(target, observed)
    solver = RiemannianCG(objective, *start(target, [rank], seed=seed), tolerance=0.0, warm_up=0)
    losses = [float(solver.step()) for _ in range(30)]
    for before, after in itertools.pairwise(losses):
        assert after <= before * (1 + 1e-10) + 1e-24 * losses[0]


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("scale")])
def test_single_precision_stays_finite_and_comes_near(name: str) -> None:
    target, rank = TARGETS[name]
    targets, ranks = [scale * target for scale in (1e-6, 1.0, 1e6)], [rank] * 3
    stack = torch.from_numpy(np.stack(targets))
    left, right = (factor.float() for factor in start(stack, ranks))
    solver = RiemannianCG(KnownTarget(stack.float()), left, right, tolerance=1e-6)
    for _ in range(80):
        assert solver.step().isfinite().all()
    assert left.isfinite().all()
    assert right.isfinite().all()
    assert_optimal(solver, targets, ranks, atol=2e-4)


def test_masked_matrix_of_low_rank_is_completed() -> None:
    target = torch.from_numpy(with_spectrum(60, 50, [3.0, 2.0, 1.0]))[None]
    observed = torch.from_numpy(rng(5).random((1, 60, 50)) < 0.5)
    hidden = torch.where(observed, target, torch.nan)
    u, s, vh = scipy.linalg.svd(torch.where(observed, target, 0.0)[0].numpy() / 0.5, full_matrices=False)
    left, right = (
        torch.from_numpy(f).clone()[None] for f in (u[:, :3] * np.sqrt(s[:3]), np.sqrt(s[:3, None]) * vh[:3])
    )
    solver = RiemannianCG(ObservedEntries(hidden, observed), left, right, tolerance=1e-12)
    solve(solver, 300)
    assert torch.linalg.matrix_norm(left @ right - target) <= 1e-6 * torch.linalg.matrix_norm(target)


def test_masked_and_known_take_the_same_steps_where_all_is_observed() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 6, 5)))
    everything = torch.ones_like(target, dtype=torch.bool)
    known = RiemannianCG(KnownTarget(target), *start(target, [2]), warm_up=0)
    masked = RiemannianCG(ObservedEntries(target, everything), *start(target, [2]), warm_up=0)
    for _ in range(15):
        np.testing.assert_allclose(masked.step(), known.step(), rtol=1e-9)
        np.testing.assert_allclose(masked.left @ masked.right, known.left @ known.right, atol=1e-9)


def test_member_that_is_done_stays_as_it_is() -> None:
    targets = [np.diag([2.0, 1.0, 0.0]), rng(0).standard_normal((3, 3))]
    stack = torch.from_numpy(np.stack(targets))
    left, right = start(stack, [1, 1])
    left[0], right[0] = torch.tensor([[2.0], [0.0], [0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    solver = RiemannianCG(KnownTarget(stack), left, right, tolerance=1e-9)
    before = left[0].clone(), right[0].clone()
    solve(solver)
    assert torch.equal(left[0], before[0])
    assert torch.equal(right[0], before[1])
    assert_optimal(solver, targets, [1, 1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
@example([0.0, 0.0, 0.0])
@example([-6.0, 11.0, -6.0])
@example([-4.0, 5.0, -2.0])
@example([0.0, -3.0, 2.0])
@example([3.0, 3.0, 1.0])
@example([0.0, 0.0, -8.0])
def testcubic_roots_agree_with_numpy(coefficients: list[float]) -> None:
    a2, a1, a0 = (torch.tensor([value], dtype=torch.float64) for value in coefficients)
    roots = cubic_roots(a2, a1, a0)
    assert roots.shape == (3, 1)
    scale = 1 + max(abs(coefficients[0]), math.sqrt(abs(coefficients[1])), abs(coefficients[2]) ** (1 / 3))
    for root in roots[:, 0].tolist():
        value = ((root + coefficients[0]) * root + coefficients[1]) * root + coefficients[2]
        assert abs(value) <= 1e-11 * scale**3
    reference = np.roots([1.0, *coefficients])
    for real in reference[np.abs(reference.imag) < 1e-12 * scale].real:
        # Rounding can hide a double root, where the polynomial only touches zero; no minimum of the loss is there.
        if abs(3 * real**2 + 2 * coefficients[0] * real + coefficients[1]) > 1e-4 * scale**2:
            assert np.abs(roots[:, 0].numpy() - real).min() <= 1e-8 * scale


def line(residual: Matrix, linear: Matrix, quadratic: Matrix, t: NDArray[np.float64]) -> NDArray[np.float64]:
    points = residual + t[:, None] * linear + t[:, None] ** 2 * quadratic
    return np.asarray((points**2).sum(1) / 2)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.sampled_from([0.0, 1e-8, 1e-4, 1.0, 1e4]),
    st.sampled_from([1e-4, 1.0, 1e4]),
)
@example(seed=1000000, size=1, quadratic_scale=1e-8, linear_scale=1.0)  # the other root of the residual is at 1e8
def testminimize_along_is_the_global_minimum_of_the_line(
    seed: int, size: int, quadratic_scale: float, linear_scale: float
) -> None:
    draw = rng(seed)
    residual = draw.standard_normal(size)
    linear = linear_scale * draw.standard_normal(size)
    quadratic = quadratic_scale * draw.standard_normal(size)
    linear *= -np.sign(residual @ linear)
    slope = torch.tensor([residual @ linear])
    stacks = [torch.from_numpy(part)[None] for part in (residual, linear, quadratic)]
    step = float(minimize_along(stacks[0], stacks[1], stacks[2], slope))
    assert step > 0
    found = line(residual, linear, quadratic, np.array([step]))[0]
    # Beyond t, |t linear| or |t² quadratic| outweighs what is left.
    longest = max(10 / linear_scale, 10 * step)
    grid = np.concatenate([np.geomspace(1e-9, 1, 2000) * longest, np.linspace(0, 1, 2001) * longest])
    values = line(residual, linear, quadratic, grid)
    near = grid[values.argmin()]
    polished = scipy.optimize.minimize_scalar(
        lambda t: line(residual, linear, quadratic, np.array([t]))[0],
        bounds=(0.9 * near, 1.1 * near + 1e-12),
        method="bounded",
        options={"xatol": 1e-12 * near},
    )
    assert found <= min(values.min(), polished.fun) + 1e-12 * (residual @ residual)


def testminimize_along_takes_the_deeper_of_two_minima() -> None:
    # The first component vanishes at t = 1 and at t = 3, the second at t = 3 alone.
    parts = ([3.0, 0.3], [-4.0, -0.1], [1.0, 0.0])
    residual, linear, quadratic = (torch.tensor([part], dtype=torch.float64) for part in parts)
    step = minimize_along(residual, linear, quadratic, (residual * linear).sum(1))
    assert float(step) == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize("step", [1e-3, 0.5, 1.0, 7.0, 1e3])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6])
def testminimize_along_finds_a_minimum_of_order_four(step: float, size: float) -> None:
    # ½ (size (1 - t / step)²)²: all three roots of its derivative fall together.
    parts = ([size], [-2 * size / step], [size / step**2])
    residual, linear, quadratic = (torch.tensor([part], dtype=torch.float64) for part in parts)
    found = float(minimize_along(residual, linear, quadratic, (residual * linear).sum(1)))
    assert found == pytest.approx(step, rel=1e-3)


def closed_form_stationarity(target: Matrix, left: Matrix, right: Matrix) -> float:
    """The gradient in the scaled metric is the residual projected on the columns of left, and on the rows of right."""
    residual = left @ right - target
    columns, rows = scipy.linalg.orth(left), scipy.linalg.orth(right.T)
    parts = np.linalg.norm(columns.T @ residual) ** 2 + np.linalg.norm(residual @ rows) ** 2
    return float(np.sqrt(parts) / np.linalg.norm(target))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7), st.data())
def test_stationarity_is_the_projected_residual(seed: int, rows: int, cols: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(rows, cols)))
    target = torch.from_numpy(rng(seed).standard_normal((1, rows, cols)))
    left, right = start(target, [rank], seed=seed)
    found = float(stationarity(KnownTarget(target), left, right, damping=0.0))
    assert found == pytest.approx(
        closed_form_stationarity(*(part[0].numpy() for part in (target, left, right))), rel=1e-4
    )


def test_stationarity_is_the_slope_along_the_natural_gradient() -> None:
    target = torch.from_numpy(rng(0).standard_normal((1, 6, 5)))
    observed = torch.from_numpy(rng(1).random((1, 6, 5)) < 0.7)
    left, right = start(target, [2])
    objective = ObservedEntries(target, observed)
    mask, goal, u, v = (part[0].numpy() for part in (observed, target, left, right))

    def loss(u: Matrix, v: Matrix) -> float:
        return float(0.5 * ((u @ v - goal)[mask] ** 2).sum())

    residual = (u @ v - goal) * mask
    natural = residual @ v.T @ np.linalg.inv(v @ v.T), np.linalg.inv(u.T @ u) @ u.T @ residual
    h = 1e-5
    slope = (loss(u + h * natural[0], v + h * natural[1]) - loss(u - h * natural[0], v - h * natural[1])) / (2 * h)
    found = float(stationarity(objective, left, right, damping=0.0))
    assert found == pytest.approx(math.sqrt(slope) / np.linalg.norm(goal[mask]), rel=1e-7)


def test_stationarity_vanishes_at_the_optimum_and_not_elsewhere() -> None:
    target = rng(0).standard_normal((8, 6))
    u, s, vh = scipy.linalg.svd(target, full_matrices=False)
    left, right = (torch.from_numpy(part)[None] for part in (u[:, :3] * s[:3], vh[:3]))
    objective = KnownTarget(torch.from_numpy(target)[None])
    assert float(stationarity(objective, left, right)) <= 1e-14
    assert float(stationarity(objective, left * 1.001, right)) > 1e-4
    # It does not tell a saddle from the optimum: three other singular vectors.
    assert (
        float(stationarity(objective, torch.from_numpy(u[:, 3:] * s[3:])[None], torch.from_numpy(vh[3:])[None]))
        <= 1e-14
    )


def plain_python(
    target: Matrix, mask: NDArray[np.bool_], u: Matrix, v: Matrix, lr: float, epochs: int
) -> tuple[Matrix, Matrix]:
    """The lab's algorithm, number by number."""
    rows, cols = u.tolist(), v.tolist()
    for _ in range(epochs):
        for r in range(len(rows)):
            for c in range(len(cols)):
                if not mask[r, c]:
                    continue
                product = 0.0
                for a, b in zip(rows[r], cols[c], strict=True):
                    product += a * b
                e = float(target[r, c]) - product
                rows[r] = [a + lr * e * b for a, b in zip(rows[r], cols[c], strict=True)]
                cols[c] = [b + lr * e * a for a, b in zip(rows[r], cols[c], strict=True)]
    return np.array(rows), np.array(cols)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "cols", "rank"), [(3, 3, 2), (7, 5, 3), (4, 9, 1)])
def test_entrywise_sgd_is_the_plain_loop_bit_for_bit(rows: int, cols: int, rank: int, seed: int, masked: bool) -> None:
    draw = rng(seed)
    target = LAB if (rows, cols) == (3, 3) else draw.standard_normal((rows, cols))
    u, v = draw.random((rows, rank)), draw.random((cols, rank))
    mask = (
        (LAB_MASK if rows == cols == 3 else draw.random((rows, cols)) < 0.6) if masked else np.ones((rows, cols), bool)
    )
    stack = torch.from_numpy(target)[None]
    objective = ObservedEntries(stack, torch.from_numpy(mask)[None]) if masked else KnownTarget(stack)
    left, right = torch.from_numpy(u.copy())[None], torch.from_numpy(v.T.copy())[None]
    solver = EntrywiseSGD(objective, left, right, lr=0.01)
    before = solver.step()
    np.testing.assert_allclose(before, (((target - u @ v.T) * mask) ** 2).sum(), rtol=1e-12)
    for _ in range(99):
        solver.step()
    expected = plain_python(target, mask, u, v, 0.01, 100)
    np.testing.assert_array_equal(left[0], expected[0])
    np.testing.assert_array_equal(right[0].T, expected[1])


def test_entrywise_sgd_finds_the_numbers_of_the_lab() -> None:
    # Blocks on the diagonal share no row and no column, so each trains as it would alone: one seed a block.
    seeds = 200
    target = torch.from_numpy(np.kron(np.eye(seeds), LAB))[None]
    observed = torch.from_numpy(np.kron(np.eye(seeds), np.ones((3, 3))) == 1)[None]
    left, right = (torch.from_numpy(rng(side).random(shape))[None] for side, shape in enumerate([(600, 2), (2, 600)]))
    solver = EntrywiseSGD(ObservedEntries(target, observed), left, right, lr=0.01)
    for _ in range(1000):
        solver.step()
    residual = (left @ right - target)[0].numpy()
    squared = np.array([(residual[i : i + 3, i : i + 3] ** 2).sum() for i in range(0, 600, 3)])
    optimum = scipy.linalg.svdvals(LAB)[2] ** 2
    assert optimum == pytest.approx(0.121911, abs=5e-7)
    assert (squared >= optimum).all()
    assert ((squared > 0.1219) & (squared < 0.1235)).mean() > 0.6
    assert 0.1220 < np.median(squared) < 0.1226


def test_entrywise_sgd_leaves_padding_and_inactive_members_alone() -> None:
    stack = torch.from_numpy(np.stack([LAB, LAB]))
    left, right = start(stack, [1, 2])
    solver = EntrywiseSGD(KnownTarget(stack), left, right)
    solver.active[1] = False
    before = left[1].clone(), right[1].clone()
    solver.step()
    assert (left[0, :, 1] == 0).all()
    assert (right[0, 1] == 0).all()
    assert torch.equal(left[1], before[0])
    assert torch.equal(right[1], before[1])


def test_entrywise_sgd_asks_for_the_cpu() -> None:
    target = torch.zeros(1, 3, 3, device="meta")
    with pytest.raises(ValueError, match=r"^optimizer=entrywise_sgd runs on the CPU: trainer=cpu\. Found meta\.$"):
        EntrywiseSGD(KnownTarget(target), target[:, :, :2], target[:, :2])
