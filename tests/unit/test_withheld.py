import itertools
from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian

import eckart
from eckart.data.incomplete import conditioned, mask
from eckart.linalg.entries import Entries
from eckart.methods.completion import Completion
from eckart.methods.withheld import Evidence, has_direction, withhold
from eckart.optim.gauss_newton import GaussNewton
from eckart.optim.objectives import ObservedEntries

FACTS = {
    "observed": 1000,
    "withheld": 50,
    "freedom": 500,
    "short": 0,
    "directed": False,
    "rested": True,
    "whole": 1e-12,
}


def observed(rows: int, cols: int, share: float, seed: int = 0) -> Entries:
    return Entries.of_matrix(
        gaussian(rows, cols), torch.from_numpy(np.random.default_rng(seed).random((rows, cols)) < share)
    )


@pytest.mark.parametrize(("share", "rank"), list(itertools.product((0.05, 0.3), (1, 3, 6))))
def test_each_row_and_column_keeps_as_many_entries_as_the_rank(share: float, rank: int) -> None:
    entries = observed(60, 40, 0.5)
    chosen = withhold(entries, rank, share=share, seed=1)
    assert int(chosen.sum()) == max(30, min(round(share * len(entries)), len(entries) // 5))
    for before, after in zip(entries.counts(), entries[~chosen].counts(), strict=True):
        assert (after >= torch.minimum(before, torch.tensor(rank))).all()


def test_rows_and_columns_that_have_no_entry_to_spare_lose_none() -> None:
    mask = torch.zeros(60, 40, dtype=torch.bool)
    mask[:, :4] = True
    mask[:30] = True
    entries = Entries.of_matrix(gaussian(60, 40), mask)
    chosen = withhold(entries, 4, share=0.1, seed=0)
    assert chosen.any() and not chosen[entries.row >= 30].any()


def test_none_is_withheld_where_too_few_are_left_beyond_the_degrees_of_freedom() -> None:
    entries = observed(20, 20, 0.5)
    count, spare = len(entries), [len(entries) - rank * (40 - rank) for rank in (4, 5)]
    assert spare[0] // 2 >= 10 > spare[1] // 2
    assert int(withhold(entries, 4, share=0.05, seed=0).sum()) == min(30, spare[0] // 2, count // 5)
    assert not withhold(entries, 5, share=0.05, seed=0).any()
    assert not withhold(entries, 1, share=0, seed=0).any()


def test_the_seed_alone_draws_them() -> None:
    entries = observed(30, 30, 0.5)
    first, again, other = (withhold(entries, 2, share=0.1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "recovered"),
        ({"error": 0.9}, "fits, not confirmed"),
        ({"withheld": 0}, "fits, not confirmed"),
        ({"freedom": 1000}, "fits, not confirmed"),
        ({"short": 1}, "fits, not confirmed"),
        ({"whole": 0.1}, "fits, not confirmed"),
        # Exact to 1e-4: enough, at rest or not.
        ({"rested": False}, "recovered"),
        ({"rested": False, "fit": 0.005, "final": 0.005, "error": 0.01}, "fits, not confirmed"),
        ({"final": 0.02}, "did not fit"),
        # Noise: the fit on 1000 entries leaves .1, so that .2 is expected of others.
        ({"fit": 0.1, "final": 0.1, "error": 0.24, "whole": 0.45}, "recovered"),
        ({"fit": 0.1, "final": 0.1, "error": 0.24, "whole": 0.5}, "did not fit"),
        ({"fit": 0.07, "final": 0.07, "error": 0.22}, "did not fit"),
        ({"fit": 0.1, "final": 0.1, "error": 0.2, "directed": True}, "did not fit"),
        ({"fit": 0.15, "final": 0.15, "error": 0.26}, "did not fit"),
        ({"fit": 0.005, "final": 0.005, "error": 0.1}, "fits, not confirmed"),
    ],
)
def test_verdicts(changed: dict[str, float], verdict: str) -> None:
    evidence = Evidence(**(FACTS | {"fit": 1e-13, "error": 1e-11, "final": 1e-13} | changed))  # type: ignore[arg-type]
    assert evidence.verdict == verdict
    assert len(evidence.reason.splitlines()) == 1


def test_noise_is_told_from_what_a_fit_of_lower_rank_leaves() -> None:
    entries = observed(50, 40, 0.4)
    noise = gaussian(len(entries), seed=5)
    direction = entries.product(gaussian(50, 1, seed=6), gaussian(1, 40, seed=7))
    assert not any(has_direction(entries, noise * noise.abs() ** power, seed) for power in (0, 1) for seed in range(5))
    assert all(has_direction(entries, noise + direction, seed) for seed in range(5))


def completed(
    noise: float = 0.0, share: float = 0.6, rank: int = 2, rows: int = 40
) -> tuple[np.ndarray, eckart.Result]:
    rng = np.random.default_rng(3)
    whole = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, 30)) + noise * rng.standard_normal((rows, 30))
    return whole, eckart.fit(np.where(rng.random(whole.shape) < share, whole, np.nan), rank, "completion", seed=1)


def test_a_recovered_matrix_is_fitted_to_every_entry_and_says_what_confirms_it() -> None:
    whole, result = completed()
    np.testing.assert_allclose(result.approximation(), whole, atol=1e-8)
    fields = result.fields
    assert fields["verdict"] == "recovered" and fields["withheld"] > 30
    assert fields["relative_withheld"] < 1e-8 and fields["relative_observed"] < 1e-9
    assert fields["stop_reason"].startswith("converged")


def test_noise_is_recovered_from_and_a_rank_that_is_too_low_is_not() -> None:
    _, noisy = completed(noise=0.1)
    assert noisy.fields["verdict"] == "recovered"
    assert 0.05 < noisy.fields["relative_withheld"] < 0.2
    _, low = completed(rank=1)
    assert low.fields["verdict"] == "did not fit"
    assert low.fields["stop_reason"].startswith("at rest")


def test_what_was_not_recovered_is_no_worse_than_zeros() -> None:
    for seed in range(3):
        whole, observed = conditioned(30, 30, 2, 1.0, 0.0, seed), mask(30, 30, 2, 1.2, "uniform", seed)
        options: dict[str, Any] = {"optimizer": "riemannian_cg", "max_steps": 60, "seed": seed}
        result = eckart.fit(torch.where(observed, whole, torch.nan), 2, "completion", **options)
        assert result.fields["verdict"] != "recovered"
        error = torch.linalg.matrix_norm(result.approximation() - whole) / torch.linalg.matrix_norm(whole)
        # Left as it was, it is 1.7 to 12.
        assert error < 1.2
        residual = torch.where(observed, result.approximation() - whole, 0)
        assert result.fields["loss"] == pytest.approx(float(residual.square().sum()))


def test_a_check_that_is_switched_off_confirms_nothing() -> None:
    rng = np.random.default_rng(3)
    whole = rng.standard_normal((20, 1)) @ rng.standard_normal((1, 15))
    entries = np.where(rng.random(whole.shape) < 0.7, whole, np.nan)
    result = eckart.fit(entries, 1, "completion", withheld=0.0)
    assert result.fields["verdict"] == "fits, not confirmed" and result.fields["withheld"] == 0
    with pytest.raises(ValueError, match=r"withheld must be a share from 0 to 0\.5\. Found 0\.6\.$"):
        eckart.fit(entries, 1, "completion", withheld=0.6)


def test_rows_and_columns_that_were_never_observed_are_not_made_up() -> None:
    rng = np.random.default_rng(3)
    whole = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    entries = whole.copy()
    entries[4], entries[:, 7] = np.nan, np.nan
    result = eckart.fit(entries, 2, "completion")
    found = result.approximation().numpy()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(entries))
    np.testing.assert_allclose(found, entries, atol=1e-8)
    u, s, vh = result.svd()
    assert u[4].isnan().all() and vh[:, 7].isnan().all() and s.isfinite().all()
    np.testing.assert_allclose((u * s) @ vh, entries, atol=1e-8)
    assert result.fields["numerical_rank"] == 2


def test_withheld_entries_are_not_read_until_they_are_released() -> None:
    entries = observed(12, 9, 0.7)
    chosen = torch.arange(len(entries)) % 5 == 0
    spoiled = Entries(entries.row, entries.col, torch.where(chosen, torch.nan, entries.value), entries.shape)
    left, right = gaussian(1, 12, 2, seed=1), gaussian(1, 2, 9, seed=2)
    clean, poisoned = (ObservedEntries([own], [chosen]) for own in (entries, spoiled))
    residual = clean.residual(left, right)
    assert torch.equal(residual, poisoned.residual(left, right)) and torch.equal(clean.norms, poisoned.norms)

    def read(objective: ObservedEntries) -> tuple[torch.Tensor, ...]:
        best = objective.best_left(right), objective.best_right(left)
        return (*objective.gradients(residual, left, right), *best, *objective.entries(0))

    assert all(itertools.starmap(torch.equal, zip(read(clean), read(poisoned), strict=True)))
    clean.release(torch.tensor([True]))
    assert torch.equal(clean.residual(left, right), ObservedEntries([entries]).residual(left, right))


def test_a_method_withholds_them_until_its_check() -> None:
    entries = Entries.of_matrix(gaussian(30, 2) @ gaussian(2, 20, seed=1), observed(30, 20, 0.7).dense().isfinite())
    method = Completion([entries], ranks=[2], seeds=[0], optimizer=GaussNewton, max_steps=500, tolerance=1e-12)
    ((hidden,), (objective, _, _)) = method.withheld, method.pair_problem()
    assert 0 < hidden.sum() == len(entries) - len(objective.entries(0)[0])
    row, col, _ = objective.entries(0)
    assert torch.equal(row, entries.row[~hidden]) and torch.equal(col, entries.col[~hidden])
    method.learn()
    assert len(objective.entries(0)[0]) == len(entries) and method.fields(0)["verdict"] == "recovered"


def test_a_row_and_a_column_that_lack_an_equation_are_not_confirmed() -> None:
    whole, seen = gaussian(30, 2) @ gaussian(2, 30, seed=1), gaussian(30, 30, seed=2) > -0.2
    seen[0], seen[:, 0] = torch.arange(30) < 2, torch.arange(30) < 2
    result = eckart.fit(torch.where(seen, whole, torch.nan), 2, "completion")
    assert result.fields["verdict"] == "fits, not confirmed"
    assert "too few observed entries to be determined" in result.fields["verdict_reason"]


def test_what_is_left_by_a_rank_that_is_a_little_too_low_is_no_noise() -> None:
    u, v = (torch.linalg.qr(gaussian(60, 2, seed=seed)).Q for seed in (0, 1))
    whole, seen = (u * torch.tensor([1.0, 0.1])) @ v.mT, gaussian(60, 60, seed=2) > -0.5
    result = eckart.fit(torch.where(seen, whole, torch.nan), 1, "completion")
    assert result.fields["relative_withheld"] < 0.2 and result.fields["verdict"] == "did not fit"
    assert "leading direction" in result.fields["verdict_reason"]
