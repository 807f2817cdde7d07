"""What training may ask of an operator is counted, and must be finite."""

import numpy as np
import pytest
import torch
from matrices import gaussian

from eckart.linalg.images import Images
from eckart.linalg.operators import Dense, MatrixFree

NAN, INF = float("nan"), float("inf")


def test_images_are_those_of_the_operator_and_counted_for_each_member() -> None:
    matrix = gaussian(2, 5, 7)
    images = Images(Dense(matrix))
    assert (images.stack, images.shape) == (2, (5, 7))
    assert (images.count, images.transpose_count) == (0, 0)
    x, y = gaussian(2, 3, 7, seed=1), gaussian(2, 4, 5, seed=2)
    for _ in range(2):
        np.testing.assert_allclose(images.of(x), np.einsum("jmn,jbn->jbm", matrix, x), atol=1e-14)
    assert (images.count, images.transpose_count) == (6, 0)
    for _ in range(2):
        np.testing.assert_allclose(images.of_transpose(y), np.einsum("jmn,jbm->jbn", matrix, y), atol=1e-14)
    assert (images.count, images.transpose_count) == (6, 8)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("transpose", [False, True])
def test_vectors_that_are_not_finite_are_refused(value: float, transpose: bool) -> None:
    images = Images(Dense(torch.eye(3)))
    x = torch.ones(1, 2, 3)
    x[0, 1, 1:] = value
    what = "probes of the transpose" if transpose else "probes"
    with pytest.raises(ValueError, match=rf"^The {what} must be finite\. Found 2 NaN or infinite entries\.$"):
        images.of_transpose(x) if transpose else images.of(x)


@pytest.mark.parametrize("transpose", [False, True])
def test_images_that_are_not_finite_are_refused(transpose: bool) -> None:
    broken = MatrixFree(lambda x: x / 0, (3, 3), lambda y: y / 0)
    what = "images of the probes of the transpose" if transpose else "images of the probes"
    images, x = Images(broken), torch.ones(1, 2, 3)
    with pytest.raises(ValueError, match=rf"^The {what} must be finite\. Found 6 NaN or infinite entries\.$"):
        images.of_transpose(x) if transpose else images.of(x)


def test_an_operator_without_a_transpose_says_so() -> None:
    images = Images(MatrixFree(lambda x: x, (3, 3)))
    with pytest.raises(ValueError, match=r"^Images of the transpose need an operator that has one\. Found none\.$"):
        images.of_transpose(torch.ones(1, 2, 3))
