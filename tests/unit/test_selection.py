"""Rules for the rank of a matrix that is known in full, against formulas, plain loops and theory."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.random import stream
from eckart.selection import RULES, all_choices, choose
from eckart.selection.cross_validation import block_errors
from eckart.selection.gavish_donoho import known_noise_coefficient, unknown_noise_coefficient
from eckart.selection.noise import Blocks, block_signs, correlated_blocks, noise_spectrum
from eckart.selection.screenot import default_upper, imputed_noise
from eckart.selection.spectrum import Spectrum
from eckart.selection.spikes import spikes

NOISE_RULES = [rule for rule in RULES if rule != "energy"]


def noisy(m: int, n: int, spectrum: list[float], seed: int = 0) -> Tensor:
    """Signal of the given singular values in standard normal noise, whose largest is about ``sqrt(m) + sqrt(n)``."""
    return with_spectrum(m, n, spectrum, seed) + gaussian(m, n, seed=seed + 1)


def autoregressive(m: int, n: int, seed: int = 0) -> Tensor:
    noise = gaussian(m, n, seed=seed)
    for col in range(1, n):
        noise[:, col] = 0.5 * noise[:, col - 1] + 0.75**0.5 * noise[:, col]
    return noise


def test_gavish_donoho_coefficients_are_those_of_the_paper() -> None:
    assert known_noise_coefficient(1.0) == pytest.approx(4 / 3**0.5, abs=1e-12)
    assert unknown_noise_coefficient(1.0) == pytest.approx(2.858, abs=5e-4)
    for beta in (0.05, 0.2, 0.5, 0.9):
        # The paper's cubic, whose error it states as at most .02.
        assert unknown_noise_coefficient(beta) == pytest.approx(
            0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43, abs=0.02
        )


def test_energy_is_the_least_rank_that_holds_the_share() -> None:
    spectrum = np.array([5.0, 3.0, 2.0, 1.0, 0.5])
    matrix = with_spectrum(9, 7, spectrum.tolist())
    held = np.cumsum(spectrum**2) / np.sum(spectrum**2)
    for share in (0.5, 0.7, 0.9, 0.96, 0.995, 1.0):
        assert choose(matrix, "energy", share=share).rank == 1 + int(np.argmax(held >= share - 1e-9))


def test_information_is_the_formula_of_bai_and_ng() -> None:
    matrix = noisy(30, 24, [40.0, 14.0, 11.0]).numpy()
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    criteria = []
    for k in range(7):
        residual = matrix - (u[:, :k] * s[:k]) @ vt[:k]
        criteria.append(np.log((residual**2).mean()) + k * (30 + 24) / (30 * 24) * np.log(24))
    assert choose(torch.from_numpy(matrix), "information", kmax=6).rank == int(np.argmin(criteria)) != 0


@pytest.mark.parametrize("null", ["signs", "permutation"])
def test_parallel_analysis_is_a_plain_loop(null: str) -> None:
    matrix = noisy(24, 16, [30.0, 14.0, 9.0, 8.0], seed=3)
    generator, drawn = stream(5, "parallel analysis"), []
    for _ in range(6):
        if null == "signs":
            other = matrix * (2 * torch.randint(2, matrix.shape, generator=generator) - 1)
        else:
            order = torch.rand(matrix.shape, generator=generator).argsort(0)
            other = torch.stack([matrix[order[:, col], col] for col in range(16)], 1)
        drawn.append(np.linalg.svd(other.numpy(), compute_uv=False))
    limits, rank = np.quantile(drawn, 0.9, axis=0), 0
    while np.linalg.svd(matrix.numpy(), compute_uv=False)[rank] > limits[rank]:
        rank += 1
    assert choose(matrix, "parallel_analysis", seed=5, draws=6, quantile=0.9, null=null).rank == rank > 0


def test_blocks_are_predicted_as_by_the_pseudo_inverse() -> None:
    matrix = gaussian(9, 8).numpy()
    rows, cols = np.array([1, 4, 6]), np.array([0, 5])
    others, rest = np.setdiff1d(np.arange(9), rows), np.setdiff1d(np.arange(8), cols)
    u, s, vt = np.linalg.svd(matrix[np.ix_(others, rest)])
    errors = block_errors(torch.from_numpy(matrix), torch.from_numpy(rows), torch.from_numpy(cols))
    for k, error in enumerate(errors):
        cut = (u[:, :k] * s[:k]) @ vt[:k]
        fitted = matrix[np.ix_(rows, rest)] @ np.linalg.pinv(cut) @ matrix[np.ix_(others, cols)] if k else 0
        assert float(error) == pytest.approx(((matrix[np.ix_(rows, cols)] - fitted) ** 2).sum(), rel=1e-9)


def test_spikes_in_white_noise_are_the_closed_form() -> None:
    # Quantiles of the quarter circle, the law of singular values of square white noise.
    angle = np.linspace(0, np.pi / 2, 20001)
    places = (np.arange(3000) + 0.5) / 3000
    quarter = 2 * np.sin(np.interp(places, (2 * angle + np.sin(2 * angle)) / np.pi, angle))[::-1]
    x = np.array([4.0, 2.0, 3**0.5])
    found = spikes(torch.from_numpy(x + 1 / x), torch.from_numpy(quarter.copy()), (9, 9))
    np.testing.assert_allclose(found.strength, x, rtol=1e-3)
    # Cosines 1 - 1 / x^2; at x = sqrt(3) keeping the triplet is of no use: y = 4 / sqrt(3).
    np.testing.assert_allclose(found.overlap, x * (1 - 1 / x**2), rtol=2e-3)
    assert float(found.overlap[2]) == pytest.approx(2 / 3**0.5, rel=2e-3)


def test_noise_is_imputed_from_the_values_below_the_largest() -> None:
    values = torch.tensor([99.0, 50.0, 4.0, 3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    found = imputed_noise(values, 2)
    assert torch.equal(found[2:], values[2:])
    assert float(found[0] - 4) == pytest.approx(3 / (2 ** (2 / 3) - 1))
    assert float(found[1] - 4) == pytest.approx(3 * (1 - 0.5 ** (2 / 3)) / (2 ** (2 / 3) - 1))
    for side in range(1, 30):
        upper = default_upper((side, 40))
        assert upper == 0 or 2 * upper + 1 < side


@pytest.mark.parametrize("rule", NOISE_RULES)
def test_each_rule_finds_strong_components_in_white_noise(rule: str) -> None:
    for m, n in ((50, 40), (30, 70)):
        assert choose(noisy(m, n, [60.0, 50.0, 45.0]), rule).rank == 3


def test_correlated_rows_deceive_gavish_donoho_alone() -> None:
    matrix = with_spectrum(80, 60, [80.0, 60.0, 50.0]) + autoregressive(80, 60)
    ranks = {rule: choose(matrix, rule).rank for rule in ("gavish_donoho", "screenot", "information", "best")}
    assert ranks.pop("gavish_donoho") > 3
    assert set(ranks.values()) == {3}
    assert "correlated along rows" in choose(matrix).reason
    assert "correlated along columns" in choose(matrix.mT).reason


def test_rows_of_different_noise_deceive_gavish_donoho_and_not_best() -> None:
    sizes = torch.logspace(-0.5, 0.5, 80, dtype=torch.float64)[torch.randperm(80, generator=stream(0, "order"))]
    matrix = with_spectrum(80, 60, [120.0, 90.0, 80.0]) + sizes[:, None] * gaussian(80, 60)
    assert choose(matrix, "gavish_donoho").rank > 3
    found = choose(matrix)
    assert found.rank == 3
    assert "of rows that differ by" in found.reason


def test_distant_correlations_are_left_to_screenot() -> None:
    order = torch.randperm(60, generator=stream(0, "order"))
    matrix = with_spectrum(150, 60, [120.0, 90.0, 80.0]) + autoregressive(150, 60)[:, order]
    found = choose(matrix)
    assert found.rank == 3
    assert "between distant entries, so ScreeNOT" in found.reason


def test_a_large_entry_is_noise() -> None:
    matrix = noisy(60, 50, [60.0, 50.0])
    matrix[3, 4] += 40
    assert choose(matrix, "screenot").rank == 3
    found = choose(matrix)
    assert found.rank == 2
    assert "with entries up to" in found.reason


def test_many_components_are_no_correlation() -> None:
    # More than ScreeNOT may find by default.
    matrix = noisy(200, 120, np.linspace(180, 70, 24).tolist())
    assert default_upper((200, 120)) < 24
    assert choose(matrix, "screenot").rank < 24
    assert choose(matrix).rank == 24


def test_strong_components_do_not_hide_weak_ones_from_best() -> None:
    matrix = noisy(60, 50, [900.0, 700.0, 600.0, 500.0, 28.0, 26.0])
    assert choose(matrix, "parallel_analysis").rank < 6
    assert choose(matrix).rank == 6


def test_blocks_cover_what_is_correlated() -> None:
    white, rows = gaussian(60, 50), autoregressive(60, 50)
    assert correlated_blocks(white)[:2] == (1, 1)
    assert correlated_blocks(rows).rows == 1 < correlated_blocks(rows).cols
    assert correlated_blocks(rows.mT).cols == 1 < correlated_blocks(rows.mT).rows
    signs = block_signs((8, 30), Blocks(1, 5, 0, 0), stream(0, "signs"))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert len({int((row != row[0]).long().argmax()) for row in signs}) > 2
    changes = (signs[:, 1:] != signs[:, :-1]).nonzero()
    for row in range(8):
        steps = changes[changes[:, 0] == row, 1].diff()
        assert bool((steps % 5 == 0).all())
    # Rows keep their norms, so the sum of squares stays.
    values = noise_spectrum(rows, Blocks(1, 5, 0, 0), stream(0, "signs"), 2)
    assert float(values.square().sum()) == pytest.approx(float(rows.square().sum()))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_units_change_nothing(scale: float) -> None:
    matrix = noisy(30, 25, [50.0, 40.0])
    choices = zip(all_choices(matrix), all_choices(scale * matrix), strict=True)
    assert all(one.rank == other.rank for one, other in choices)
    assert choose(scale * matrix, "gavish_donoho", noise=scale).rank == 2


@pytest.mark.parametrize("rule", NOISE_RULES)
def test_a_matrix_without_noise_has_its_rank(rule: str) -> None:
    for m, n, rank in ((9, 7, 3), (6, 12, 5), (20, 20, 19), (4, 4, 1)):
        found = choose(with_spectrum(m, n, [3.0] * rank, seed=rank), rule)
        assert (found.rank, found.rule) == (rank, rule)
        assert "without noise" in found.reason
        if rank < 7:
            single = gaussian(m, rank, dtype=torch.float32) @ gaussian(rank, n, seed=1, dtype=torch.float32)
            assert choose(single, rule).rank == choose(single.double(), rule).rank == rank


def test_noise_of_large_integers_is_no_roundoff() -> None:
    matrix = (1e6 * torch.ones(60, 50) + gaussian(60, 50)).round()
    assert Spectrum(matrix).exact_rank is None


def test_zeros_copies_and_centered_columns_are_no_low_rank() -> None:
    matrix = noisy(40, 30, [60.0, 50.0])
    repeated = torch.cat([matrix, matrix[:, :5], torch.zeros(40, 3, dtype=torch.float64)], 1)
    # Column means of zero take one rank from a wide matrix.
    wide = matrix.mT - matrix.mT.mean(0)
    for case in (repeated, repeated.mT, wide):
        assert Spectrum(case).exact_rank is None
        assert choose(case, "gavish_donoho").rank == 2


def test_pure_noise_gets_rank_1_and_says_so() -> None:
    matrix = gaussian(50, 40)
    for rule in ("best", "gavish_donoho", "screenot", "information"):
        found = choose(matrix, rule)
        assert found.rank == 1
        assert found.reason.startswith("nothing stands out of the noise: rank 0 was found")


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 9), (3, 3), (5, 4)])
def test_tiny_matrices_get_a_rank_by_every_rule(shape: tuple[int, int]) -> None:
    for matrix in (gaussian(*shape), torch.zeros(shape), torch.ones(shape)):
        choices = all_choices(matrix)
        assert [choice.rule for choice in choices] == list(RULES)
        assert all(1 <= choice.rank <= min(shape) and "\n" not in choice.reason for choice in choices)


def test_seeds_decide_what_is_drawn() -> None:
    matrix = noisy(40, 30, [14.0, 12.0, 11.0])
    for rule in ("best", "parallel_analysis", "cross_validation"):
        assert choose(matrix, rule, seed=4) == choose(matrix, rule, seed=4)
    reasons = {choose(matrix, "cross_validation", seed=seed).reason for seed in range(3)}
    assert len(reasons) > 1


def test_a_largest_rank_is_kept_and_told() -> None:
    found = choose(noisy(50, 40, [60.0, 50.0, 45.0]), "gavish_donoho", max_rank=2)
    assert found.rank == 2
    assert found.reason.endswith("rank 3 was found, 2 is the largest allowed")


@pytest.mark.parametrize(
    ("rule", "settings", "law"),
    [
        ("scree", {}, r"^rule must be one of: best, energy, .* Found 'scree'\.$"),
        ("energy", {"share": 0.0}, r"^share must be in \(0, 1\]\. Found 0\.0\.$"),
        ("information", {"kmax": 0}, r"^kmax must be an integer of at least 1\. Found 0\.$"),
        ("screenot", {"upper": 3}, r"^upper must satisfy .* < min\(m, n\) = 6\. Found 3\.$"),
        ("parallel_analysis", {"draws": 0}, r"^draws must be an integer of at least 1\. Found 0\.$"),
        ("parallel_analysis", {"null": "x"}, r"^null must be one of: signs, permutation\. Found 'x'\.$"),
        ("parallel_analysis", {"quantile": 2.0}, r"^quantile must be in \[0, 1\]\. Found 2\.0\.$"),
        ("cross_validation", {"folds": (1, 2)}, r"^folds must be from 2 to .* Found \(1, 2\)\.$"),
        ("best", {"max_rank": 0}, r"^max_rank must be an integer of at least 1\. Found 0\.$"),
    ],
)
def test_settings_outside_of_their_range_are_refused(rule: str, settings: dict[str, object], law: str) -> None:
    with pytest.raises(ValueError, match=law):
        choose(gaussian(8, 6), rule, **settings)  # type: ignore[arg-type]


def test_matrices_that_have_no_rank_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two dimensions .* Found shape \(2, 3, 4\)"):
        choose(gaussian(2, 3, 4))
    broken = gaussian(4, 3)
    broken[1, 1] = torch.nan
    with pytest.raises(ValueError, match=r"finite numbers alone\. Found NaN"):
        choose(broken)


def test_the_example_of_the_page_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "rank.md"
    done = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert done.attempted > 5
    assert done.failed == 0
