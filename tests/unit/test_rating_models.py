"""Rating models against dense formulas; the loops run as they are, not compiled."""

from typing import Any

import numpy as np
import pytest
import torch

from eckart.linalg.entries import Entries
from eckart.linalg.pair_mean import PairMean
from eckart.methods.completion import Completion
from eckart.methods.ratings import RatingsCompletion
from eckart.optim import gibbs as gibbs_module
from eckart.optim import ratings, row_updates
from eckart.optim.gibbs import Gibbs
from eckart.optim.layout import Layout
from eckart.optim.weighted_als import WeightedALS

DRAWS = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that are not compiled: a compilation takes longer than all of these tests."""
    for module in (gibbs_module, ratings):
        monkeypatch.setattr(module, "compiled", lambda loop, parallel=False: loop)


def rated(rows: int = 9, cols: int = 7, share: float = 0.6) -> Entries:
    """Ratings of a matrix of rank 1 with biases; no row or column is empty."""
    matrix = 3 + np.add.outer(DRAWS.normal(size=rows), DRAWS.normal(size=cols))
    matrix += np.outer(DRAWS.normal(size=rows), DRAWS.normal(size=cols))
    hidden = DRAWS.random((rows, cols)) > share
    hidden[np.arange(rows), np.arange(rows) % cols] = False
    return Entries.of_matrix(torch.from_numpy(np.where(hidden, np.nan, matrix)))


@pytest.mark.parametrize("biases", [True, False])
def test_a_sweep_solves_the_ridge_regressions_weighted_by_counts(biases: bool) -> None:
    entries = rated()
    solver = WeightedALS(entries, 2, 0, torch.float64, ridge=0.3, biases=biases)
    before, dense = solver.cols.numpy().copy(), (entries.dense().numpy() - solver.mean) / solver.unit
    solver.advance(0)
    for row, vector in enumerate(solver.rows.numpy()):
        seen = ~np.isnan(dense[row])
        features, wanted = before[seen], dense[row, seen]
        if biases:
            features, wanted = np.c_[np.ones(seen.sum()), before[seen, 1:]], wanted - before[seen, 0]
        gram = features.T @ features + 0.3 * seen.sum() * np.eye(len(vector))
        np.testing.assert_allclose(vector, np.linalg.solve(gram, features.T @ wanted), atol=1e-10)


def test_a_draw_has_the_mean_and_the_covariance_of_the_posterior() -> None:
    count, size, noise = 5, 2, 0.5
    other, value = DRAWS.normal(size=(count, size + 1)), DRAWS.normal(size=count)
    precision, shift = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]]), DRAWS.normal(size=size + 1)
    offset, normal = DRAWS.normal(size=(1, size)), DRAWS.normal(size=(3000, size + 1))
    features = np.c_[np.ones(count), other[:, 1:]]
    posterior = features.T @ features / noise + precision
    wanted = features.T @ (value - other[:, 0] - other[:, 1:] @ offset[0]) / noise + shift
    start, col, one = np.array([0, count]), np.arange(count), np.ones(1)
    drawn = np.empty((len(normal), size + 1))
    for place in range(len(normal)):
        own, some = drawn[place : place + 1], normal[place : place + 1]
        row_updates.solve_rows(start, col, value, offset, other, precision, shift, one, noise, some, own, True)
    np.testing.assert_allclose(drawn.mean(0), np.linalg.solve(posterior, wanted), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.linalg.inv(posterior), atol=0.04)


def test_implicit_vectors_are_drawn_from_their_conditionals_and_residuals_follow() -> None:
    rows, cols = Layout.both(entries := rated(6, 5), entries.value.numpy())
    m, n, k = 6, 5, 2
    own, other, implicit = DRAWS.normal(size=(m, k)), DRAWS.normal(size=(n, k)), DRAWS.normal(size=(n, k))
    weight, tight, noise = rows.counts**-0.5, np.array([1.5, 0.7]), 0.4
    seen = ~entries.dense().isnan().numpy()

    def summed(vectors: Any) -> Any:
        return weight[:, None] * (seen @ vectors)

    def rest(vectors: Any) -> Any:
        product = (own + summed(vectors)) @ other.T
        return entries.value.numpy() - product[entries.row, entries.col]

    before, sums, residual = implicit.copy(), summed(implicit), rest(implicit)
    row_updates.draw_implicit(
        rows.start, rows.col, cols.start, cols.col, weight, noise, tight, np.zeros((n, k)), other.T.copy(), residual,
        sums, implicit,
    )  # fmt: skip
    # Without noise a draw is the conditional mean: coordinate by coordinate, the minimum of a quadratic function.
    for f in range(k):
        for i in range(n):

            def loss(value: float, f: int = f, i: int = i) -> float:
                before[i, f] = value
                return float(np.square(rest(before)).sum() / noise + tight[f] * value**2)

            least, zero, most = loss(-1.0), loss(0.0), loss(1.0)
            before[i, f] = (least - most) / (2 * (least + most - 2 * zero))
    np.testing.assert_allclose(implicit, before, atol=1e-8)
    np.testing.assert_allclose(sums, summed(implicit), atol=1e-10)
    np.testing.assert_allclose(residual, rest(implicit), atol=1e-10)


def test_the_mean_of_pairs_is_the_mean_where_it_has_room() -> None:
    pairs = [(torch.randn(8, 2, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)) for _ in range(3)]
    mean = PairMean(torch.zeros(8, 6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64))
    for count, pair in enumerate(pairs):
        mean.add(*pair, count)
    whole = torch.stack([left @ right for left, right in pairs]).mean(0)
    torch.testing.assert_close(mean.left @ mean.right, whole)
    u, s, vh = torch.linalg.svd(whole, full_matrices=False)
    left, right = mean.truncated(2)
    torch.testing.assert_close(left @ right, (u[:, :2] * s[:2]) @ vh[:2])


def gibbs(entries: Entries, **options: Any) -> Any:
    def make(own: Entries, rank: int, seed: int, dtype: torch.dtype) -> Gibbs:
        return Gibbs(own, rank, seed, dtype, **{"burn_in": 2, "sweeps": 5, **options})

    return RatingsCompletion([entries], ranks=[1], seeds=[3], optimizer=make, dtype=torch.float64)


def test_nothing_depends_on_the_unit_of_the_ratings() -> None:
    entries = rated()
    other = Entries(entries.row, entries.col, 100 * entries.value - 7, entries.shape)
    methods = [gibbs(own) for own in (entries, other)]
    for method in methods:
        method.learn()
    (left, right), (scaled_left, scaled_right) = (method.factors() for method in methods)
    torch.testing.assert_close(scaled_left @ scaled_right, 100 * (left @ right) - 7, rtol=1e-6, atol=1e-6)


def test_a_training_that_was_resumed_takes_the_same_steps() -> None:
    entries = rated()
    whole, begun, resumed = gibbs(entries), gibbs(entries), gibbs(entries)
    whole.learn()
    for step in range(3):
        begun.members[0].sweep(step)
    resumed.load_state_dict(begun.state_dict())
    for step in range(3, 5):
        resumed.members[0].sweep(step)
    for mine, wanted in zip(resumed.factors(), whole.factors(), strict=True):
        assert torch.equal(mine, wanted)


def test_the_factors_are_the_model_and_its_mean_and_biases_come_first() -> None:
    method = gibbs(rated(), implicit=False)
    method.learn()
    solver = method.members[0]
    (left, right), (rows, cols) = method.factors(), solver.vectors()
    model = solver.mean + solver.unit * (rows[:, :1] + cols[:, :1].T + rows[:, 1:] @ cols[:, 1:].T)
    torch.testing.assert_close((left @ right)[0], model)
    assert method.columns(0) == left.shape[2] == 3


def test_a_sweep_that_diverges_leaves_the_vectors_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = WeightedALS(rated(), 1, 0, torch.float64)
    before = solver.rows.clone()
    monkeypatch.setattr(solver, "advance", lambda step: solver.rows.fill_(torch.nan))
    assert not solver.sweep(0)
    assert torch.equal(solver.rows, before)


@pytest.mark.parametrize(
    ("matrix", "law"),
    [
        ([[2.0, 2.0], [torch.nan, 2.0]], "The ratings must differ. Found 3, all of them 2."),
        ([[2.0, torch.nan]], "There must be at least two ratings to learn from. Found 1."),
    ],
)
def test_ratings_that_nothing_can_be_learned_from(matrix: Any, law: str) -> None:
    with pytest.raises(ValueError, match=law):
        gibbs(Entries.of_matrix(torch.tensor(matrix)))


def test_the_optimizer_decides_the_model() -> None:
    assert Completion.trained_by(Gibbs) is RatingsCompletion
    assert Completion.trained_by(torch.optim.Adam) is Completion
    for options, law in (({"sweeps": 2}, "sweeps must be above burn_in=2. Found 2"), ({"burn_in": 0}, "burn_in")):
        with pytest.raises(ValueError, match=law):
            gibbs(rated(), **options)
    with pytest.raises(ValueError, match=r"ridge must be above 0\. Found 0"):
        WeightedALS(rated(), 1, 0, torch.float64, ridge=0)
