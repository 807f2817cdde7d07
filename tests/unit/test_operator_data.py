"""A matrix-free target from any importable callable that the user allows."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse  # type: ignore[import-untyped, unused-ignore]
import torch

from eckart.data.operator import OperatorData
from eckart.linalg import reference
from eckart.linalg.conversion import as_operator
from eckart.linalg.operators import Dense, MatrixFree, Stacked
from eckart.linalg.reference import Reference
from eckart.methods.svd import SVD


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "made_by_a_user.py").write_text("made = None\n\ndef make(factor=1):\n    return made\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ECKART_ALLOW", "made_by_a_user")
    yield importlib.import_module("made_by_a_user")
    del sys.modules["made_by_a_user"]


MATRIX = np.random.default_rng(0).standard_normal((5, 7))


@pytest.mark.parametrize(
    "made",
    [
        MATRIX,
        MATRIX.tolist(),
        torch.from_numpy(MATRIX),
        torch.from_numpy(MATRIX).to_sparse(),
        scipy.sparse.csr_matrix(MATRIX),
        scipy.sparse.coo_array(MATRIX),
        scipy.sparse.linalg.aslinearoperator(MATRIX),
        MatrixFree(lambda x: x @ torch.from_numpy(MATRIX).T, (5, 7), lambda y: y @ torch.from_numpy(MATRIX)),
    ],
    ids=lambda made: type(made).__name__,
)
def test_every_kind_of_operator_gives_the_images_of_its_matrix(made: Any, module: Any) -> None:
    module.made = made
    data = OperatorData("made_by_a_user.make", {"factor": 1})
    data.setup()
    operator = data.operator()
    assert operator.shape == (5, 7)
    x, y = torch.randn(1, 4, 7, dtype=torch.float64), torch.randn(1, 4, 5, dtype=torch.float64)
    np.testing.assert_allclose(operator.images(x)[0], x[0].numpy() @ MATRIX.T, atol=1e-12)
    np.testing.assert_allclose(operator.transpose_images(y)[0], y[0].numpy() @ MATRIX, atol=1e-12)
    np.testing.assert_allclose(operator.dense()[0], MATRIX, atol=1e-12)
    both = Stacked([operator, Dense(2 * torch.from_numpy(MATRIX))])
    np.testing.assert_allclose(both.images(x)[1], 2 * x[0].numpy() @ MATRIX.T, atol=1e-12)
    np.testing.assert_allclose(both.transpose_images(y)[1], 2 * y[0].numpy() @ MATRIX, atol=1e-12)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("os.system", r"^data\.source must be .* ECKART_ALLOW lists\. Found 'os\.system'\.$"),
        ("made_by_a_user.other", r"^data\.source must name an importable callable, .* Found made_by_a_user\.other: "),
        ("made_by_a_user.text", r"^data\.source=made_by_a_user\.text must return an operator\. .* Found str of shape"),
        ("made_by_a_user.flat", r"must return an operator\. An operator must have a shape \(m, n\)\. Found"),
    ],
)
def test_a_source_that_is_no_operator_is_refused_in_one_line(source: str, message: str, module: Any) -> None:
    module.text, module.flat = (lambda: "text"), (lambda: np.zeros(3))
    with pytest.raises(ValueError, match=message) as raised:
        OperatorData(source).setup()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("transpose", [True, False])
def test_errors_of_a_large_operator_are_estimated_and_say_so(transpose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "EXACT_ENTRIES", 100)
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.linalg.qr(torch.randn(size, 60, generator=generator).double()).Q for size in (90, 70))
    matrix = (u * torch.logspace(0, -3, 60).double()) @ v.T
    operator = as_operator(scipy.sparse.linalg.aslinearoperator(matrix.numpy()))
    if not transpose:
        operator = MatrixFree(lambda x: x @ matrix.T, (90, 70))
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


def test_the_randomized_svd_of_an_operator_asks_for_products_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.linalg.qr(torch.randn(size, 80, generator=generator).double()).Q for size in (120, 100))
    matrix = (u * torch.logspace(0, -3, 80).double()) @ v.T

    class ProductsAlone(MatrixFree):
        def dense(self) -> torch.Tensor:
            raise AssertionError("the entries must not be asked for")

    operator = ProductsAlone(lambda x: x @ matrix.T, (120, 100), lambda y: y @ matrix)
    method = SVD(operator, ranks=[4], seeds=[0], solver="randomized")
    method.learn()
    left, right = method.factors()
    best = (u[:, :4] * torch.logspace(0, -3, 80).double()[:4]) @ v.T[:4]
    np.testing.assert_allclose(left[0] @ right[0], best, atol=1e-9)
    fields = method.fields(0)
    assert fields["status"] == "completed"
    assert np.isnan(fields["loss"])
