"""Rules for the rank of a matrix of which some entries are known."""

import numpy as np
import pytest
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection import RULES, all_choices, alternating, choose, choose_observed, choosing
from eckart.selection.alternating import AlternatingFit


def known(matrix: Tensor, share: float = 0.5, seed: int = 0) -> Entries:
    mask = torch.rand(matrix.shape, generator=stream(seed, "mask")) < share
    return Entries.of_matrix(matrix, mask)


def test_fits_to_all_entries_are_truncated_svds() -> None:
    matrix = with_spectrum(12, 9, [5.0, 3.0, 2.0]) + 0.1 * gaussian(12, 9)
    fit = AlternatingFit(Entries.of_matrix(matrix), tolerance=1e-14)
    u, s, vt = np.linalg.svd(matrix.numpy(), full_matrices=False)
    for rank in (1, 2, 3):
        fit.grow()
        np.testing.assert_allclose(fit.left @ fit.right.T, (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-6)
        assert fit.error == pytest.approx((s[rank:] ** 2).sum(), rel=1e-6)


def test_sparse_and_dense_products_fit_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = known(with_spectrum(20, 15, [5.0, 3.0]) + 0.1 * gaussian(20, 15), 0.6)
    dense = AlternatingFit(entries)
    monkeypatch.setattr(alternating, "DENSE_SIZE", 0)
    sparse = AlternatingFit(entries)
    assert (dense.dense, sparse.dense) == (True, False)
    for _ in range(3):
        dense.grow()
        sparse.grow()
    np.testing.assert_allclose(sparse.left @ sparse.right.T, dense.left @ dense.right.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("spectrum", [[1.0] * 6, [1.0, 1e-2, 1e-4]])
def test_entries_without_noise_have_their_rank(spectrum: list[float]) -> None:
    # Equal singular values: smaller ranks predict nothing.
    entries = known(with_spectrum(40, 30, spectrum), 0.7)
    for scale in (1.0, 1e200):
        found = choose_observed(entries / scale)
        assert found.rank == len(spectrum)
        assert "without noise" in found.reason


def test_noisy_entries_have_the_rank_that_predicts_best() -> None:
    matrix = with_spectrum(40, 30, [90.0, 70.0, 60.0]) + gaussian(40, 30)
    found = choose_observed(known(matrix), folds=4)
    assert found.rank == 3
    assert found == choose_observed(known(matrix), folds=4)
    assert found.reason.startswith("rank 3 predicts withheld entries best, with 0.")
    assert choose_observed(known(matrix), folds=1, max_rank=2).rank == 2


def test_nothing_but_noise_is_rank_1() -> None:
    found = choose_observed(known(gaussian(30, 20)), folds=4)
    assert found.rank == 1
    assert found.reason.startswith("nothing stands out of the noise")


def test_all_entries_are_the_matrix() -> None:
    matrix = with_spectrum(20, 15, [40.0, 30.0]) + gaussian(20, 15)
    for rule in RULES:
        assert choose_observed(Entries.of_matrix(matrix), rule) == choose(matrix, rule)


def test_each_rule_says_what_it_did_with_unknown_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = known(with_spectrum(20, 15, [90.0, 70.0]) + gaussian(20, 15), 0.8)
    choices = {choice.rule: choice for choice in all_choices(entries)}
    assert list(choices) == list(RULES)
    assert choices["cross_validation"][1:] == choices["best"][1:]
    assert choices["best"].rank == 2
    assert {rule for rule, choice in choices.items() if "zeros in the place" in choice.reason} == {
        "gavish_donoho",
        "screenot",
        "parallel_analysis",
    }
    monkeypatch.setattr(choosing, "DENSE_LIMIT", 299)
    few = all_choices(entries, max_rank=1)
    assert [choice.rule for choice in few] == ["best", "energy", "information", "cross_validation"]
    with pytest.raises(ValueError, match=r"^screenot needs a dense matrix of at most 299 entries.* Found 20×15\.$"):
        choose_observed(entries, "screenot")


def test_energy_of_observed_entries_is_the_share_that_the_fit_holds() -> None:
    entries = known(with_spectrum(40, 30, [9.0, 3.0, 1.0]), 0.8)
    for share, rank in ((0.8, 1), (0.98, 2), (0.999, 3)):
        found = choose_observed(entries, "energy", share=share)
        assert found.rank == rank
    few = choose_observed(entries, "energy", share=0.98, max_rank=1)
    assert few.rank == 1
    assert "by the largest rank that is tried, 1" in few.reason


@pytest.mark.parametrize(
    ("rule", "settings", "law"),
    [
        ("scree", {}, r"^rule must be one of: best, energy"),
        ("best", {"share": 0.9}, r"^share must be in \(0, 0\.5\]\. Found 0\.9\.$"),
        ("best", {"folds": 0}, r"^folds must be an integer of at least 1\. Found 0\.$"),
        ("energy", {"share": 2.0}, r"^share must be in \(0, 1\]\. Found 2\.0\.$"),
        ("information", {"kmax": -1}, r"^kmax must be an integer of at least 1\. Found -1\.$"),
    ],
)
def test_settings_outside_of_their_range_are_refused(rule: str, settings: dict[str, object], law: str) -> None:
    with pytest.raises(ValueError, match=law):
        choose_observed(known(gaussian(8, 6)), rule, **settings)  # type: ignore[arg-type]


def test_too_few_or_infinite_entries_are_refused() -> None:
    few = Entries.of_lists(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.ones(2), (3, 3))
    with pytest.raises(ValueError, match=r"^Withholding entries needs at least 4 of them\. Found 2\.$"):
        choose_observed(few)
    broken = Entries(few.row, few.col, torch.tensor([1.0, torch.inf]), (3, 3))
    with pytest.raises(ValueError, match=r"^The entries must be finite numbers\. Found NaN or infinity\.$"):
        choose_observed(broken)
