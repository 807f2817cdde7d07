"""Images that are changed at random, one by one."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from eckart.data.augmentation import ERASED, KINDS, ROTATION, SCALE, SHEAR, SHIFT, augmented


def images(count: int = 400, height: int = 12, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, height, width), dtype=torch.uint8, generator=generator)


def changed(kind: str, seed: int = 1) -> tuple[Tensor, Tensor]:
    before = images()
    after = augmented(before, kind, torch.Generator().manual_seed(seed))
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert torch.equal(before, images())
    return before, after


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """An image moved by slices, and 0 where nothing comes from."""
    result = torch.zeros_like(image)
    height, width = image.shape
    rows = slice(max(down, 0), height + min(down, 0)), slice(max(-down, 0), height + min(-down, 0))
    columns = slice(max(right, 0), width + min(right, 0)), slice(max(-right, 0), width + min(-right, 0))
    result[rows[0], columns[0]] = image[rows[1], columns[1]]
    return result


def test_shifts_move_each_image_by_as_much_as_all_sides_allow() -> None:
    before, after = changed("shift")
    reach = range(-SHIFT, SHIFT + 1)
    found = set()
    for image, result in zip(before, after, strict=True):
        (move,) = [(y, x) for y in reach for x in reach if torch.equal(moved(image, y, x), result)]
        found.add(move)
    assert found == {(y, x) for y in reach for x in reach}


def test_affine_maps_are_those_of_scipy() -> None:
    before, after = changed("affine")
    draws = 2 * torch.rand(6, len(before), generator=torch.Generator().manual_seed(1), dtype=torch.float32).numpy() - 1
    center = np.array([5.5, 7.5])
    places = np.stack(np.meshgrid(np.arange(12), np.arange(16), indexing="ij"), -1) - center
    for image, result, (turn, across, down, shear, right, below) in zip(before[:40], after, draws.T, strict=False):
        angle = np.radians(ROTATION * turn)
        cos, sin, across, down = np.cos(angle), np.sin(angle), 1 + SCALE * across, 1 + SCALE * down
        # In rows and columns.
        matrix = np.array([[cos * down, sin * across], [SHEAR * shear - sin * down, cos * across]])
        source = places @ matrix.T + center + SHIFT * np.array([below, right])
        expected = map_coordinates(
            image.numpy().astype(float), np.moveaxis(source, -1, 0), order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(result.numpy(), expected, atol=0.51)


def test_half_of_the_images_are_flipped() -> None:
    before, after = changed("flip")
    flipped = (after == before.flip(-1)).flatten(1).all(1)
    kept = (after == before).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 160 < int(flipped.sum()) < 240


def test_erased_parts_are_rectangles() -> None:
    before, after = changed("shift_flip_erase")
    unerased = augmented(before, "shift_flip", torch.Generator().manual_seed(1))
    erased = (after != unerased).flatten(1).any(1)
    assert abs(int(erased.sum()) / len(before) - ERASED) < 0.1
    assert torch.equal(after[after != 0], unerased[after != 0])
    generator = torch.Generator().manual_seed(3)
    whole = augmented(torch.ones(400, 12, 16), "erase", generator)
    for image in whole[(whole == 0).flatten(1).any(1)]:
        rows, columns = (image == 0).any(1), (image == 0).any(0)
        assert torch.equal(image == 0, rows[:, None] & columns)
        assert 3 <= int(rows.sum()) <= 6 and 4 <= int(columns.sum()) <= 8


@pytest.mark.parametrize("kind", KINDS)
def test_equal_states_give_equal_batches(kind: str) -> None:
    _, first = changed(kind)
    _, again = changed(kind)
    _, other = changed(kind, seed=2)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind == "none")
