import numpy as np
import pytest
import torch
from matrices import gaussian

from eckart.linalg.determined import amplification, undetermined
from eckart.linalg.entries import Entries


def lacking(mask: np.ndarray, rank: int) -> int:
    """Unknowns that the entries leave free: those of a generic matrix of the rank, by the rank of its tangent space."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((len(mask), rank)), rng.standard_normal((rank, mask.shape[1]))
    rows, cols = np.nonzero(mask)
    equations = np.zeros((len(rows), sum(mask.shape) * rank))
    for number, (row, col) in enumerate(zip(rows, cols, strict=True)):
        equations[number, row * rank : (row + 1) * rank] = right[:, col]
        place = (len(mask) + col) * rank
        equations[number, place : place + rank] = left[row]
    return sum(mask.shape) * rank - rank**2 - int(np.linalg.matrix_rank(equations))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_found_whether_all_is_determined_beside_a_core_that_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank, rows, cols = 2, 14, 12
    mask = np.zeros((rows, cols), dtype=bool)
    mask[:8, :8] = True
    for row in range(8, rows):
        mask[row, rng.choice(cols, 2, replace=False)] = True
    for col in range(8, cols):
        if mask[:, col].sum() < rank:
            mask[rng.choice(rows, 2, replace=False), col] = True
    found = undetermined(Entries.of_matrix(torch.zeros(rows, cols), torch.from_numpy(mask)), rank)
    assert (found > 0) == (lacking(mask, rank) > 0)


def test_parts_that_share_nothing_are_not_determined_together() -> None:
    mask = np.zeros((20, 16), dtype=bool)
    mask[:10, :8] = mask[10:, 8:] = True
    entries = Entries.of_matrix(torch.zeros(20, 16), torch.from_numpy(mask))
    assert undetermined(entries, 2) == 1 and lacking(mask, 2) == 4
    mask[:10, 8:12] = True
    assert undetermined(Entries.of_matrix(torch.zeros(20, 16), torch.from_numpy(mask)), 2) == 0 == lacking(mask, 2)


def test_rows_that_are_never_seen_are_not_counted() -> None:
    mask = torch.ones(6, 7) > 0
    mask[2] = mask[:, 3] = False
    assert undetermined(Entries.of_matrix(torch.zeros(6, 7), mask), 2) == 0
    mask[1, 1:] = False
    assert undetermined(Entries.of_matrix(torch.zeros(6, 7), mask), 2) == 1


def test_noise_grows_as_it_does_in_least_squares() -> None:
    left, right, mask = gaussian(30, 2), gaussian(2, 20, seed=1), gaussian(30, 20, seed=2) > 0
    entries = Entries.of_matrix(left @ right, mask)
    by_rows = sum(
        float(torch.trace(right.mT @ torch.linalg.inv(right[:, seen] @ right[:, seen].mT) @ right)) for seen in mask
    )
    by_cols = sum(float(torch.trace(left @ torch.linalg.inv(left[seen].mT @ left[seen]) @ left.mT)) for seen in mask.mT)
    assert amplification(entries, left, right) == pytest.approx(by_rows + by_cols)
    mask[4] = torch.arange(20) == 3
    assert amplification(Entries.of_matrix(left @ right, mask), left, right) == torch.inf
