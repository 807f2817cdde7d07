"""What stands for an operator: arrays, sparse matrices, and whatever gives products."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian

from eckart.linalg.conversion import as_operator
from eckart.linalg.operators import Dense, MatrixFree, Sparse

MATRIX = gaussian(5, 7).numpy()
HOLES = np.where(MATRIX > 0, MATRIX, 0)


class Products:
    """Nothing but a shape and ``@``."""

    shape = (5, 7)

    def __matmul__(self, columns: Any) -> Any:
        assert type(columns) is np.ndarray and columns.shape[0] == 7
        return MATRIX @ columns


class WithTranspose(Products):
    T = MATRIX.T


class WithAdjoint(Products):
    H = MATRIX.T
    # Of an adjoint and a transpose the adjoint is taken.
    T = None


class Lists(Products):
    """Products that are plain lists, in the order of Fortran."""

    T = MATRIX.T

    def __matmul__(self, columns: Any) -> Any:
        return (MATRIX @ columns).tolist()


@pytest.mark.parametrize(
    ("given", "kind", "matrix"),
    [
        (MATRIX, Dense, MATRIX),
        (np.asfortranarray(MATRIX), Dense, MATRIX),
        (MATRIX[::-1, ::-1], Dense, MATRIX[::-1, ::-1]),
        (MATRIX.astype(np.float32).astype(np.float64), Dense, MATRIX.astype(np.float32)),
        (MATRIX.astype(np.float32), Dense, MATRIX.astype(np.float32)),
        ((10 * MATRIX).astype(np.int32), Dense, (10 * MATRIX).astype(np.int32)),
        (MATRIX.tolist(), Dense, MATRIX),
        (tuple(map(tuple, MATRIX)), Dense, MATRIX),
        (torch.from_numpy(MATRIX), Dense, MATRIX),
        (torch.from_numpy(HOLES).to_sparse(), Sparse, HOLES),
        (torch.from_numpy(HOLES).to_sparse_csr(), Sparse, HOLES),
        (scipy.sparse.csr_matrix(HOLES), Sparse, HOLES),
        (scipy.sparse.csc_array(HOLES), Sparse, HOLES),
        (scipy.sparse.coo_array((10 * HOLES).astype(np.int16)), Sparse, (10 * HOLES).astype(np.int16)),
        (scipy.sparse.linalg.aslinearoperator(MATRIX), MatrixFree, MATRIX),
        (WithTranspose(), MatrixFree, MATRIX),
        (WithAdjoint(), MatrixFree, MATRIX),
        (Lists(), MatrixFree, MATRIX),
    ],
    ids=lambda part: type(part).__name__,
)
def test_products_are_those_of_what_was_given(given: Any, kind: type, matrix: Any) -> None:
    operator = as_operator(given)
    assert type(operator) is kind
    assert (operator.stack, operator.shape) == (1, (5, 7))
    assert [type(side) for side in operator.shape] == [int, int]
    x, y = gaussian(1, 3, 7, seed=1), gaussian(1, 4, 5, seed=2)
    images, transposed = operator.images(x), operator.transpose_images(y)
    assert images.dtype == transposed.dtype == torch.float64
    np.testing.assert_allclose(images[0], x[0].numpy() @ matrix.T, atol=1e-12)
    np.testing.assert_allclose(transposed[0], y[0].numpy() @ matrix, atol=1e-12)


def test_an_operator_stands_for_itself() -> None:
    operator = Dense(torch.eye(2))
    assert as_operator(operator) is operator


def test_tensors_keep_their_floating_point_type_and_integers_are_in_double() -> None:
    single, double = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64)
    first, second = as_operator(single), as_operator(double)
    assert isinstance(first, Dense) and first.matrix.dtype == torch.float32
    assert isinstance(second, Dense) and second.matrix.dtype == torch.float64
    stack = as_operator(torch.ones(4, 2, 3))
    assert (stack.stack, stack.shape) == (4, (2, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool])
def test_arrays_are_in_double(dtype: Any) -> None:
    operator = as_operator(np.ones((2, 3), dtype=dtype))
    assert isinstance(operator, Dense) and operator.matrix.dtype == torch.float64


def test_a_sparse_matrix_of_scipy_is_in_double() -> None:
    operator = as_operator(scipy.sparse.csr_matrix(np.eye(3, dtype=np.float32)))
    assert isinstance(operator, Sparse) and operator.matrix.dtype == torch.float64
    # A last row and a last column without entries.
    empty = scipy.sparse.csr_matrix(([1.0], ([0], [2])), shape=(4, 5))
    np.testing.assert_array_equal(as_operator(empty).dense()[0], empty.toarray())


@pytest.mark.parametrize(
    "given",
    [Products(), scipy.sparse.linalg.LinearOperator((5, 7), matvec=lambda x: MATRIX @ x, dtype=float)],
    ids=["no transpose", "LinearOperator without rmatvec"],
)
def test_what_has_no_transpose_says_so_when_it_is_asked(given: Any) -> None:
    operator = as_operator(given)
    x = gaussian(1, 3, 7)
    np.testing.assert_allclose(operator.images(x)[0], x[0].numpy() @ MATRIX.T, atol=1e-13)
    with pytest.raises(ValueError, match=r"^Images of the transpose need an operator that has one\. Found none\.$"):
        operator.transpose_images(gaussian(1, 3, 5))


class Shape:
    shape = (2, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text", r"^An operator must have a shape \(m, n\)\. Found str of shape \(\)\.$"),
        (np.ones(3), r"^An operator must have a shape \(m, n\)\. Found ndarray of shape \(3,\)\.$"),
        (np.ones((2, 3, 4)), r"^An operator must have a shape \(m, n\)\. Found ndarray of shape \(2, 3, 4\)\.$"),
        ([1.0, 2.0], r"^An operator must have a shape \(m, n\)\. Found ndarray of shape \(2,\)\.$"),
        (Shape(), r"^An operator must give products by @\. Found Shape\.$"),
    ],
)
def test_what_is_no_operator_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        as_operator(given)


def test_images_keep_the_type_of_the_vectors() -> None:
    operator = as_operator(WithTranspose())
    assert operator.images(torch.ones(1, 2, 7)).dtype == torch.float32


def test_places_that_a_sparse_matrix_lists_twice_are_summed_up_and_the_matrix_is_left_alone() -> None:
    listed = scipy.sparse.csr_array(([1.0, 2.0, 3.0], [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    operator = as_operator(listed)
    x, expected = torch.eye(2, dtype=torch.float64)[None], torch.tensor([[0.0, 3.0], [3.0, 0.0]], dtype=torch.float64)
    assert torch.equal(operator.images(x)[0], expected.mT) and torch.equal(operator.transpose_images(x)[0], expected)
    assert operator.squares().item() == 18
    assert listed.nnz == 3
