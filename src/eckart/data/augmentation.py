"""Images changed at random in ways that keep their class: whole batches at once."""

import math

import torch
from torch import Generator, Tensor

KINDS = ("none", "shift", "affine", "flip", "shift_flip", "shift_flip_erase")
"""What may be done to each image of a batch: the parts of a name, in their order."""

SHIFT = 2
"""Pixels at most that an image is shifted by, in each direction."""

ROTATION, SCALE, SHEAR = 10.0, 0.1, 0.1
"""Degrees at most that an image is rotated by, and shares at most that it is scaled and sheared by."""

ERASED = 0.25
"""Share of the images of which a part is erased."""


def augmented(images: Tensor, kind: str, generator: Generator) -> Tensor:
    """A batch in which each image is changed by draws of its own.

    ``shift`` moves an image by up to ``SHIFT`` pixels up or down and left or right, where 0 follows it; ``affine``
    rotates, scales, shears and shifts it by up to ``ROTATION``, ``SCALE``, ``SHEAR`` and ``SHIFT``, with values
    interpolated between pixels; ``flip`` exchanges left and right in half of the images; ``erase`` sets a rectangle of
    a quarter to a half of the height and of the width to 0, in a share ``ERASED`` of the images.

    Args:
        images: Shape ``(B, H, W)``, any dtype; 0 is the background.
        kind: One of ``KINDS``.
        generator: Random stream on the CPU; equal states give equal batches.

    Returns:
        A batch of the shape and dtype of ``images``, which stay as they are.

    Example:
        >>> images = torch.eye(3)[None]
        >>> augmented(images, "flip", torch.Generator().manual_seed(0))
        tensor([[[0., 0., 1.],
                 [0., 1., 0.],
                 [1., 0., 0.]]])

    References:
        Zhong et al., Random Erasing Data Augmentation, AAAI 2020, for ``erase``.
    """
    for part in kind.split("_"):
        if part != "none":
            images = _PARTS[part](images, generator)
    return images


def _shift(images: Tensor, generator: Generator) -> Tensor:
    count, height, width = images.shape
    padded = torch.nn.functional.pad(images, [SHIFT] * 4)
    down, right = torch.randint(2 * SHIFT + 1, (2, count, 1), generator=generator)
    rows, columns = torch.arange(height) + down, torch.arange(width) + right
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _affine(images: Tensor, generator: Generator) -> Tensor:
    count, height, width = images.shape
    draws = 2 * torch.rand(6, count, generator=generator) - 1
    angle, across, down = math.radians(ROTATION) * draws[0], 1 + SCALE * draws[1], 1 + SCALE * draws[2]
    cos, sin = angle.cos(), angle.sin()
    # Where a pixel comes from. In torch's grids both sides have length 2.
    shifts = 2 * SHIFT * draws[4:] / torch.tensor([[width], [height]])
    first = torch.stack([cos * across, (SHEAR * draws[3] - sin * down) * height / width, shifts[0]], dim=1)
    second = torch.stack([sin * across * width / height, cos * down, shifts[1]], dim=1)
    shape = [count, 1, height, width]
    grid = torch.nn.functional.affine_grid(torch.stack([first, second], dim=1), shape, align_corners=False)
    moved = torch.nn.functional.grid_sample(images.float().view(shape), grid, align_corners=False)
    return (moved if images.is_floating_point() else moved.round())[:, 0].to(images.dtype)


def _flip(images: Tensor, generator: Generator) -> Tensor:
    chosen = torch.rand(len(images), 1, 1, generator=generator) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def _erase(images: Tensor, generator: Generator) -> Tensor:
    count, height, width = images.shape
    draws = torch.rand(5, count, 1, generator=generator)

    def inside(size: int, length: Tensor, place: Tensor) -> Tensor:
        lengths = ((0.25 + 0.25 * length) * size).ceil()
        start = (place * (size - lengths + 1)).floor()
        positions = torch.arange(size)
        return (positions >= start) & (positions < start + lengths)

    rows, columns = inside(height, draws[0], draws[1]), inside(width, draws[2], draws[3])
    erased = rows[:, :, None] & columns[:, None, :] & (draws[4] < ERASED)[:, :, None]
    return images.masked_fill(erased, 0)


_PARTS = {"shift": _shift, "affine": _affine, "flip": _flip, "erase": _erase}
