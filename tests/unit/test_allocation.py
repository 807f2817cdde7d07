"""Ranks by a budget, against all choices and against an integer program."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from eckart.compression import allocation
from eckart.compression.allocation import BudgetTooSmall, allocate


def brute(losses: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], budget: float) -> float:
    """The least loss, by trying all choices."""
    choices = itertools.product(*(range(len(options)) for options in losses))
    return min(
        sum(loss[i] for loss, i in zip(losses, choice, strict=True))
        for choice in choices
        if sum(cost[i] for cost, i in zip(costs, choice, strict=True)) <= budget
    )


def by_milp(losses: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], budget: float) -> float:
    """The least loss, by an integer program."""
    owner = np.repeat(np.arange(len(losses)), [len(options) for options in losses])
    one_each = LinearConstraint((owner == np.arange(len(losses))[:, None]).astype(float), 1, 1)
    within = LinearConstraint(np.concatenate(costs)[None, :], -np.inf, budget)
    flat = np.concatenate(losses)
    solved = milp(
        flat, integrality=np.ones(len(flat)), bounds=(0, 1), constraints=[one_each, within], options={"mip_rel_gap": 0}
    )
    return float(solved.fun)


def model(layers: int, seed: int) -> tuple[list[list[float]], list[list[float]]]:
    """Layers of random shapes with spectra that fall, their ranks and the dense layer as options."""
    draw = np.random.default_rng(seed)
    losses, costs = [], []
    for _ in range(layers):
        m, n = (int(size) for size in draw.integers(5, 60, 2))
        energy = draw.exponential(size=min(m, n)) * np.arange(1, min(m, n) + 1.0) ** -draw.uniform(0.5, 3)
        tails = np.cumsum(np.sort(energy))[::-1]
        losses.append([*tails[1:].tolist(), 0.0, 0.0])
        costs.append([*(float(k * (m + n)) for k in range(1, min(m, n) + 1)), float(m * n)])
    return losses, costs


options = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(layers=st.lists(options, min_size=1, max_size=5), share=st.floats(0, 1.1))
def test_no_choice_is_better(layers: list[list[tuple[int, int]]], share: float) -> None:
    losses = [[float(loss) for loss, _ in layer] for layer in layers]
    costs = [[float(cost) for _, cost in layer] for layer in layers]
    smallest, largest = (sum(extreme(layer) for layer in costs) for extreme in (min, max))
    budget = smallest + share * (largest - smallest)
    found = allocate(losses, costs, budget)
    assert found.cost == sum(cost[i] for cost, i in zip(costs, found.options, strict=True)) <= budget
    assert found.loss == sum(loss[i] for loss, i in zip(losses, found.options, strict=True))
    assert found.loss == pytest.approx(brute(losses, costs, budget), abs=1e-9)
    assert found.gap <= 1e-9


@pytest.mark.parametrize(("layers", "share"), [(4, 0.04), (12, 0.1), (12, 0.5), (30, 0.23)])
def test_as_an_integer_program_finds(layers: int, share: float) -> None:
    losses, costs = model(layers, seed=layers)
    budget = max(share * sum(cost[-1] for cost in costs), sum(cost[0] for cost in costs))
    found = allocate(losses, costs, budget)
    assert found.loss == pytest.approx(by_milp(losses, costs, budget), rel=1e-9)
    assert found.gap <= 1e-9 * found.loss
    assert found.cost <= budget


def test_costs_that_are_no_integers() -> None:
    draw = np.random.default_rng(3)
    losses, costs = draw.random((6, 5)).tolist(), draw.random((6, 5)).tolist()
    found = allocate(losses, costs, budget=2.3)
    assert found.loss == pytest.approx(brute(losses, costs, 2.3), rel=1e-12)


def test_what_is_not_proven_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "MAX_PARTIAL", 2)
    gaps = []
    for seed in range(8):
        losses, costs = model(10, seed=seed)
        budget = 0.3 * sum(cost[-1] for cost in costs)
        found = allocate(losses, costs, budget)
        best = by_milp(losses, costs, budget)
        assert found.bound - 1e-9 <= best <= found.loss + 1e-9
        gaps.append(found.gap)
    assert max(gaps) > 0


def test_factors_larger_than_the_matrix_stay_dense() -> None:
    m, n = 20, 30
    costs = [[float(k * (m + n)) for k in range(1, 21)] + [float(m * n)]]
    losses = [[1.0 / k for k in range(1, 21)] + [0.0]]
    assert allocate(losses, costs, budget=10_000).options == [20]
    # 600 / 50: rank 12 costs what the matrix costs.
    assert allocate(losses, costs, budget=600).options == [20]
    assert allocate(losses, costs, budget=599).options == [10]


def test_the_smallest_budget_is_said() -> None:
    with pytest.raises(BudgetTooSmall, match=r"^The budget must be at least 7, .* Found 6\.5\.$") as refused:
        allocate([[1.0, 0.0], [2.0]], [[3, 9], [4]], budget=6.5)
    assert refused.value.smallest == 7
    assert allocate([[1.0, 0.0], [2.0]], [[3, 9], [4]], budget=7).options == [0, 0]


@pytest.mark.parametrize(
    ("losses", "costs", "law"),
    [
        ([], [], "at least one layer"),
        ([[1.0]], [[1.0], [2.0]], "at least one layer"),
        ([[]], [[]], "Layer 0 must have at least one option"),
        ([[0.0], [1.0, 0.0]], [[1.0], [2.0]], "Layer 1 .* as many losses as costs"),
        ([[math.nan]], [[1.0]], "must be finite.*layer 0"),
        ([[0.0]], [[math.inf]], "must be finite.*layer 0"),
    ],
)
def test_what_is_refused(losses: list[list[float]], costs: list[list[float]], law: str) -> None:
    with pytest.raises(ValueError, match=law):
        allocate(losses, costs, budget=10)


def test_budget_that_is_no_number() -> None:
    with pytest.raises(BudgetTooSmall, match="Found nan"):
        allocate([[0.0]], [[1.0]], budget=math.nan)
