import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eckart.nn.low_rank_linear import LowRankLinear
from eckart.optim.scaled_gd import ScaledGD

Matrix = NDArray[np.float64]


def pair(rows: int, rank: int, cols: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    right = torch.randn(rank, cols, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return left, right


def conditioned(condition: float, dtype: torch.dtype = torch.float64) -> Tensor:
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (12, 9))
    return torch.from_numpy(u * np.geomspace(1, 1 / condition, 4) @ v.T).to(dtype)


def descend(optimizer: ScaledGD, left: Tensor, right: Tensor, target: Tensor, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (left @ right - target).square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(torch.linalg.matrix_norm(left @ right - target) / torch.linalg.matrix_norm(target))


def test_one_step_is_the_formula() -> None:
    left, right = pair(5, 2, 4)
    target = torch.zeros(5, 4, dtype=torch.float64)
    before = left.detach().numpy().copy(), right.detach().numpy().copy()
    residual = before[0] @ before[1]
    descend(ScaledGD([(left, right)], lr=0.3, damping=0.0), left, right, target, 1)
    expected_left = before[0] - 0.3 * residual @ before[1].T @ np.linalg.inv(before[1] @ before[1].T)
    expected_right = before[1] - 0.3 * np.linalg.inv(before[0].T @ before[0]) @ before[0].T @ residual
    np.testing.assert_allclose(left.detach(), expected_left, rtol=1e-10)
    np.testing.assert_allclose(right.detach(), expected_right, rtol=1e-10)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_steps_do_not_depend_on_the_condition_number(condition: float) -> None:
    left, right = pair(12, 4, 9)
    with torch.no_grad():
        left *= 0.1
    assert descend(ScaledGD([left, right]), left, right, conditioned(condition), 120) < 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_target_below_the_rank_gives_no_nan(dtype: torch.dtype) -> None:
    left, right = pair(12, 8, 9, dtype=dtype)
    error = descend(ScaledGD([(left, right)]), left, right, conditioned(10.0, dtype), 400)
    assert bool(left.isfinite().all() and right.isfinite().all())
    assert error < (1e-3 if dtype == torch.float32 else 1e-6)


def test_foreach_changes_nothing() -> None:
    results = []
    for foreach in (None, True, False):
        pairs = [pair(6, 2, 5, seed=1), pair(6, 2, 5, seed=2), pair(4, 2, 7, seed=3)]
        optimizer = ScaledGD(pairs, foreach=foreach)
        for _ in range(5):
            optimizer.zero_grad()
            sum((left @ right).square().sum() for left, right in pairs).backward()  # type: ignore[union-attr]
            optimizer.step()
        results.append([tensor.detach().numpy() for item in pairs for tensor in item])
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_groups_have_settings_of_their_own() -> None:
    still, moved = pair(3, 1, 3, seed=1), pair(3, 1, 3, seed=2)
    optimizer = ScaledGD([{"params": [still], "lr": 0.0}, {"params": list(moved)}], lr=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.5]
    before = still[0].clone()
    sum((left @ right).square().sum() for left, right in (still, moved)).backward()  # type: ignore[union-attr]
    optimizer.step()
    assert torch.equal(still[0], before)


def test_closure_is_called_and_its_loss_returned() -> None:
    left, right = pair(3, 1, 3)
    optimizer = ScaledGD([(left, right)])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (left @ right).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss  # type: ignore[return-value]

    first = float((left @ right).square().sum())
    assert float(optimizer.step(closure) or 0) == pytest.approx(first)
    assert float((left @ right).square().sum()) < first


def test_state_dict_round_trips_and_goes_on_the_same() -> None:
    left, right = pair(6, 2, 5)
    target = torch.ones(6, 5, dtype=torch.float64)
    optimizer = ScaledGD([(left, right)], lr=0.2, damping=1e-3)
    descend(optimizer, left, right, target, 3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    copies = copy.deepcopy(left), copy.deepcopy(right)
    resumed = ScaledGD([copies], lr=0.9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert (resumed.param_groups[0]["lr"], resumed.param_groups[0]["damping"]) == (0.2, 1e-3)
    descend(optimizer, left, right, target, 4)
    descend(resumed, *copies, target, 4)
    np.testing.assert_array_equal(left.detach(), copies[0].detach())


def test_layers_of_any_model_are_trained() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(LowRankLinear(8, 6, 2, bias=False), nn.Tanh(), LowRankLinear(6, 3, 2, bias=False))
    layers = [layer for layer in model if isinstance(layer, LowRankLinear)]
    optimizer = ScaledGD([(layer.left, layer.right) for layer in layers], lr=0.05)
    x, y = torch.randn(64, 8), torch.randn(64, 3)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("params", "law"),
    [
        ([torch.ones(3, 2)], "must come in pairs .* Found 1 tensors"),
        ([(torch.ones(3, 2), torch.ones(3, 2))], r"must have shapes .* Found \(3, 2\) and \(3, 2\)"),
        ([(torch.ones(3), torch.ones(3))], "must have shapes"),
        ([(torch.ones(4, 5, 3), torch.ones(4, 5, 6))], r"must have shapes .* Found \(4, 5, 3\) and \(4, 5, 6\)"),
        ([{"params": torch.ones(2, 2)}], "must come in pairs .* Found 1 tensors"),
    ],
)
def test_what_is_no_pair_is_refused(params: list[Any], law: str) -> None:
    with pytest.raises(ValueError, match=law):
        ScaledGD(params)


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"damping": -1.0}, {"lr": float("nan")}])
def test_negative_numbers_are_refused(settings: dict[str, float]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf"^The {name} must not be negative\. Found {value}\.$"):
        ScaledGD([pair(2, 1, 2)], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [0, 1])
def test_pair_without_both_gradients_is_not_stepped(missing: int) -> None:
    still, moved = pair(3, 1, 3, seed=1), pair(3, 1, 3, seed=2)
    optimizer = ScaledGD([still, moved])
    (still[1 - missing].square().sum() + (moved[0] @ moved[1]).square().sum()).backward()  # type: ignore[no-untyped-call]
    before = [tensor.detach().clone() for tensor in (*still, *moved)]
    optimizer.step()
    same = [torch.equal(old, new) for old, new in zip(before, (*still, *moved), strict=True)]
    assert same == [True, True, False, False]


def test_batches_of_pairs_are_damped_by_a_share_of_the_mean_diagonal() -> None:
    left, right = pair(5, 2, 4)
    batch = [part.detach()[None].repeat(2, 1, 1).requires_grad_() for part in (left, right)]
    optimizer = ScaledGD([tuple(batch)], lr=0.3, damping=0.1)
    (batch[0] @ batch[1]).square().sum().div(2).backward()
    optimizer.step()
    u, v = left.detach().numpy(), right.detach().numpy()
    residual = u @ v

    def damped(gram: Matrix) -> Matrix:
        return np.linalg.inv(gram + 0.1 * np.trace(gram) / 2 * np.eye(2))

    for member in range(2):
        found = batch[0][member].detach(), batch[1][member].detach()
        np.testing.assert_allclose(found[0], u - 0.3 * residual @ v.T @ damped(v @ v.T), rtol=1e-9)
        np.testing.assert_allclose(found[1], v - 0.3 * damped(u.T @ u) @ u.T @ residual, rtol=1e-9)
