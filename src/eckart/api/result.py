"""The result of a fit or a run: factors, errors, optimum and history, and how a notebook shows them."""

import base64
import functools
import html
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eckart.api.predicting import Predictor
from eckart.data.files.triplets import read_triplets
from eckart.linalg.svd import factor_svd
from eckart.results import terminal
from eckart.results.history import HISTORY, History
from eckart.results.ids import read_ids
from eckart.results.result import FACTORS, FIGURES, read_result

# The first of these that a result has is its picture.
_PICTURES = ("approximation", "convergence", "singular_values", "accuracy")


class Result:
    """What a fit or a run has learned, and its errors beside the optimum.

    Its ``repr`` is the table that the command line prints; a notebook shows the table and a picture.

    Args:
        fields: Its fields, as in ``result.json``.
        factors: ``left (m, k)`` and ``right (k, n)``; None where nothing was learned, or they are in the folder.
        history: Its measurements by step; None reads them from the folder.
        target: The target, shape ``(m, n)``, of which the picture is drawn; None where its entries are not known.
        folder: Folder of the run; None for a fit, which writes no files.

    Attributes:
        fields: Every field of ``result.json``: ``status``, ``rank``, ``steps``, ``stop_reason``, ``fit_seconds``, …
        folder: Folder of the run, or None.

    Example:
        >>> import eckart, torch
        >>> result = eckart.fit(torch.diag(torch.tensor([4.0, 3.0, 0.0])), rank=1)
        >>> result.left.shape, result.right.shape
        (torch.Size([3, 1]), torch.Size([1, 3]))
        >>> round(result.errors["relative_frobenius"], 6), round(result.optimum["frobenius"], 6)
        (0.6, 0.6)
        >>> result.fields["status"]
        'completed'
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        *,
        factors: tuple[Tensor, Tensor] | None = None,
        history: History | None = None,
        target: Tensor | None = None,
        folder: Path | None = None,
    ) -> None:
        self.fields, self.folder = dict(fields), folder
        self._given, self._history, self._target = factors, history, target

    @classmethod
    def read(cls, folder: str | Path) -> "Result":
        """The result of a run that has ended, from its folder.

        Raises:
            FileNotFoundError: If there is no result in the folder.
            ValueError: If what is there is not a complete result of this package.
        """
        return cls(read_result(Path(folder)), folder=Path(folder))

    @property
    def left(self) -> Tensor:
        """Left factor, shape ``(m, k)``, in the dtype that was trained in."""
        return self._factors[0]

    @property
    def right(self) -> Tensor:
        """Right factor, shape ``(k, n)``."""
        return self._factors[1]

    def approximation(self) -> Tensor:
        """``left @ right``, shape ``(m, n)``."""
        return self.left @ self.right

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """SVD of the approximation: ``u (m, k)``, ``s (k,)`` and ``vh (k, n)``; see :func:`factor_svd`."""
        return factor_svd(self.left, self.right)

    @property
    def errors(self) -> dict[str, float]:
        """The errors that are known, by their names in ``fields``: relative errors, and excesses over the optimum."""
        names = [name for name in self.fields if name.startswith(("relative_", "excess_"))]
        return {name: self.fields[name] for name in names if self.fields[name] is not None}

    @property
    def optimum(self) -> dict[str, float]:
        """Relative errors of the best approximation, ``2norm`` and ``frobenius``; empty where it is not known."""
        found = {name: self.fields[f"optimum_{name}"] for name in ("2norm", "frobenius")}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def history(self) -> dict[str, list[float]]:
        """Measurements by step: ``step``, ``train/loss``, and the errors, all of one length; NaN where not measured.

        Empty where a run has kept none.
        """
        rows = self._measurements.rows
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name, float("nan")) for row in rows] for name in names}

    def predict(self, rows: ArrayLike, cols: ArrayLike) -> NDArray[np.float64]:
        """Predictions for pairs of rows and columns, shape ``(N,)``; see :meth:`Predictor.predict`.

        Rows and columns of ratings are named by their ids, those of any other matrix by their numbers from 0.
        """
        return self.predictor.predict(rows, cols)

    def top_n(self, row: Any, n: int = 10, *, without: ArrayLike = ()) -> list[tuple[Any, float]]:
        """The columns with the largest predictions for a row, and these; see :meth:`Predictor.top_n`."""
        return self.predictor.top_n(row, n, without=without)

    def rated_by(self, row: Any) -> list[str]:
        """Ids of the columns that a row has a rating for, in the file that the run read; none for other data.

        Raises:
            FileNotFoundError: If the file is no longer there.
        """
        data = (self.fields["config"] or {}).get("data") or {}
        if self.fields["data"] != "ratings" or not isinstance(data.get("path"), str):
            return []
        found = read_triplets(data["path"], data.get("columns"))
        if str(row) not in found.row_ids:
            return []
        return [found.col_ids[col] for col in found.col[found.row == found.row_ids.index(str(row))]]

    @functools.cached_property
    def predictor(self) -> Predictor:
        """What answers :meth:`predict` and :meth:`top_n`."""
        found = self.fields.get("rating_range")
        ids = (None if self.folder is None else read_ids(self.folder)) or (None, None, ("row", "column"))
        return Predictor(self.left, self.right, (found[0], found[1]) if found else None, *ids)

    def picture(self) -> bytes | None:
        """A PNG: the target, the approximation and the truncated SVD, or else the errors by step; None without both."""
        if self.folder is not None:
            drawn = [self.folder / FIGURES / f"{name}.png" for name in _PICTURES]
            return next((path.read_bytes() for path in drawn if path.is_file()), None)
        from eckart.runs.drawing import Subject, draw

        with tempfile.TemporaryDirectory() as folder:
            subject = Subject(self._target, None, _PICTURES[: 1 if self._target is not None else 2])
            drawn = draw(Path(folder), self.fields, self._measurements, subject, *self._factors)
            return drawn[0].read_bytes() if drawn else None

    def __repr__(self) -> str:
        if self.fields["status"] == "failed":
            return terminal.failure(self.fields, "", self.folder or Path())
        return terminal.table(self.fields, self.folder)

    def _repr_html_(self) -> str:
        table = f"<pre>{html.escape(repr(self))}</pre>"
        picture = None if self.fields["status"] == "failed" else self.picture()
        if picture is None:
            return table
        source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        return f'{table}<img src="{source}" style="max-width: 100%" alt="picture of the result">'

    @functools.cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        if self._given is not None:
            return self._given
        if self.folder is None or not (self.folder / FACTORS).is_file():
            why = str(self.fields["error"] or "the run kept none").rstrip(".")
            raise ValueError(f"There are no factors: {why}.")
        factors = safetensors.torch.load_file(self.folder / FACTORS)
        return factors["left"], factors["right"]

    @functools.cached_property
    def _measurements(self) -> History:
        if self._history is not None:
            return self._history
        path = None if self.folder is None else self.folder / HISTORY
        return History.read(path) if path is not None and path.is_file() else History(None)
