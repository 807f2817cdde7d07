"""Estimators for scikit-learn: low-rank approximation of samples, and completion of missing entries."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot, svd_flip
from sklearn.utils.validation import check_is_fitted, validate_data

from eckart.api.fit import fit
from eckart.api.predicting import Predictor
from eckart.linalg.entries import Entries
from eckart.results.settings import AUTO

Array = NDArray[np.float64]
# Rows of a least-squares problem each, solved at once.
_BLOCK = 256


class _Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: they learn ``X ≈ U Σ Vᵀ`` by :func:`eckart.fit`, and keep Σ and Vᵀ."""

    rank: int | str
    selection: str
    random_state: Any

    def _learn(self, X: Any, method: str, ids: Any = (None, None)) -> None:
        rows, cols = X.shape
        automatic = isinstance(self.rank, str)
        if not automatic and not 1 <= self.rank <= min(rows, cols):  # type: ignore[operator]
            law = f"The rank must satisfy 1 <= rank <= min(n_samples={rows}, n_features={cols})"
            raise ValueError(f"{law}. Found {self.rank}.")
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        named = {name: getattr(self, name) for name in ("optimizer", "max_steps", "tolerance")}
        named["selection"] = self.selection if self.rank == AUTO else None
        options = {name: value for name, value in named.items() if value is not None}
        result = fit(X, self.rank, method, seed=int(seed), **options, **(self.options or {}))
        u, s, vh = (part.double().numpy() for part in result.svd())
        _, self.components_ = svd_flip(u, vh, u_based_decision=False)
        self.singular_values_ = s
        self.errors_, self.optimum_ = result.errors, result.optimum
        self.n_steps_, self.rank_ = result.fields["steps"], result.fields["rank"]
        limits = result.fields.get("rating_range")
        self.predictor_ = Predictor(result.left, result.right, tuple(limits) if limits else None, *ids)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def inverse_transform(self, X: Any) -> Array:
        """Samples of given coordinates, ``(n_samples, rank)`` to ``(n_samples, n_features)``."""
        check_is_fitted(self)
        coordinates = np.asarray(X, dtype=np.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != len(self.components_):
            law = f"X must have {len(self.components_)} columns, one for each component"
            raise ValueError(f"{law}. Found shape {coordinates.shape}.")
        return coordinates @ self.components_


class LowRankApproximation(_Estimator):
    """Low-rank approximation of samples, trained by a method of this package; the data are not centered.

    It does what scikit-learn's ``TruncatedSVD`` does, and its factors reach the same optimum.

    Args:
        rank: Number of components, ``1 <= rank <= min(n_samples, n_features)``, or ``"auto"``.
        method: As of :func:`eckart.fit`; ``svd`` computes and is not trained.
        optimizer: As of :func:`eckart.fit`; None for the one that comes with the method.
        max_steps: Steps at most; None for the method's own number.
        tolerance: Where the training stops; None for the method's own.
        options: Further options of the method and the optimizer, by name.
        selection: With ``rank="auto"``, the rule that chooses it, as of :func:`eckart.fit`; else it is not used.
        random_state: Seed; an instance of ``RandomState``, or None for numpy's own, draws one.

    Attributes:
        components_: Right singular vectors of the approximation, shape ``(rank, n_features)``, rows orthonormal.
        singular_values_: Its singular values, shape ``(rank,)``, nonincreasing.
        errors_: Relative errors and their excess over the optimum, as ``errors`` of :class:`eckart.Result`.
        optimum_: Relative errors of the best approximation.
        n_steps_: Steps of the training.
        rank_: The rank, also where a rule chose it.
        n_features_in_: Number of features.

    Example:
        >>> X = np.outer(np.arange(1.0, 5.0), [3.0, 4.0])
        >>> model = LowRankApproximation(rank=1).fit(X)
        >>> model.components_.round(6), round(model.score(X), 6)
        (array([[0.6, 0.8]]), 1.0)
    """

    def __init__(
        self,
        rank: int | str = 2,
        *,
        method: str = "factorization",
        optimizer: Any = None,
        max_steps: int | None = None,
        tolerance: float | None = None,
        options: dict[str, Any] | None = None,
        selection: str = "best",
        random_state: Any = 0,
    ) -> None:
        self.rank, self.method, self.optimizer, self.max_steps = rank, method, optimizer, max_steps
        self.tolerance, self.options, self.selection = tolerance, options, selection
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the components of samples, an array or a sparse matrix of shape ``(n_samples, n_features)``."""
        self._learn(validate_data(self, X, accept_sparse=("csr", "csc"), dtype=np.float64), self.method)
        return self

    def transform(self, X: Any) -> Array:
        """Coordinates of samples in the components, shape ``(n_samples, rank)``."""
        return np.asarray(safe_sparse_dot(self._checked(X), self.components_.T))

    def score(self, X: Any, y: Any = None) -> float:
        """Share of the sum of squares that lies in the span of the components, from 0 to 1."""
        samples = self._checked(X)
        total = samples.multiply(samples).sum() if hasattr(samples, "multiply") else np.square(samples).sum()
        return float(np.square(safe_sparse_dot(samples, self.components_.T)).sum() / total)

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=("csr", "csc"), dtype=np.float64, reset=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MatrixCompletion(_Estimator):
    """Low-rank completion of samples with missing entries, trained on the observed entries alone; NaN means missing.

    ``inverse_transform(transform(X))`` is X with its missing entries filled in, and with the observed ones
    approximated. The data are not centered, unless ``optimizer`` is one for ratings: ``gibbs`` or ``weighted_als``
    train a mean and a bias of each row and column as well, which are two more components.

    What is missing need not be stored: :meth:`fit_triplets` takes rows, columns and values by ids of any kind, and
    :meth:`fit_sparse` a sparse matrix of SciPy.

    Args:
        rank: Number of components, ``1 <= rank <= min(n_samples, n_features)``, or ``"auto"``.
        optimizer: As of :func:`eckart.fit`; None for the one that comes with the method.
        max_steps: Steps at most; None for the method's own number.
        tolerance: Where the training stops; None for the method's own.
        options: Further options of the method and the optimizer, by name.
        selection: With ``rank="auto"``, the rule that chooses it, as of :func:`eckart.fit`; else it is not used.
        random_state: Seed; an instance of ``RandomState``, or None for numpy's own, draws one.

    Attributes:
        components_: Right singular vectors of the completed matrix, shape ``(rank, n_features)``, rows orthonormal.
        singular_values_: Its singular values, shape ``(rank,)``, nonincreasing.
        errors_: ``relative_observed``, and errors against the whole matrix if no entry is missing.
        n_steps_: Steps of the training.
        rank_: The rank, also where a rule chose it.
        n_features_in_: Number of features.
        predictor_: What answers :meth:`predict_pairs` and :meth:`top_n`.

    Example:
        >>> X = np.outer(np.arange(1.0, 6.0), [1.0, 2.0, 3.0])
        >>> X[0, 2] = X[3, 1] = np.nan
        >>> model = MatrixCompletion(rank=1).fit(X)
        >>> model.inverse_transform(model.transform(X)).round(4)[[0, 3], [2, 1]]
        array([3., 8.])
    """

    def __init__(
        self,
        rank: int | str = 2,
        *,
        optimizer: Any = None,
        max_steps: int | None = None,
        tolerance: float | None = None,
        options: dict[str, Any] | None = None,
        selection: str = "best",
        random_state: Any = 0,
    ) -> None:
        self.rank, self.optimizer, self.max_steps = rank, optimizer, max_steps
        self.tolerance, self.options, self.selection = tolerance, options, selection
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the components from the entries of X that are not NaN, shape ``(n_samples, n_features)``."""
        self._learn(validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan"), "completion")
        return self

    def fit_sparse(self, X: Any) -> Self:
        """Learn from the entries that a sparse matrix of SciPy stores, zeros among them; all others are missing."""
        self.n_features_in_ = X.shape[1]
        self._learn(X, "completion")
        return self

    def fit_triplets(self, rows: Any, cols: Any, values: Any) -> Self:
        """Learn from entries that are given as lists.

        Args:
            rows: Id of the row of each entry, of any kind, shape ``(N,)``.
            cols: Id of the column of each.
            values: Its value.

        Raises:
            ValueError: If the lists differ in length, a value is not finite, or a pair comes up twice.

        Example:
            >>> films = ["alien", "brazil", "alien", "brazil", "chinatown", "chinatown"]
            >>> model = MatrixCompletion(rank=1, optimizer="gibbs")
            >>> model = model.fit_triplets([7, 7, 8, 8, 8, 9], films, [5, 4, 5, 5, 1, 2])
            >>> model.predict_pairs([9], ["alien"]) > model.predict_pairs([7], ["chinatown"])
            array([ True])
        """
        value = torch.from_numpy(np.array(values, dtype=np.float64).reshape(-1))
        if not len(rows) == len(cols) == len(value):
            found = f"{len(rows)} rows, {len(cols)} columns and {len(value)} values"
            raise ValueError(f"Each entry must have a row, a column and a value. Found {found}.")
        if not value.isfinite().all():
            raise ValueError(f"Every value must be finite. Found {int((~value.isfinite()).sum())} NaN or infinite.")
        row_ids, row = np.unique(np.asarray(rows).reshape(-1), return_inverse=True)
        col_ids, col = np.unique(np.asarray(cols).reshape(-1), return_inverse=True)
        shape = len(row_ids), len(col_ids)
        entries = Entries.of_lists(torch.from_numpy(row), torch.from_numpy(col), value, shape)
        self.n_features_in_ = len(col_ids)
        self._learn(entries, "completion", ids=tuple([str(name) for name in ids] for ids in (row_ids, col_ids)))
        return self

    def predict_pairs(self, rows: Any, cols: Any) -> Array:
        """Predictions for pairs of rows and columns, by their ids, or by numbers from 0 after :meth:`fit`.

        They are NaN for ids that were not among those learned from, and, with an optimizer for ratings, lie between
        the least and the largest value that was seen.
        """
        check_is_fitted(self)
        return self.predictor_.predict(rows, cols)

    def top_n(self, row: Any, n: int = 10, *, without: Any = ()) -> list[tuple[Any, float]]:
        """The columns with the largest predictions for a row, and these, without those of the ids ``without``."""
        check_is_fitted(self)
        return self.predictor_.top_n(row, n, without=without)

    def transform(self, X: Any) -> Array:
        """Coordinates of samples, ``(n_samples, rank)``: the least-squares fit to the observed entries of each.

        Of several that fit as well, the one of least norm; zero for a sample without observed entries.
        """
        samples = self._checked(X)
        observed = ~np.isnan(samples)
        coordinates = np.nan_to_num(samples) @ self.components_.T
        partly = np.flatnonzero(~observed.all(1))
        for start in range(0, len(partly), _BLOCK):
            rows = partly[start : start + _BLOCK]
            design = torch.from_numpy(self.components_.T[None] * observed[rows, :, None])
            wanted = torch.from_numpy(np.nan_to_num(samples[rows]))[..., None]
            coordinates[rows] = torch.linalg.lstsq(design, wanted, driver="gelsd").solution[..., 0].numpy()
        return coordinates

    def score(self, X: Any, y: Any = None) -> float:
        """Share of the sum of squares of the observed entries that the approximation explains; at most 1."""
        samples = self._checked(X)
        residual = samples - self.inverse_transform(self.transform(X))
        return float(1 - np.nansum(np.square(residual)) / np.nansum(np.square(samples)))

    def _checked(self, X: Any) -> Array:
        check_is_fitted(self)
        checked: Array = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite="allow-nan")
        return checked

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
