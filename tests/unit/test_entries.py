import numpy as np
import pytest
import scipy.sparse
import torch
from matrices import gaussian

from eckart.linalg.entries import Entries


def test_lists_in_any_order_are_the_matrix_of_scipy() -> None:
    rng = np.random.default_rng(0)
    place = rng.permutation(30)[:17]
    row, col, value = place // 6, place % 6, rng.standard_normal(17)
    entries = Entries.of_lists(torch.from_numpy(row), torch.from_numpy(col), torch.from_numpy(value), (5, 6))
    reference = scipy.sparse.coo_array((value, (row, col)), shape=(5, 6))
    np.testing.assert_array_equal(entries.dense().nan_to_num(0), reference.toarray())
    in_order = reference.tocsr().tocoo()
    np.testing.assert_array_equal(entries.row, in_order.coords[0])
    np.testing.assert_array_equal(entries.col, in_order.coords[1])
    for counts, axis in zip(entries.counts(), (1, 0), strict=True):
        np.testing.assert_array_equal(counts, (reference.toarray() != 0).sum(axis))
    assert float(entries.norm()) == pytest.approx(np.linalg.norm(value))


def test_products_are_those_of_the_dense_matrix_in_the_same_places() -> None:
    left, right, mask = gaussian(5, 2), gaussian(2, 6, seed=1), gaussian(5, 6, seed=2) > 0
    entries = Entries.of_matrix(left @ right, mask)
    np.testing.assert_allclose(entries.product(left, right), entries.value, atol=1e-14)
    some = entries[entries.row == 3]
    assert torch.equal(some.value, (left @ right)[3][mask[3]]) and len(some) == int(mask[3].sum())
    assert torch.equal((entries / 2).value, entries.value / 2)
    assert entries.to(torch.float32).value.dtype == torch.float32 and entries.to(torch.device("meta")).row.is_meta


@pytest.mark.parametrize(("row", "col"), [(-1, 0), (2, 0), (0, -1), (1, 3)])
def test_an_entry_outside_is_refused(row: int, col: int) -> None:
    rows, cols = torch.tensor([0, row]), torch.tensor([0, col])
    with pytest.raises(ValueError, match=rf"2×3\. Found row {row}, column {col}, counted from 0\.$"):
        Entries.of_lists(rows, cols, torch.ones(2), (2, 3))


def test_an_entry_that_is_observed_twice_is_refused() -> None:
    place = torch.tensor([1, 0, 1])
    with pytest.raises(ValueError, match=r"at most once\. Found two at row 1, column 1, counted from 0\.$"):
        Entries.of_lists(place, place, torch.ones(3), (2, 3))
