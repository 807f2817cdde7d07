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
from eckart.linalg.operators import MatrixFree
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


# Every kind that stands for an operator is in test_conversion.py.
@pytest.mark.parametrize("made", [MATRIX, scipy.sparse.linalg.aslinearoperator(MATRIX)], ids=["array", "operator"])
def test_what_a_callable_returns_is_the_operator(made: Any, module: Any) -> None:
    module.made = made
    data = OperatorData("made_by_a_user.make", {"factor": 1})
    data.setup()
    operator = data.operator()
    assert operator.shape == (5, 7)
    x, y = torch.randn(1, 4, 7, dtype=torch.float64), torch.randn(1, 4, 5, dtype=torch.float64)
    np.testing.assert_allclose(operator.images(x)[0], x[0].numpy() @ MATRIX.T, atol=1e-12)
    np.testing.assert_allclose(operator.transpose_images(y)[0], y[0].numpy() @ MATRIX, atol=1e-12)
    np.testing.assert_allclose(operator.dense()[0], MATRIX, atol=1e-12)


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


@pytest.mark.parametrize("transpose", [True, False])
def test_a_wide_operator_is_measured_without_all_of_its_unit_vectors(transpose: bool) -> None:
    # A million unit vectors at once would be 8 TB.
    rows, cols = 10, 1_000_000
    singular = torch.arange(1, rows + 1, dtype=torch.float64)
    parts = cols // rows

    def apply(x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), rows, parts).sum(2) * singular / parts**0.5

    def apply_transposed(y: torch.Tensor) -> torch.Tensor:
        return (y * singular / parts**0.5).repeat_interleave(parts, dim=1)

    found = Reference(MatrixFree(apply, (rows, cols), apply_transposed if transpose else None), [3])
    if transpose:
        assert found.how == "exact"
        torch.testing.assert_close(found.optimum[0], torch.tensor([0.7], dtype=torch.float64))
    else:
        assert found.how == "estimated from 100 fresh probes"
        assert found.optimum[0].isnan().all()


def test_blocks_of_unit_vectors_show_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.from_numpy(MATRIX)
    asked = []

    def apply(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return x @ matrix.mT

    monkeypatch.setattr("eckart.linalg.operators._BLOCK", 3 * 7)
    assert torch.equal(MatrixFree(apply, (5, 7)).dense()[0], matrix)
    assert asked == [3, 3, 1]
