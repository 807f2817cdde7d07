import base64
import inspect
import io
import pickle
import pkgutil
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from matrices import observed_of
from PIL import Image
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import eckart
from eckart.linalg.operators import Dense
from eckart.linalg.reference import ObservedReference
from eckart.results import terminal

RANK = 2


@pytest.fixture(scope="module")
def matrix() -> Any:
    return np.random.default_rng(1).standard_normal((9, 7))


def best(matrix: Any, rank: int = RANK) -> Any:
    u, s, vh = np.linalg.svd(np.asarray(matrix, dtype=float), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


class Products:
    """Nothing but a shape and products by @, of the matrix and of its transpose."""

    def __init__(self, matrix: Any) -> None:
        self.shape, self._matrix = matrix.shape, matrix

    def __matmul__(self, columns: Any) -> Any:
        return self._matrix @ columns

    @property
    def T(self) -> "Products":
        return Products(self._matrix.T)


def read_only(matrix: Any) -> Any:
    copy = matrix.copy()
    copy.flags.writeable = False
    return copy


KINDS: dict[str, Any] = {
    "list": lambda matrix: matrix.tolist(),
    "float32": lambda matrix: matrix.astype(np.float32),
    "integers": lambda matrix: (9 * matrix).astype(int),
    "columns first": np.asfortranarray,
    "reversed": lambda matrix: matrix[::-1, ::-1],
    "read-only": read_only,
    "tensor with a gradient": lambda matrix: torch.tensor(matrix, requires_grad=True),
    "bfloat16": lambda matrix: torch.tensor(matrix).bfloat16(),
    "data frame": lambda matrix: pl.DataFrame(matrix, schema=list("abcdefg")),
    "scipy array": sp.csc_array,
    "scipy matrix": sp.coo_matrix,
    "sparse tensor": lambda matrix: torch.tensor(matrix).to_sparse(),
    "linear operator": aslinearoperator,
    "products": Products,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_matrix_is_learned_to_the_optimum(kind: str, matrix: Any) -> None:
    target = KINDS[kind](matrix)
    dense = {
        "integers": (9 * matrix).astype(int),
        "reversed": matrix[::-1, ::-1],
        "float32": matrix.astype(np.float32),
        "bfloat16": torch.tensor(matrix).bfloat16().double().numpy(),
    }.get(kind, matrix)
    result = eckart.fit(target, RANK)
    np.testing.assert_allclose(result.approximation().numpy(), best(dense), atol=1e-6 * np.abs(dense).max())
    assert max(result.errors["excess_2norm"], result.errors["excess_frobenius"]) <= 1e-8
    s = np.linalg.svd(np.asarray(dense, dtype=float), compute_uv=False)
    best_errors = {"2norm": s[RANK] / s[0], "frobenius": np.sqrt((s[RANK:] ** 2).sum() / (s**2).sum())}
    assert result.optimum == pytest.approx(best_errors)


@pytest.mark.parametrize("method", ["bottleneck", "factorization", "factorized_linear", "svd"])
def test_an_operator_without_a_transpose_is_learned_by_every_method(method: str, matrix: Any) -> None:
    operator = LinearOperator(matrix.shape, matvec=lambda x: matrix @ x, dtype=float)
    result = eckart.fit(operator, RANK, method)
    np.testing.assert_allclose(result.approximation().numpy(), best(matrix), atol=1e-6)


def test_a_fit_prints_nothing_writes_nothing_and_changes_no_state(
    matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state(), torch.get_num_threads(), matrix.copy()
    plain = eckart.fit(matrix, RANK)
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.get_num_threads() == before[1]
    assert np.array_equal(matrix, before[2])
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []

    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert torch.equal(eckart.fit(matrix, RANK).left, plain.left)
            adam = eckart.fit(torch.tensor(matrix), RANK, "factorization", optimizer="adam", max_steps=3)
            assert adam.fields["steps"] == 3
    finally:
        torch.set_default_dtype(torch.float32)
    assert not plain.left.requires_grad


def test_verbose_prints_the_table(matrix: Any, capfd: pytest.CaptureFixture[str]) -> None:
    result = eckart.fit(matrix, RANK, verbose=True)
    printed = capfd.readouterr()
    assert printed.out == f"{result!r}\n"
    # A pipe shows no bar.
    assert printed.err == ""


def test_the_repr_is_the_table_and_a_notebook_shows_it_with_the_picture(matrix: Any) -> None:
    result = eckart.fit(matrix, RANK, "svd")
    assert repr(result) == terminal.table(result.fields, None)
    assert repr(result).startswith("svd, 9×7, rank 2, seed 0\n")
    shown = result._repr_html_()
    assert "relative Frobenius error" in shown
    found = re.search(r'src="data:image/png;base64,([^"]+)"', shown)
    assert found is not None
    assert base64.b64decode(found[1]) == result.picture()
    assert not re.search(r"https?:", shown)
    with Image.open(io.BytesIO(result.picture() or b"")) as image:
        assert image.width > 1000


def test_the_errors_of_a_large_operator_are_estimated_and_its_picture_is_the_convergence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eckart.linalg.reference.EXACT_ENTRIES", 10)
    result = eckart.fit(aslinearoperator(np.random.default_rng(2).standard_normal((60, 50))), RANK, max_steps=10)
    assert result.fields["measured"].startswith("estimated from")
    assert f"errors are {result.fields['measured']}" in repr(result)
    assert (result.picture() or b"").startswith(b"\x89PNG")


def test_a_result_is_pickled_with_its_history(matrix: Any) -> None:
    result = eckart.fit(matrix, RANK, max_steps=6)
    again = pickle.loads(pickle.dumps(result))
    assert torch.equal(again.left, result.left)
    assert again.history == result.history
    assert result.history["step"] == list(range(7))
    assert result.history["relative_frobenius"][-1] == result.fields["relative_frobenius"]
    assert result.fields["steps"] == 6


def test_the_svd_of_a_result_is_that_of_its_product(matrix: Any) -> None:
    result = eckart.fit(matrix, RANK)
    u, s, vh = result.svd()
    np.testing.assert_allclose(u.T @ u, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose(vh @ vh.T, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose((u * s) @ vh, result.approximation(), atol=1e-12)
    np.testing.assert_allclose(s, np.linalg.svd(matrix, compute_uv=False)[:RANK], rtol=1e-8)


def low_rank(rows: int = 30, cols: int = 20) -> Any:
    random = np.random.default_rng(3)
    return random.standard_normal((rows, RANK)) @ random.standard_normal((RANK, cols))


def test_missing_entries_are_recovered(capfd: pytest.CaptureFixture[str]) -> None:
    whole = low_rank()
    mask = np.random.default_rng(4).random(whole.shape) < 0.6
    result = eckart.fit(np.where(mask, whole, np.nan), RANK, "completion")
    np.testing.assert_allclose(result.approximation(), whole, atol=1e-8)
    assert result.fields["measured"] == "known on the observed entries alone"
    assert result.errors.keys() == {"relative_observed", "relative_withheld"}
    assert result.fields["verdict"] == "recovered"
    assert result.optimum == {}
    assert result.picture() is None
    assert "<img" not in result._repr_html_()
    assert re.search(r"relative 2-norm error +– +– +–\n", repr(result))

    masked = eckart.fit(whole, RANK, "completion", observed=torch.tensor(mask))
    assert torch.equal(masked.left, result.left)
    assert masked.errors["relative_held_out"] < 1e-8
    assert masked.optimum["frobenius"] < 1e-14
    assert capfd.readouterr() == ("", "")


def test_a_mask_leaves_out_what_is_missing_anyway() -> None:
    whole = low_rank()
    mask = np.random.default_rng(4).random(whole.shape) < 0.7
    broken = np.where(np.random.default_rng(5).random(whole.shape) < 0.1, np.nan, whole)
    result = eckart.fit(broken, RANK, "completion", observed=mask)
    np.testing.assert_allclose(result.approximation(), whole, atol=1e-8)


def test_a_fraction_is_one_of_the_entries_that_are_there() -> None:
    whole = low_rank()
    broken = np.where(np.random.default_rng(5).random(whole.shape) < 0.2, np.nan, whole)
    result = eckart.fit(broken, RANK, "completion", observed=0.8)
    np.testing.assert_allclose(result.approximation(), whole, atol=1e-8)
    assert 0 < result.errors["relative_held_out"] < 1e-8
    assert result.fields["measured"] == "known on the observed and the held-out entries alone"


def test_what_is_not_observed_changes_no_bit() -> None:
    whole = low_rank()
    mask = np.random.default_rng(4).random(whole.shape) < 0.7
    results = [eckart.fit(np.where(mask, whole, other), RANK, "completion", observed=mask) for other in (0, 1e6)]
    assert torch.equal(results[0].left, results[1].left)


def test_the_observed_reference_measures_the_observed_entries_alone() -> None:
    entries = torch.tensor([[[3.0, torch.nan], [torch.nan, 4.0]]])
    reference = ObservedReference(observed_of(entries), [1])
    far = reference.errors(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[7.0, 0.0]]]))
    assert far["relative_observed"].item() == 1
    with pytest.raises(ValueError, match="Found infinite ones"):
        ObservedReference(observed_of(entries.nan_to_num(torch.inf)), [1])
    with pytest.raises(ValueError, match="Found norm 0"):
        ObservedReference(observed_of(torch.full((1, 2, 2), torch.nan)), [1])
    with pytest.raises(ValueError, match=r"min\(m, n\) = 2\. Found 3"):
        ObservedReference(observed_of(entries), [3])


class Frame:
    """What a data frame with a column of texts shows of itself."""

    columns = ("size", "name")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array([[1.0, "sample_0"], [2.0, "b"]], dtype=object)


NANS = np.array([[1.0, np.nan], [2.0, 3.0]])
FAULTS: list[tuple[Any, dict[str, Any], str]] = [
    (None, {"max_step": 5}, r"^Unknown option max_step\. Did you mean max_steps\?$"),
    (None, {"lr": 0.1}, r"^Unknown option lr\. "),
    (None, {"width": 5}, r"^Unknown option width\. "),
    (None, {"max_steps": "ten"}, r"^max_steps must be an integer\. Found 'ten'\.$"),
    (None, {"max_steps": 0}, r"^max_steps must be an integer of at least 1\. Found 0\.$"),
    (None, {"transpose": 1}, r"^transpose must be true or false\. Found 1\.$"),
    (None, {"tolerance": float("nan")}, r"^tolerance must not be negative\. Found nan\.$"),
    (None, {"rank": 2.5}, r"^rank must be an integer or 'auto'\. Found 2\.5\.$"),
    (None, {"rank": "ten"}, r"^rank must be an integer or 'auto'\. Found 'ten'\.$"),
    (None, {"rank": 2, "selection": "best"}, r"^selection is for rank='auto', .* Found rank=2\.$"),
    (None, {"rank": "auto", "selection": "enrgy"}, r"^selection must be one of: best, .* Did you mean energy\?$"),
    (None, {"rank": "auto", "selection": "energy", "share": 2}, r"^share must be in \(0, 1\]\. Found 2\.$"),
    (None, {"rank": "auto", "share": 0.5}, r"^Unknown option share\. "),
    (None, {"rank": 8}, r"^The rank must satisfy 1 <= rank <= min\(m, n\) = 7\. Found 8\.$"),
    (None, {"seed": "a"}, r"^seed must be an integer\. Found 'a'\.$"),
    (
        None,
        {"method": "botleneck"},
        r"^method must be one of: bottleneck.* Found 'botleneck'\. Did you mean bottleneck\?$",
    ),
    (None, {"method": "classifier"}, r"^method must be one of: .*svd, which learn a matrix; .* Found 'classifier', "),
    (
        None,
        {"method": "compression"},
        r"eckart\.factorize makes a model low-rank, .* Found 'compression', which trains",
    ),
    (np.array([["a", "b"]]), {"rank": 1}, r"^The target must hold numbers\. Found text in column 0, as in 'a'\.$"),
    (Frame(), {"rank": 1}, r"^The target must hold numbers\. Found text in column 'name', as in 'sample_0'\.$"),
    (None, {"optimizer": "adm"}, r"or a callable\. Found 'adm'\. Did you mean adam\?$"),
    (None, {"optimizer": "none"}, r"Found 'none'\.$"),
    (None, {"method": "svd", "optimizer": "adam"}, r"^method='svd' computes and is not trained\."),
    (None, {"schedule": "cosine"}, r"^optimizer='riemannian_cg' has no learning rate to schedule\. Found 'cosine'\.$"),
    (None, {"schedule": "sine"}, r"^schedule must be one of: .*Did you mean cosine\?$"),
    (None, {"dtype": torch.float16}, r"^dtype must be torch\.float64 or torch\.float32\. Found torch\.float16\.$"),
    (None, {"observed": 0.5}, r"observed is for method='completion'"),
    (None, {"method": "completion", "observed": 2}, r"fraction in \(0, 1\]"),
    (
        None,
        {"method": "completion", "observed": np.ones((2, 2), bool)},
        r"mask of shape \(9, 7\)\. Found .*\(2, 2\)\.$",
    ),
    (NANS, {"rank": 1}, r"^The target must be finite; method='completion' .* Found 1 NaN\.$"),
    (np.array([[1.0, np.inf], [2.0, 3.0]]), {"rank": 1}, r"must be finite\. Found"),
    (np.zeros((3, 3)), {"rank": 1}, r"zero.* Found norm 0\.$"),
    (np.eye(3) * 1e20, {"rank": 1, "dtype": torch.float32}, r"between 1e-15 and 1e\+15, .* Found 1\.0e\+20\.$"),
    (np.eye(3) * 1j, {"rank": 1}, r"^The target must be real\. Found complex128\.$"),
    (torch.eye(3) * 1j, {"rank": 1}, r"^The target must be real\. Found torch\.complex64\.$"),
    (aslinearoperator(np.eye(3)), {"rank": 1, "method": "completion"}, r"needs the entries of an array\. Found \w+\.$"),
]


@pytest.mark.parametrize(("target", "options", "line"), FAULTS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_fault_is_said_in_one_line(target: Any, options: dict[str, Any], line: str, matrix: Any) -> None:
    with pytest.raises(ValueError, match=line) as raised:
        eckart.fit(matrix if target is None else target, **{"rank": RANK} | options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "target", [np.ones(3), torch.ones(2, 3, 4), Dense(torch.ones(2, 3, 4)), np.float64(1), "abc", None, object()]
)
def test_what_is_no_matrix_is_a_type_error(target: Any) -> None:
    with pytest.raises(TypeError, match="shape") as raised:
        eckart.fit(target, 1)
    assert "\n" not in str(raised.value)


def test_an_optimizer_and_a_schedule_can_be_callables(matrix: Any) -> None:
    made, asked = [], []

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=0.1))
        return made[-1]

    def schedule(progress: float) -> float:
        asked.append(progress)
        return 0.5

    eckart.fit(matrix, RANK, "factorization", optimizer=optimizer, schedule=schedule, max_steps=4)
    assert asked == [0, 0.25, 0.5, 0.75]
    assert made[0].param_groups[0]["lr"] == 0.05


def test_the_public_names_have_docstrings_with_examples_and_are_no_rooms() -> None:
    rooms = {module.name for module in pkgutil.iter_modules(eckart.__path__)}
    assert not set(eckart.__all__) & rooms
    assert 10 <= len(eckart.__all__) <= 15
    assert (Path(str(eckart.__file__)).parent / "py.typed").is_file()
    for name in eckart.__all__:
        assert ">>> " in (inspect.getdoc(getattr(eckart, name)) or ""), name


def test_why_there_are_no_factors_is_said_in_one_sentence(tmp_path: Path) -> None:
    failed = eckart.Result({"error": "The rank is wrong. Found 3."}, folder=tmp_path)
    with pytest.raises(ValueError, match=r"^There are no factors: The rank is wrong\. Found 3\.$"):
        _ = failed.left
