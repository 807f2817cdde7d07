from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import eckart
from eckart import LowRankApproximation, MatrixCompletion


@parametrize_with_checks([LowRankApproximation(), MatrixCompletion()])  # type: ignore[untyped-decorator]
@pytest.mark.processes
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.processes
@parametrize_with_checks([LowRankApproximation("auto"), MatrixCompletion("auto")])  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks_where_a_rule_chooses_the_rank(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def samples() -> Any:
    return np.random.default_rng(0).standard_normal((40, 12)) @ np.diag(0.8 ** np.arange(12))


def projector(components: Any) -> Any:
    return components.T @ components


@pytest.mark.parametrize("method", ["bottleneck", "factorization", "svd"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_numbers_are_those_of_truncated_svd(method: str, sparse: bool, samples: Any) -> None:
    given = sp.csr_array(samples) if sparse else samples
    ours = LowRankApproximation(rank=3, method=method).fit(given)
    theirs = TruncatedSVD(3, algorithm="arpack").fit(samples)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-8)
    np.testing.assert_allclose(projector(ours.components_), projector(theirs.components_), atol=1e-6)
    assert (ours.components_[np.arange(3), np.abs(ours.components_).argmax(1)] > 0).all()
    np.testing.assert_allclose(np.abs(ours.transform(given)), np.abs(theirs.transform(samples)), atol=1e-6)
    back = ours.inverse_transform(ours.transform(given))
    np.testing.assert_allclose(back, theirs.inverse_transform(theirs.transform(samples)), atol=1e-6)
    s = np.linalg.svd(samples, compute_uv=False)
    assert ours.score(given) == pytest.approx((s[:3] ** 2).sum() / (s**2).sum(), abs=1e-10)
    assert ours.errors_["excess_frobenius"] < 1e-8
    assert ours.optimum_["frobenius"] == pytest.approx(np.sqrt((s[3:] ** 2).sum() / (s**2).sum()))


def test_of_centered_samples_it_is_pca(samples: Any) -> None:
    centered = samples - samples.mean(0)
    ours, theirs = LowRankApproximation(rank=4).fit(centered), PCA(4).fit(samples)
    np.testing.assert_allclose(projector(ours.components_), projector(theirs.components_), atol=1e-6)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-8)
    fresh = np.random.default_rng(1).standard_normal((5, 12))
    np.testing.assert_allclose(
        np.abs(ours.transform(fresh - samples.mean(0))), np.abs(theirs.transform(fresh)), atol=1e-6
    )


def test_an_integer_state_is_the_seed_of_a_fit(samples: Any) -> None:
    options: dict[str, Any] = {"max_steps": 5, "optimizer": "adam"}
    result = eckart.fit(samples, 2, "factorization", seed=7, lr=0.1, **options)
    model = LowRankApproximation(2, random_state=7, options={"lr": 0.1}, **options).fit(samples)
    assert (model.singular_values_ == result.svd()[1].numpy()).all()
    assert model.n_steps_ == 5
    drawn = [LowRankApproximation(2, random_state=np.random.RandomState(1), **options).fit(samples) for _ in range(2)]
    assert (drawn[0].components_ == drawn[1].components_).all()
    assert not (drawn[0].components_ == model.components_).all()


def test_the_rank_is_chosen_by_cross_validation() -> None:
    random = np.random.default_rng(2)
    samples = random.standard_normal((30, 2)) @ random.standard_normal((2, 8))
    search = GridSearchCV(LowRankApproximation(method="svd"), {"rank": [1, 2]}, cv=3).fit(samples)
    assert search.best_params_ == {"rank": 2}
    assert search.best_score_ == pytest.approx(1)


def test_a_rule_chooses_the_rank() -> None:
    random = np.random.default_rng(2)
    samples = random.standard_normal((30, 2)) @ random.standard_normal((2, 8))
    model = LowRankApproximation("auto", method="svd").fit(samples)
    assert (model.rank_, model.components_.shape, model.transform(samples).shape) == (2, (2, 8), (30, 2))
    fewer = LowRankApproximation("auto", method="svd", selection="energy", options={"share": 0.5}).fit(samples)
    assert fewer.rank_ == 1


@pytest.fixture(scope="module")
def whole() -> Any:
    random = np.random.default_rng(3)
    return random.standard_normal((40, 2)) @ random.standard_normal((2, 15))


def hidden(whole: Any, share: float = 0.4, seed: int = 4) -> Any:
    return np.where(np.random.default_rng(seed).random(whole.shape) < share, np.nan, whole)


def test_missing_entries_are_recovered_also_in_new_samples(whole: Any) -> None:
    model = MatrixCompletion(rank=2).fit(hidden(whole))
    np.testing.assert_allclose(model.inverse_transform(model.transform(hidden(whole))), whole, atol=1e-7)
    assert model.score(hidden(whole)) == pytest.approx(1)
    np.testing.assert_allclose(model.singular_values_, np.linalg.svd(whole, compute_uv=False)[:2], rtol=1e-7)
    fresh = np.random.default_rng(5).standard_normal((600, 2)) @ model.components_
    few = hidden(fresh, 0.5, seed=6)
    determined = (~np.isnan(few)).sum(1) >= 3
    np.testing.assert_allclose(model.inverse_transform(model.transform(few))[determined], fresh[determined], atol=1e-6)


def test_without_missing_entries_completion_is_approximation(samples: Any) -> None:
    completed, approximated = MatrixCompletion(rank=3).fit(samples), LowRankApproximation(rank=3).fit(samples)
    np.testing.assert_allclose(completed.transform(samples), approximated.transform(samples), atol=1e-6)
    assert completed.score(samples) == pytest.approx(approximated.score(samples))


def test_a_sample_with_too_few_entries_has_coordinates_of_least_norm(whole: Any) -> None:
    model = MatrixCompletion(rank=2).fit(hidden(whole))
    empty, single = np.full(15, np.nan), np.full(15, np.nan)
    single[3] = 2.0
    coordinates = model.transform(np.stack([empty, single]))
    assert (coordinates[0] == 0).all()
    column = model.components_[:, 3]
    np.testing.assert_allclose(coordinates[1], 2 * column / (column @ column), rtol=1e-10)


def test_the_score_of_completion_is_the_share_of_squares_that_is_explained(samples: Any) -> None:
    model = MatrixCompletion(rank=2).fit(samples)
    seen = hidden(samples, 0.2)
    residual = np.nan_to_num(seen - model.inverse_transform(model.transform(seen)))
    assert model.score(seen) == pytest.approx(1 - (residual**2).sum() / (np.nan_to_num(seen) ** 2).sum())


def test_a_wrong_rank_and_wrong_coordinates_are_said_in_one_line(samples: Any) -> None:
    with pytest.raises(ValueError, match=r"min\(n_samples=40, n_features=12\)\. Found 13\.$"):
        LowRankApproximation(rank=13).fit(samples)
    with pytest.raises(ValueError, match=r"^rank must be an integer or 'auto'\. Found 2\.5\.$"):
        LowRankApproximation(rank=2.5).fit(samples)  # type: ignore[arg-type]
    model = LowRankApproximation(rank=2, method="svd").fit(samples)
    with pytest.raises(ValueError, match=r"^X must have 2 columns, one for each component\. Found shape \(40, 12\)\.$"):
        model.inverse_transform(samples)
