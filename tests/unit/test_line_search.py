import math

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eckart.optim import line_search
from eckart.optim.line_search import cubic_roots, minimize_along

Matrix = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
@example([0.0, 0.0, 0.0])
@example([-6.0, 11.0, -6.0])
@example([-4.0, 5.0, -2.0])
@example([0.0, -3.0, 2.0])
@example([3.0, 3.0, 1.0])
@example([0.0, 0.0, -8.0])
def test_cubic_roots_agree_with_numpy(coefficients: list[float]) -> None:
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


def test_rounding_at_a_double_root_leaves_the_roots_finite() -> None:
    # The cosine of the angle is rounded below -1 here.
    double, other = 0.44986533984459376, -2.0790192563904744
    coefficients = -(2 * double + other), double * double + 2 * double * other, -double * double * other
    roots = cubic_roots(*(torch.tensor([value], dtype=torch.float64) for value in coefficients))
    np.testing.assert_allclose(roots[:, 0].sort().values, [other, double, double], rtol=1e-6)


def along(residual: torch.Tensor, linear: torch.Tensor, quadratic: torch.Tensor) -> float:
    """The step of a line that is given by its vectors, each of shape ``(1, N)``."""
    slope, c, d = (residual * linear).sum(1), (linear * quadratic).sum(1), quadratic.square().sum(1)
    return float(minimize_along(slope, linear.square().sum(1) + 2 * (residual * quadratic).sum(1), c, d))


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
def test_minimize_along_is_the_global_minimum_of_the_line(
    seed: int, size: int, quadratic_scale: float, linear_scale: float
) -> None:
    draw = rng(seed)
    residual = draw.standard_normal(size)
    linear = linear_scale * draw.standard_normal(size)
    quadratic = quadratic_scale * draw.standard_normal(size)
    linear *= -np.sign(residual @ linear)
    stacks = [torch.from_numpy(part)[None] for part in (residual, linear, quadratic)]
    step = along(stacks[0], stacks[1], stacks[2])
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


def test_minimize_along_takes_the_deeper_of_two_minima() -> None:
    # The first component vanishes at t = 1 and at t = 3, the second at t = 3 alone.
    parts = ([3.0, 0.3], [-4.0, -0.1], [1.0, 0.0])
    residual, linear, quadratic = (torch.tensor([part], dtype=torch.float64) for part in parts)
    assert along(residual, linear, quadratic) == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize("step", [1e-3, 0.5, 1.0, 7.0, 1e3])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6])
def test_minimize_along_finds_a_minimum_of_order_four(step: float, size: float) -> None:
    # ½ (size (1 - t / step)²)²: all three roots of its derivative fall together.
    parts = ([size], [-2 * size / step], [size / step**2])
    residual, linear, quadratic = (torch.tensor([part], dtype=torch.float64) for part in parts)
    assert along(residual, linear, quadratic) == pytest.approx(step, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_member_has_the_bits_that_it_has_alone_beside_lines_with_more_minima(dtype: torch.dtype) -> None:
    # The first line has three stationary points, each of the others one.
    slope, q, c, d = torch.tensor(
        [[-12.3, 22.0, -4.0, 1.0], [-2.0, 1.0, 0.0, 0.0], [-1.0, 3.0, 0.2, 0.5]], dtype=dtype
    ).T
    whole = minimize_along(slope, q, c, d)
    assert whole.dtype == dtype
    for member in range(3):
        part = slice(member, member + 1)
        assert torch.equal(minimize_along(slope[part], q[part], c[part], d[part]), whole[part])


def test_the_numbers_of_numpy_and_of_torch_agree() -> None:
    slope, q, c, d = torch.from_numpy(rng(3).standard_normal((4, 50)))
    lines = -slope.abs(), q, c, c.square() + d.abs()
    expected = line_search._minimize(torch, *lines)
    np.testing.assert_allclose(minimize_along(*lines), expected, rtol=1e-12)
    coefficients = q, c, d
    torch.testing.assert_close(cubic_roots(*coefficients), line_search._roots(torch, *coefficients))
