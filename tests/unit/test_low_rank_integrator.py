import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eckart.nn.low_rank_linear import LowRankLinear
from eckart.optim.low_rank_integrator import LowRankIntegrator, low_rank_layers
from eckart.optim.rank_truncation import Spectrum, Tolerance

M, N = 11, 7


def layer(rank: int, left: Tensor | None = None, right: Tensor | None = None, m: int = M, n: int = N) -> LowRankLinear:
    torch.manual_seed(0)
    made = LowRankLinear(n, m, rank, bias=False, dtype=torch.float64)
    with torch.no_grad():
        for factor, value in ((made.left, left), (made.right, right)):
            if value is not None:
                factor.copy_(value)
    return made


def matrix(made: LowRankLinear) -> Tensor:
    return (made.left @ made.right).detach()


def descend(optimizer: LowRankIntegrator, made: LowRankLinear, target: Tensor, steps: int = 1) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (made.left @ made.right - target).square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_is_the_dense_descent_where_that_stays_at_the_rank(momentum: float) -> None:
    # All matrices of the descent have the row and column spaces of the target.
    u, v = torch.linalg.qr(normal(M, 3))[0], torch.linalg.qr(normal(N, 3, seed=2))[0]
    target = u @ normal(3, 3, seed=3) @ v.mT
    made = layer(3, u @ normal(3, 3, seed=4), v.mT)
    dense, direction = matrix(made), torch.zeros(M, N, dtype=torch.float64)
    optimizer = LowRankIntegrator(made, lr=0.1, momentum=momentum, decay=0.05)
    for _ in range(40):
        descend(optimizer, made, target)
        direction = momentum * direction + (dense - target)
        dense = dense * (1 - 0.1 * 0.05) - 0.1 * direction
        torch.testing.assert_close(matrix(made), dense, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("smallest", [1.0, 1e-6, 1e-13])
def test_one_step_is_the_projected_gradient_truncated(smallest: float) -> None:
    u, v = torch.linalg.qr(normal(M, 3))[0], torch.linalg.qr(normal(N, 3, seed=2))[0]
    start = (u * torch.tensor([2.0, 1.0, smallest])) @ v.mT
    gradient = start - (target := normal(M, N, seed=5))
    made = layer(3, u, torch.tensor([2.0, 1.0, smallest])[:, None] * v.mT)
    descend(LowRankIntegrator(made, lr=0.2, momentum=0.0), made, target)
    tangent = u @ u.T @ gradient + gradient @ v @ v.T - u @ u.T @ gradient @ v @ v.T
    p, s, qh = np.linalg.svd((start - 0.2 * tangent).numpy())
    np.testing.assert_allclose(matrix(made), p[:, :3] * s[:3] @ qh[:3], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 0.3]), st.integers(0, 99))
def test_factors_stay_balanced(m: int, n: int, rank: int, tolerance: float | None, seed: int) -> None:
    rank = min(m, n, rank)
    made = layer(rank, normal(m, rank, seed=seed), normal(rank, n, seed=seed + 1), m, n)
    optimizer = LowRankIntegrator(made, lr=0.1, momentum=0.9, tolerance=tolerance)
    descend(optimizer, made, normal(m, n, seed=seed + 2), steps=5)
    left, right = made.left.detach(), made.right.detach()
    assert left.shape[1] == right.shape[0] == made.rank <= min(m, n)
    s = torch.linalg.svdvals(left @ right)[: made.rank]
    for gram in (left.mT @ left, right @ right.mT):
        torch.testing.assert_close(gram, torch.diag(s), atol=1e-9 * (1 + float(s[0])), rtol=0)


def test_loss_falls_in_every_step_below_the_curvature() -> None:
    made = layer(4)
    losses = descend(LowRankIntegrator(made, lr=0.5, momentum=0.0), made, target := normal(M, N), steps=100)
    assert all(after < before + 1e-12 for before, after in itertools.pairwise(losses))
    optimum = torch.linalg.svdvals(target)[4:].square().sum() / 2
    assert losses[-1] == pytest.approx(float(optimum), rel=1e-3)


def test_ranks_grow_to_what_the_target_needs_and_fall_again() -> None:
    made = layer(1)
    optimizer = LowRankIntegrator(made, lr=0.5, momentum=0.0, tolerance=1e-3)
    descend(optimizer, made, normal(M, 5) @ normal(5, N, seed=2), steps=60)
    assert made.rank == 5
    descend(optimizer, made, normal(M, 2) @ normal(2, N, seed=2), steps=60)
    assert made.rank == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_a_truncation_errs_by_the_tolerance_at_most(values: list[float], tolerance: float) -> None:
    spectrum = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    (kept,) = Tolerance(tolerance)([Spectrum(spectrum, torch.zeros_like(spectrum))])
    norm = float(spectrum.norm())
    assert kept == list(range(len(kept))) and len(kept) >= 1
    assert float(spectrum[len(kept) :].norm()) <= tolerance * norm + 1e-15
    if len(kept) > 1:
        assert float(spectrum[len(kept) - 1 :].norm()) > tolerance * norm - 1e-12


def test_a_truncation_chooses_for_all_layers() -> None:
    model: Any = nn.Sequential(LowRankLinear(N, M, 4), LowRankLinear(M, N, 4))
    seen: list[int] = []

    def truncation(spectra: Any) -> list[list[int]]:
        seen.extend(len(spectrum.values) for spectrum in spectra)
        return [[0, 2], [1]]

    optimizer = LowRankIntegrator(model, lr=0.1, truncation=truncation)
    model(torch.ones(3, N)).square().sum().backward()
    optimizer.step()
    assert seen == [7, 7]
    assert [part.rank for part in model] == [2, 1] and model[1].left.shape == (N, 1)
    optimizer.zero_grad()
    model(torch.ones(3, N)).square().sum().backward()
    optimizer.truncation = None
    optimizer.step()
    assert [part.rank for part in model] == [2, 1]


def test_sensitivities_are_the_squared_changes_of_the_loss() -> None:
    u, v = torch.linalg.qr(normal(M, 3))[0], torch.linalg.qr(normal(N, 3, seed=2))[0]
    values = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    made = layer(3, u * values, v.mT)
    seen: list[Spectrum] = []

    def truncation(spectra: Any) -> list[list[int]]:
        seen.extend(spectra)
        return [[0, 1, 2]]

    # A step so small that the singular vectors stay, and a loss that is linear: its change is exact.
    optimizer = LowRankIntegrator(made, lr=1e-12, truncation=truncation, memory=0.75)
    weights = [normal(M, N, seed=seed) for seed in (5, 6)]
    changes = []
    for weight in weights:
        optimizer.zero_grad()
        ((made.left @ made.right) * weight).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        changes.append([float((values[i] * torch.outer(u[:, i], v[:, i]) * weight).sum()) ** 2 for i in range(3)])
    expected = 0.75 * torch.tensor(changes[0]) + 0.25 * torch.tensor(changes[1])
    torch.testing.assert_close(seen[0].sensitivities[:3].float(), torch.tensor(changes[0]))
    torch.testing.assert_close(seen[1].sensitivities[:3].float(), expected)
    # Directions that the step adds have not been measured.
    assert seen[1].sensitivities[3:].abs().max() < 1e-9 and len(seen[1].values) == 6
    optimizer.truncate(lambda spectra: [spectra[0].sensitivities.argsort()[1:].sort().values.tolist()])
    left_out = int(expected.argmin())
    kept = [i for i in range(3) if i != left_out]
    torch.testing.assert_close(matrix(made), (u[:, kept] * values[kept]) @ v[:, kept].mT)
    state = optimizer.state[made.left]
    assert made.rank == 2 and state["left"].shape == (M, 2) and state["right"].shape == (2, N)
    assert len(state["sensitivities"]) == 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_zero_gradient_changes_nothing(momentum: float) -> None:
    made = layer(3)
    before = matrix(made)
    optimizer = LowRankIntegrator(made, lr=0.1, momentum=momentum)
    for _ in range(3):
        made.left.grad, made.right.grad = torch.zeros_like(made.left), torch.zeros_like(made.right)
        optimizer.step()
    torch.testing.assert_close(matrix(made), before, atol=1e-12, rtol=0)


def test_a_singular_value_of_zero_is_replaced_by_a_new_direction() -> None:
    left, right = normal(M, 3), normal(3, N)
    left[:, 2], right[2] = 0, 0
    made = layer(3, left, right)
    descend(LowRankIntegrator(made, lr=0.5, momentum=0.0), made, normal(M, 3, seed=8) @ normal(3, N, seed=9), steps=80)
    assert matrix(made).isfinite().all() and torch.linalg.matrix_rank(matrix(made)) == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_refused_and_changes_nothing(bad: float) -> None:
    model: Any = nn.Sequential(LowRankLinear(N, M, 2), LowRankLinear(M, N, 2))
    optimizer = LowRankIntegrator(model)
    model(torch.ones(3, N)).square().sum().backward()
    model[1].right.grad[0, 0] = bad
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match=r"^The gradient must be finite\. Found NaN or infinity in 1\.$"):
        optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


class Largest(TorchDispatchMode):
    """The largest number of entries of a tensor that an operation gives."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.entries = max(self.entries, *sizes, 0)
        return out


@pytest.mark.parametrize("tolerance", [None, 0.1])
def test_no_tensor_of_the_size_of_a_weight_is_made(tolerance: float | None) -> None:
    model: Any = nn.Sequential(LowRankLinear(97, 89, 3), nn.Tanh(), LowRankLinear(89, 97, 3))
    x = torch.randn(4, 97)
    with Largest() as watch:
        optimizer = LowRankIntegrator(model, tolerance=tolerance)
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - x).square().mean().backward()
            optimizer.step()
    # The largest are the bases, 97 × 6.
    assert 0 < watch.entries <= 97 * 6 < 89 * 97
    with Largest() as watch:
        model[0].left @ model[0].right
    assert watch.entries == 89 * 97


def test_other_parameters_descend_like_sgd() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(LowRankLinear(N, M, 2), nn.Linear(M, 3))
    x, twin = torch.randn(5, N), copy.deepcopy(model)
    optimizer = LowRankIntegrator(model, lr=0.1, momentum=0.5)
    sgd = torch.optim.SGD(twin[1].parameters(), lr=0.1, momentum=0.5)
    for _ in range(3):
        twin[0].load_state_dict(model[0].state_dict())
        for net, stepper in ((model, optimizer), (twin, sgd)):
            net.zero_grad()
            net(x).square().mean().backward()
            stepper.step()
    torch.testing.assert_close(model[1].weight, twin[1].weight)
    torch.testing.assert_close(model[1].bias, twin[1].bias)


def test_groups_share_a_rank() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Parameter(normal(2, M, 3)), nn.Parameter(normal(2, 3, N))

    model: Any = Grouped()
    target = torch.stack([normal(M, 1) @ normal(1, N), normal(M, 2, seed=3) @ normal(2, N, seed=4)])
    optimizer = LowRankIntegrator(model, lr=0.5, momentum=0.0, tolerance=1e-4)
    descend(optimizer, model, target, steps=80)
    assert model.left.shape == (2, M, 2)
    torch.testing.assert_close(model.left @ model.right, target, atol=1e-3, rtol=0)


def test_state_is_saved_and_loaded() -> None:
    made, target = layer(3), normal(M, N)
    optimizer = LowRankIntegrator(made, lr=0.1)
    descend(optimizer, made, target, steps=3)
    twin = copy.deepcopy(made)
    other = LowRankIntegrator(twin, lr=0.1)
    with torch.no_grad():
        twin.load_state_dict(made.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    descend(optimizer, made, target, steps=3)
    descend(other, twin, target, steps=3)
    torch.testing.assert_close(matrix(made), matrix(twin))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1.0}, "The lr must not be negative. Found -1.0."),
        ({"decay": -1.0}, "The decay must not be negative. Found -1.0."),
        ({"memory": 1.0}, "The memory must satisfy 0 <= memory < 1. Found 1.0."),
        ({"momentum": 1.0}, "The momentum must satisfy 0 <= momentum < 1. Found 1.0."),
        ({"tolerance": 1.0}, "The tolerance must satisfy 0 < tolerance < 1. Found 1.0."),
        (
            {"tolerance": 0.1, "truncation": Tolerance(0.1)},
            "The ranks follow from a tolerance or from a truncation. Fo",
        ),
    ],
)
def test_bad_arguments(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LowRankIntegrator(layer(2), **wrong)


def test_a_model_without_factors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^The model must have a module with .* left and right\. Found none\.$"):
        LowRankIntegrator(nn.Linear(3, 2))
    assert list(low_rank_layers(nn.Sequential(nn.Linear(2, 2), layer(1)))) == ["1"]
