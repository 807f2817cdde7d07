"""Operators, against the products of NumPy with the matrices that they stand for."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor

from eckart.linalg.operators import Dense, MatrixFree, Member, Operator, Residual, Sparse, Stacked

MATRIX = gaussian(5, 7)
OTHER = gaussian(5, 7, seed=1)
LEFT, RIGHT = gaussian(5, 2, seed=2), gaussian(2, 7, seed=3)


def free(matrix: Tensor) -> MatrixFree:
    return MatrixFree(lambda x: x @ matrix.T, (5, 7), lambda y: y @ matrix)


def holes(matrix: Tensor) -> Tensor:
    return torch.where(matrix > 0, matrix, 0)


# An operator, and the stack of matrices that it stands for.
CASES: dict[str, tuple[Callable[[], Operator], Tensor]] = {
    "dense": (lambda: Dense(MATRIX), MATRIX[None]),
    "dense stack": (lambda: Dense(torch.stack([MATRIX, OTHER])), torch.stack([MATRIX, OTHER])),
    "sparse": (lambda: Sparse(holes(MATRIX).to_sparse()), holes(MATRIX)[None]),
    "sparse by row": (lambda: Sparse(holes(MATRIX).to_sparse_csr()), holes(MATRIX)[None]),
    "sparse by column": (lambda: Sparse(holes(MATRIX).to_sparse_csc()), holes(MATRIX)[None]),
    "matrix-free": (lambda: free(MATRIX), MATRIX[None]),
    "stacked": (
        lambda: Stacked([Dense(MATRIX), Sparse(holes(OTHER).to_sparse()), free(OTHER)]),
        torch.stack([MATRIX, holes(OTHER), OTHER]),
    ),
    "stack of one": (lambda: Stacked([free(MATRIX)]), MATRIX[None]),
    "residual": (lambda: Residual(free(MATRIX), LEFT, RIGHT), (MATRIX - LEFT @ RIGHT)[None]),
    "member": (lambda: Member(Dense(torch.stack([OTHER, MATRIX, LEFT @ RIGHT])), 1), MATRIX[None]),
    "last member": (lambda: Member(Stacked([Dense(OTHER), free(MATRIX)]), 1), MATRIX[None]),
    "residual of a member": (
        lambda: Residual(Member(Dense(torch.stack([MATRIX, OTHER])), 0), LEFT, RIGHT),
        (MATRIX - LEFT @ RIGHT)[None],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_products_are_those_of_the_matrix(case: str) -> None:
    make, matrix = CASES[case]
    operator, stack = make(), len(matrix)
    assert (operator.stack, operator.shape) == (stack, (5, 7))
    for dtype, error in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        if dtype == torch.float32 and "residual" in case:
            continue
        x, y = gaussian(stack, 3, 7, seed=4, dtype=dtype), gaussian(stack, 4, 5, seed=5, dtype=dtype)
        images, transposed = operator.images(x), operator.transpose_images(y)
        assert images.dtype == transposed.dtype == dtype
        np.testing.assert_allclose(images, np.einsum("jmn,jbn->jbm", matrix, x.double()), atol=error)
        np.testing.assert_allclose(transposed, np.einsum("jmn,jbm->jbn", matrix, y.double()), atol=error)
    dense = operator.dense()
    assert dense.dtype == torch.float64 and dense.shape == (stack, 5, 7)
    np.testing.assert_allclose(dense, matrix, atol=1e-14)


def test_an_operator_of_columns_less_than_rows_is_dense_too() -> None:
    tall = gaussian(7, 5)
    np.testing.assert_allclose(MatrixFree(lambda x: x @ tall.T, (7, 5)).dense()[0], tall, atol=1e-14)


def test_a_dense_matrix_is_not_copied_and_is_given_in_double() -> None:
    single = gaussian(3, 4, dtype=torch.float32)
    operator = Dense(single)
    single[0, 0] = 7
    assert operator.dense()[0, 0, 0] == 7 and operator.dense().dtype == torch.float64
    stack = gaussian(2, 3, 4)
    assert Dense(stack).matrix is stack


@pytest.mark.parametrize(("device", "copied"), [("mps", True), ("cuda", False)])
def test_a_device_without_float64_gives_its_matrix_to_the_cpu(device: str, copied: bool) -> None:
    stored = gaussian(1, 3, 4)

    class Stored:
        """A matrix on a device that this machine need not have."""

        ndim, shape, asked = 3, (1, 3, 4), False

        def __init__(self) -> None:
            self.device = SimpleNamespace(type=device)

        def __len__(self) -> int:
            return 1

        def cpu(self) -> Tensor:
            self.asked = True
            return stored

        def double(self) -> Tensor:
            return stored

    matrix: Any = Stored()
    assert Dense(matrix).dense() is stored
    assert matrix.asked == copied


def test_a_sparse_matrix_adds_entries_of_one_place() -> None:
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0, 1], [1, 1, 0]]), torch.tensor([1.0, 2.0, 5.0]), (2, 3))
    np.testing.assert_array_equal(Sparse(twice).dense()[0], [[0, 3, 0], [5, 0, 0]])
    np.testing.assert_array_equal(
        Sparse(twice).transpose_images(torch.eye(2, dtype=torch.float64)[None])[0], [[0, 3, 0], [5, 0, 0]]
    )


def test_both_products_of_a_sparse_matrix_are_compressed_by_row() -> None:
    operator = Sparse(holes(MATRIX).to_sparse_csc())
    assert operator.matrix.layout == operator.transpose.layout == torch.sparse_csr


def test_a_function_is_given_rows_in_double_precision_and_its_shape_is_of_integers() -> None:
    given = []

    def apply(x: Tensor) -> Tensor:
        given.append((tuple(x.shape), x.dtype))
        return x[:, :2]

    operator = MatrixFree(apply, (np.int64(2), np.int64(3)), lambda y: torch.cat([y, y[:, :1]], dim=1))  # type: ignore[arg-type]
    assert [type(side) for side in operator.shape] == [int, int]
    operator.images(torch.ones(1, 4, 3, dtype=torch.float32))
    assert given == [((4, 3), torch.float64)]
    assert operator.transpose_images(torch.ones(1, 4, 2)).shape == (1, 4, 3)


def test_images_of_a_wrong_shape_are_refused() -> None:
    wrong = MatrixFree(lambda x: x[:, :2], (3, 4), lambda y: y[:1])
    message = r"^The operator's images of 5 vectors must have shape \(5, 3\)\. Found \(5, 2\)\.$"
    with pytest.raises(ValueError, match=message):
        wrong.images(torch.zeros(1, 5, 4))
    message = r"^The operator's images of 5 vectors must have shape \(5, 4\)\. Found \(1, 3\)\.$"
    with pytest.raises(ValueError, match=message):
        wrong.transpose_images(torch.zeros(1, 5, 3))


def test_a_function_without_a_transpose_says_so() -> None:
    with pytest.raises(ValueError, match=r"^Images of the transpose need an operator that has one\. Found none\.$"):
        MatrixFree(lambda x: x, (3, 3)).transpose_images(torch.zeros(1, 1, 3))


def test_matrices_of_a_stack_have_one_shape() -> None:
    message = r"^The matrices of a stack must have one shape\. Found \[\(2, 3\), \(3, 2\)\]\.$"
    with pytest.raises(ValueError, match=message):
        Stacked([Dense(torch.ones(3, 2)), Dense(torch.ones(2, 3)), Dense(torch.ones(3, 2))])


def test_a_stack_gives_one_set_of_vectors_to_each_member() -> None:
    both = Stacked([Dense(MATRIX), Dense(OTHER)])
    x, y = gaussian(1, 3, 7), gaussian(1, 4, 5)
    np.testing.assert_allclose(both.images(x)[1], x[0] @ OTHER.T, atol=1e-13)
    np.testing.assert_allclose(both.transpose_images(y)[1], y[0] @ OTHER, atol=1e-13)


def test_only_its_own_place_of_the_stack_is_asked_for_the_images_of_a_member() -> None:
    asked = []

    class Asked(Dense):
        def images(self, x: Tensor) -> Tensor:
            asked.append(x.clone())
            return super().images(x)

        def transpose_images(self, y: Tensor) -> Tensor:
            asked.append(y.clone())
            return super().transpose_images(y)

    member = Member(Asked(gaussian(3, 5, 7)), 1)
    member.images(torch.ones(1, 2, 7))
    member.transpose_images(torch.ones(1, 2, 5))
    for vectors in asked:
        assert [bool(own.any()) for own in vectors] == [False, True, False]
        assert (vectors[1] == 1).all()
