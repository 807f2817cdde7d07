import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import observed_of, starting_factors
from numpy.typing import NDArray

from eckart.optim.entrywise_sgd import EntrywiseSGD
from eckart.optim.objectives import KnownTarget, ObservedEntries

pytestmark = pytest.mark.usefixtures("one_thread")

Matrix = NDArray[np.float64]
LAB = np.array([[0.3374, 0.6005, 0.1735], [3.3359, 0.0492, 1.8374], [2.9407, 0.5301, 2.2620]])
LAB_MASK = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=bool)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


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
    objective = ObservedEntries(observed_of(stack, torch.from_numpy(mask)[None])) if masked else KnownTarget(stack)
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
    solver = EntrywiseSGD(ObservedEntries(observed_of(target, observed)), left, right, lr=0.01)
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
    left, right = starting_factors(stack, [1, 2])
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
    with pytest.raises(ValueError, match=r"^Entrywise SGD needs factors on the CPU\. Found meta\.$"):
        EntrywiseSGD(KnownTarget(target), target[:, :, :2], target[:, :2])


def test_many_passes_in_a_call_are_as_many_steps() -> None:
    def solver() -> EntrywiseSGD:
        generator = torch.Generator().manual_seed(0)
        target, left, right = (
            torch.rand(2, *shape, generator=generator, dtype=torch.float64) for shape in ((5, 4), (5, 2), (2, 4))
        )
        return EntrywiseSGD(KnownTarget(target), left, right)

    once, many = solver(), solver()
    for made in (once, many):
        made.active = torch.tensor([True, False])
    losses = [once.step() for _ in range(7)]
    assert torch.equal(many.passes(7), losses[-1])
    assert torch.equal(many.left, once.left) and torch.equal(many.right, once.right)
    assert torch.equal(many.left[1], solver().left[1])
    assert (many.at_once(3), many.at_once(10**9) < 10**9) == (3, True)
