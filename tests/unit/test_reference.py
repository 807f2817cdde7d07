"""Norms, optimum and errors of targets, against the decompositions of NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian, observed_of, with_spectrum
from torch import Tensor

from eckart.linalg import reference as module
from eckart.linalg.operators import Dense, MatrixFree, Sparse, Stacked
from eckart.linalg.random import stream
from eckart.linalg.reference import ObservedReference, Reference

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("relative_2norm", "relative_frobenius", "excess_2norm", "excess_frobenius")
META, MPS = torch.device("meta"), torch.device("mps")


def expected_errors(target: Tensor, product: Tensor, rank: int) -> list[float]:
    spectrum = np.linalg.svd(target.numpy(), compute_uv=False)
    residual = np.linalg.svd((target - product).numpy(), compute_uv=False)
    tail = np.append(spectrum, 0.0)[rank:]
    errors = residual[0] / spectrum[0], np.linalg.norm(residual) / np.linalg.norm(spectrum)
    best = tail[0] / spectrum[0], np.linalg.norm(tail) / np.linalg.norm(spectrum)
    return [*errors, errors[0] - best[0], errors[1] - best[1]]


def factors(stack: int, rows: int, rank: int, cols: int) -> tuple[Tensor, Tensor]:
    return gaussian(stack, rows, rank, seed=1), gaussian(stack, rank, cols, seed=2)


def products(matrix: Tensor, transpose: bool = True) -> MatrixFree:
    rows, cols = matrix.shape
    return MatrixFree(lambda x: x @ matrix.T, (rows, cols), (lambda y: y @ matrix) if transpose else None)


@pytest.mark.parametrize("kind", ["dense", "sparse and matrix-free"])
def test_errors_of_small_targets_are_exact(kind: str) -> None:
    targets = gaussian(2, 9, 7)
    operator = Dense(targets) if kind == "dense" else Stacked([Sparse(targets[0].to_sparse()), products(targets[1])])
    measured = Reference(operator, [1, 7])
    assert (measured.stack, measured.shape, measured.ranks, measured.how) == (2, (9, 7), [1, 7], "exact")
    assert measured.operator is operator and measured.observed is None
    spectrum = np.linalg.svd(targets.numpy(), compute_uv=False)
    assert measured.matrix is not None and measured.spectrum is not None
    np.testing.assert_allclose(measured.matrix, targets, atol=1e-14)
    np.testing.assert_allclose(measured.spectrum, spectrum, rtol=1e-12)
    np.testing.assert_allclose(measured.norms[0], spectrum[:, 0], rtol=1e-12)
    np.testing.assert_allclose(measured.norms[1], np.linalg.norm(spectrum, axis=1), rtol=1e-12)
    left, right = factors(2, 9, 3, 7)
    found = measured.errors(left.float().requires_grad_(), right.float())
    assert tuple(found) == NAMES
    for member, rank in enumerate([1, 7]):
        product = left.float().double()[member] @ right.float().double()[member]
        expected = expected_errors(targets[member], product, rank)
        np.testing.assert_allclose([found[name][member] for name in NAMES], expected, rtol=1e-10)
    assert all(part.dtype == torch.float64 and not part.requires_grad for part in found.values())


def test_errors_on_observed_and_on_held_out_entries() -> None:
    targets, observed = gaussian(2, 6, 5), gaussian(2, 6, 5, seed=3) > 0
    left, right = factors(2, 6, 2, 5)
    found = Reference(Dense(targets), [2, 2], observed=observed).errors(left, right)
    assert tuple(found) == (*NAMES, "relative_observed", "relative_held_out")
    for member in range(2):
        goal, mask = targets[member].numpy(), observed[member].numpy()
        residual = goal - (left[member] @ right[member]).numpy()
        for name, part in (("relative_observed", mask), ("relative_held_out", ~mask)):
            expected = np.linalg.norm(residual[part]) / np.linalg.norm(goal[part])
            assert float(found[name][member]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rank", [0, 6])
@pytest.mark.parametrize("known", [True, False])
def test_ranks_that_the_shape_does_not_allow_are_refused(rank: int, known: bool) -> None:
    message = rf"^The rank must satisfy 1 <= rank <= min\(m, n\) = 5\. Found {rank}\.$"
    with pytest.raises(ValueError, match=message):
        if known:
            Reference(Dense(gaussian(1, 6, 5)), [2, rank])
        else:
            ObservedReference(observed_of(gaussian(1, 6, 5)), [2, rank])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_targets_that_are_not_finite_are_refused(value: float) -> None:
    target = gaussian(1, 6, 5)
    target[0, 3, 2] = value
    with pytest.raises(ValueError, match=r"^The target must be finite\. Found NaN or infinite entries\.$"):
        Reference(Dense(target), [2])


ZERO = r"^The target must not be all zero: relative errors are undefined for it\. Found norm 0\.$"
SCALE = r"^The target's 2-norm must be between {} and {}, so that its square is a number\. Found {}\.$"


@pytest.mark.parametrize("transpose", [None, True, False])
def test_targets_of_no_norm_are_refused_however_they_are_measured(
    transpose: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    unit = torch.zeros(40, 30, dtype=torch.float64)
    unit[0, 0] = 1

    def make(scale: float, **options: Any) -> Reference:
        matrix = scale * unit
        operator = Dense(matrix) if transpose is None else products(matrix, transpose)
        return Reference(operator, [2], **options)

    with pytest.raises(ValueError, match=ZERO):
        make(0.0)
    # The norm without a transpose is an estimate.
    for scale, found in ((3e141, r"[0-9.]+e\+14[12]"), (3e-142, r"[0-9.]+e-14[12]")):
        with pytest.raises(ValueError, match=SCALE.format("1e-140", r"1e\+140", found)):
            make(scale)
    make(1e139)
    make(1e-139)
    with pytest.raises(ValueError, match=SCALE.format(r"1e-02", r"1e\+02", ".*")):
        make(1000.0, limit=100.0)
    make(10.0, limit=100.0)


@pytest.mark.parametrize("norm", [4.0, 0.25])
def test_the_limits_of_the_scale_are_outside(norm: float) -> None:
    target = torch.zeros(1, 3, 3, dtype=torch.float64)
    target[0, 0, 0] = norm
    with pytest.raises(ValueError, match=SCALE.format("2e-01", r"4e\+00", ".*")):
        Reference(Dense(target), [1], limit=4.0)
    Reference(Dense(target), [1], limit=4.1)


def test_the_scale_is_that_of_the_two_norm() -> None:
    # The Frobenius norm is outside.
    Reference(Dense(3.0 * torch.eye(3, dtype=torch.float64)), [1], limit=4.0)


@pytest.mark.parametrize(
    ("shape", "entries", "exact"),
    [
        ((36, 40), 1440, True),
        ((36, 40), 1439, False),
        # A short side of at least 3 (rank + 1 + 8) is iterated.
        ((33, 50), 100, False),
        ((32, 50), 100, True),
        ((50, 33), 100, False),
        ((50, 32), 100, True),
    ],
)
def test_small_operators_are_measured_exactly_and_large_ones_are_estimated(
    shape: tuple[int, int], entries: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.EXACT_ENTRIES == 4_000_000
    monkeypatch.setattr(module, "EXACT_ENTRIES", entries)
    target = gaussian(*shape)
    measured = Reference(Stacked([products(target), products(target)]), [1, 2])
    assert measured.how == ("exact" if exact else "estimated from 100 fresh probes")
    assert (measured.matrix is not None) == (measured.spectrum is not None) == exact
    # What is stored entry by entry is exact at any size.
    assert Reference(Dense(target), [2]).how == "exact"


SPECTRUM = np.array([5.0, 4, 3, 2, 1, 0.5])


def isotropic(self: Reference) -> Tensor:
    """100 probes whose second moment is the identity, so that their estimate is exact."""
    n = self.shape[1]
    sets = [torch.linalg.qr(gaussian(n, n, seed=seed)).Q * n**0.5 for seed in range(100 // n)]
    return torch.cat(sets).expand(self.stack, -1, -1)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Reference]:
    """Two targets that are estimated, from probes that make the estimate exact."""
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    monkeypatch.setattr(Reference, "_probes", isotropic)
    targets = torch.stack([with_spectrum(60, 50, SPECTRUM), with_spectrum(60, 50, SPECTRUM**2, seed=1)])
    return targets, Reference(Stacked([products(target) for target in targets]), [2, 4])


def test_norms_and_optimum_of_a_large_operator_are_iterated(large: tuple[Tensor, Reference]) -> None:
    _, measured = large
    for member, (rank, spectrum) in enumerate(((2, SPECTRUM), (4, SPECTRUM**2))):
        norm, tail = np.linalg.norm(spectrum), spectrum[rank:]
        assert float(measured.norms[0][member]) == pytest.approx(spectrum[0], rel=1e-6)
        assert float(measured.norms[1][member]) == pytest.approx(norm, rel=1e-9)
        assert float(measured.optimum[0][member]) == pytest.approx(tail[0] / spectrum[0], rel=1e-5)
        assert float(measured.optimum[1][member]) == pytest.approx(np.linalg.norm(tail) / norm, rel=1e-5)


def test_errors_of_a_large_operator_are_those_of_its_residual(large: tuple[Tensor, Reference]) -> None:
    targets, measured = large
    left, right = (0.3 * part for part in factors(2, 60, 3, 50))
    found = measured.errors(left.requires_grad_(), right)
    assert tuple(found) == NAMES
    for member, rank in enumerate([2, 4]):
        expected = expected_errors(targets[member], (left[member] @ right[member]).detach(), rank)
        np.testing.assert_allclose([found[name][member] for name in NAMES], expected, rtol=1e-5)
    assert all(part.dtype == torch.float64 and not part.requires_grad for part in found.values())


def test_probes_are_fresh_gaussian_ones_that_stay_the_same() -> None:
    measured = Reference(Stacked([products(gaussian(5, 2000))] * 3), [1, 1, 1])
    x = measured._probes()
    assert x.shape == (3, 100, 2000) and x.dtype == torch.float64 and module.PROBES == 100
    assert torch.equal(x[0], x[2]) and torch.equal(x, measured._probes())
    assert float(x[0].mean()) == pytest.approx(0, abs=0.01)
    assert float(x[0].square().mean()) == pytest.approx(1, abs=0.02)
    # Of a stream of their own.
    assert torch.equal(x[0], torch.randn(100, 2000, generator=stream(0, "measuring"), dtype=torch.float64))


def test_an_operator_without_a_transpose_has_a_frobenius_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    monkeypatch.setattr(Reference, "_probes", isotropic)
    target = with_spectrum(60, 50, SPECTRUM)
    measured = Reference(products(target, transpose=False), [2])
    assert measured.norms[0].isnan().all() and float(measured.norms[1]) == pytest.approx(np.linalg.norm(SPECTRUM))
    assert measured.optimum[0].isnan().all() and measured.optimum[1].isnan().all()
    left, right = factors(1, 60, 3, 50)
    found = measured.errors(left, right)
    expected = expected_errors(target, left[0] @ right[0], 2)
    assert float(found["relative_frobenius"]) == pytest.approx(expected[1], rel=1e-9)
    assert all(found[name].isnan().all() for name in NAMES if name != "relative_frobenius")


@pytest.mark.parametrize("transpose", [True, False])
def test_errors_of_a_large_operator_are_estimated_and_say_so(transpose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.linalg.qr(torch.randn(size, 60, generator=generator).double()).Q for size in (90, 70))
    matrix = (u * torch.logspace(0, -3, 60).double()) @ v.T
    operator = products(matrix, transpose)
    measured, exact = Reference(operator, [5]), Reference(Dense(matrix), [5])
    assert (measured.how, exact.how) == ("estimated from 100 fresh probes", "exact")
    left, right = u[None, :, :5], v.T[None, :5] * 0.5
    found, expected = measured.errors(left, right), exact.errors(left, right)
    # 100 probes of a matrix of some ten singular values that count: a few percent.
    assert found["relative_frobenius"] == pytest.approx(expected["relative_frobenius"], rel=0.15)
    if transpose:
        assert found["relative_2norm"] == pytest.approx(expected["relative_2norm"], rel=1e-5)
        assert measured.optimum[0] == pytest.approx(exact.optimum[0], rel=1e-4)
        assert measured.optimum[1] == pytest.approx(exact.optimum[1], rel=0.3)
    else:
        assert found["relative_2norm"].isnan() and found["excess_frobenius"].isnan()
        assert measured.optimum[0].isnan()


def test_an_estimate_is_no_smaller_than_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    monkeypatch.setattr(Reference, "_probes", lambda self: 0.1 * isotropic(self))
    measured = Reference(products(with_spectrum(60, 50, SPECTRUM)), [2])
    # Three values are iterated for rank 2.
    assert float(measured.norms[1]) == pytest.approx(np.linalg.norm(SPECTRUM[:3]), rel=1e-6)
    assert float(measured.optimum[1]) == pytest.approx(3 / np.linalg.norm(SPECTRUM[:3]), rel=1e-5)


def test_the_optimum_of_a_target_of_that_rank_is_zero_and_not_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 100)
    monkeypatch.setattr(Reference, "_probes", lambda self: 0.1 * isotropic(self))
    for seed in range(5):
        measured = Reference(products(with_spectrum(60, 50, [3.0, 2.0], seed=seed)), [2])
        assert float(measured.optimum[1]) == pytest.approx(0, abs=1e-7)
        assert float(measured.optimum[0]) == pytest.approx(0, abs=1e-12)


def test_everything_that_is_measured_with_moves_to_the_device_that_has_float64() -> None:
    measured = Reference(Dense(gaussian(1, 6, 5)), [2], observed=gaussian(1, 6, 5) > 0)

    def devices() -> set[str]:
        parts = [measured.matrix, measured.spectrum, *measured.norms, *measured.optimum, measured.observed]
        return {"none" if part is None else part.device.type for part in parts}

    before = [*measured.norms, *measured.optimum]
    measured.to(torch.device("cpu"))
    assert [float(part) for part in (*measured.norms, *measured.optimum)] == [float(part) for part in before]
    measured.to(MPS)
    assert devices() == {"cpu"}
    measured.to(META)
    assert devices() == {"meta"}
    without = Reference(Dense(gaussian(1, 6, 5)), [2])
    without.to(META)
    assert without.observed is None and without.norms[0].device == META


def test_the_tolerance_of_a_two_norm_and_factors_of_another_device_are_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def watched(target: Tensor, left: Tensor, right: Tensor, *, tolerance: float) -> tuple[Tensor, Tensor]:
        asked.append((tolerance, left.device.type, right.device.type))
        return target[:, 0, 0], target[:, 0, 0]

    monkeypatch.setattr(module, "residual_norms", watched)
    measured = Reference(Dense(gaussian(1, 6, 5)), [2])
    measured.errors(*factors(1, 6, 2, 5))
    measured.to(META)
    monkeypatch.setattr(module, "errors_of", lambda *norms: {})
    measured.errors(*factors(1, 6, 2, 5), tolerance=1e-3)
    assert asked == [(1e-12, "cpu", "cpu"), (1e-3, "meta", "meta")]


def test_what_is_estimated_stays_where_its_images_are(large: tuple[Tensor, Reference]) -> None:
    _, measured = large
    measured.to(META)
    assert {part.device.type for part in (*measured.norms, *measured.optimum)} == {"cpu"}


def observed_target() -> Tensor:
    target = gaussian(2, 6, 5, dtype=torch.float32)
    target[gaussian(2, 6, 5, seed=3) < 0] = torch.nan
    return target


def test_of_targets_with_missing_entries_the_observed_ones_are_measured() -> None:
    target = observed_target()
    measured = ObservedReference(observed_of(target), [1, 2])
    assert (measured.stack, measured.shape, measured.ranks) == (2, (6, 5), [1, 2])
    assert measured.how == "known on the observed entries alone"
    assert measured.matrix is None and measured.spectrum is None
    for part in (*measured.norms, *measured.optimum):
        assert part.shape == (2,) and part.isnan().all()
    left, right = factors(2, 6, 2, 5)
    found = measured.errors(left.requires_grad_(), right)
    assert tuple(found) == ("relative_observed",)
    assert found["relative_observed"].dtype == torch.float64 and not found["relative_observed"].requires_grad
    for member in range(2):
        goal = target[member].double().numpy()
        residual = goal - (left[member] @ right[member]).detach().numpy()
        expected = np.sqrt(np.nansum(residual**2) / np.nansum(goal**2))
        assert float(found["relative_observed"][member]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_observed_entries_must_be_finite(value: float) -> None:
    target = observed_target()
    target[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"^The observed entries must be finite\. Found infinite ones\.$"):
        ObservedReference(observed_of(target), [1, 1])


def test_observed_entries_of_no_norm_are_refused() -> None:
    missing = torch.tensor([[[0.0, torch.nan], [torch.nan, 0.0]]], dtype=torch.float64)
    with pytest.raises(ValueError, match=ZERO):
        ObservedReference(observed_of(missing), [1])
    for value, found in ((2e140, r"2\.0e\+140"), (2e-141, r"2\.0e-141")):
        with pytest.raises(ValueError, match=SCALE.format("1e-140", r"1e\+140", found)):
            ObservedReference(observed_of(missing.masked_fill(missing == 0, value / 2**0.5)), [1])


def test_observed_entries_move_to_the_device_that_has_float64() -> None:
    measured = ObservedReference(observed_of(observed_target()), [1, 1])

    def devices() -> set[str]:
        held = [measured._norms, *(part for own in measured._entries for part in (own.row, own.col, own.value))]
        return {part.device.type for part in held}

    measured.to(MPS)
    assert devices() == {"cpu"}
    measured.to(META)
    assert devices() == {"meta"}


def _targets(name: str) -> tuple[Tensor, Any]:
    spectrum = SPECTRUM if name == "rank 6" else np.linspace(3, 0.1, 50)
    matrix = with_spectrum(60, 50, spectrum)
    if name == "wide":
        matrix = matrix.mT.contiguous()
    return matrix, Sparse(matrix.to_sparse()) if name == "sparse" else Dense(matrix)


@pytest.mark.parametrize("name", ["stored", "wide", "sparse", "rank 6"])
@pytest.mark.parametrize("rank", [1, 4])
def test_a_large_target_has_bounds_in_place_of_a_spectrum(
    name: str, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, operator = _targets(name)
    for limit, value in (("EXACT_ENTRIES", 100), ("_EXACT_WORK", 100), ("_EXACT_SIDE", 10)):
        monkeypatch.setattr(module, limit, value)
    monkeypatch.setattr(module, "singular_values", None)
    measured = Reference(operator, [rank])
    assert measured.how == "exact, against an optimum within bounds that are wrong with a probability of 1e-10"
    assert measured.spectrum is None
    u, s, vh = torch.linalg.svd(matrix)
    for loss in (1.0, 0.5):
        left, right = loss * u[None, :, :rank] * s[:rank], vh[None, :rank]
        errors = {key: float(values[0]) for key, values in measured.errors(left, right).items()}
        expected = expected_errors(matrix, left[0] @ right[0], rank)
        np.testing.assert_allclose([errors[key] for key in NAMES], expected, atol=2e-6)
        bounds = measured.bounds(0, left[0], right[0], errors)
        best = s[rank] / s[0], s[rank:].norm() / s.norm()
        for key, value in (("2norm", 0), ("frobenius", 1)):
            low, high = bounds[f"optimum_{key}_bounds"]
            assert low <= float(best[value]) <= high and high - low < 1e-6
            low, high = bounds[f"excess_{key}_bounds"]
            assert low <= expected[2 + value] <= high and high - low < 1e-6


def test_an_exact_optimum_has_no_bounds() -> None:
    measured = Reference(Dense(gaussian(6, 5)), [2])
    assert measured.bounds(0, gaussian(6, 2), gaussian(2, 5), {}) == {}


def test_the_bounds_of_a_high_rank_follow_from_the_gram_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT_WORK", 100)
    monkeypatch.setattr(module, "_EXACT_SIDE", 10)
    matrix = with_spectrum(60, 50, np.linspace(3, 0.1, 50))
    measured = Reference(Dense(matrix), [20])
    assert measured.certificates is not None and measured.certificates[0].failure == 0
    s = torch.linalg.svdvals(matrix)
    assert float(measured.optimum[0]) == pytest.approx(float(s[20] / s[0]), abs=1e-10)
    assert float(measured.optimum[1]) == pytest.approx(float(s[20:].norm() / s.norm()), abs=1e-10)


def test_bounds_of_an_excess_hold_it_where_it_is_lost_in_the_rounding_of_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXACT_ENTRIES", 0)
    matrix = torch.zeros(300, 200, dtype=torch.float64)
    for place in range(3):
        rows, cols = slice(90 * place, 90 * place + 10), slice(60 * place, 60 * place + 20)
        matrix[rows, cols] = 10.0**-place * gaussian(10, 1, seed=place) @ gaussian(1, 20, seed=place)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    left, right = u[:, :3] * s[:3], vh[:3]
    left[0] += 1e-9 * s[0]
    measured = Reference(Sparse(matrix.to_sparse()), [3])
    _, _, spectral, frobenius = expected_errors(matrix, left @ right, 3)
    # Each of them rounds in another way.
    for seed in range(6):
        turn = torch.linalg.qr(gaussian(3, 3, seed=seed)).Q
        pair = left @ turn, turn.mT @ right
        errors = {name: float(error) for name, error in measured.errors(pair[0][None], pair[1][None]).items()}
        bounds = measured.bounds(0, *pair, errors)
        assert bounds["excess_2norm_bounds"][0] <= spectral <= bounds["excess_2norm_bounds"][1] <= 1.001 * spectral
        assert bounds["excess_frobenius_bounds"][0] <= frobenius <= bounds["excess_frobenius_bounds"][1] < 1e-6


def test_bounds_of_the_excess_of_an_exact_approximation_have_the_rounding_of_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_EXACT_WORK", "_EXACT_SIDE"):
        monkeypatch.setattr(module, name, 0)
    left, right = gaussian(100, 2, seed=3), gaussian(2, 90, seed=4)
    measured = Reference(Dense((left @ right)[None]), [2])
    errors = {name: float(error) for name, error in measured.errors(left[None], right[None]).items()}
    bounds = measured.bounds(0, left, right, errors)
    for name in ("excess_2norm_bounds", "excess_frobenius_bounds"):
        low, high = bounds[name]
        # Products with the target round by 5e-15 of its norm or so, those with what is left of it too.
        assert low <= 0 and 5e-15 < high < 1e-12
