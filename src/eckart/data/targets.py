"""Targets: matrices for low-rank models to learn, each from one function of its size and seed."""

import math
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from eckart.linalg.checks import require_count
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank

LAB_MASK = torch.tensor([[True, True, True], [False, True, True], [True, False, True]])


def lab() -> Tensor:
    """The 3 by 3 matrix of the matrix-factorization lab.

    The sum of squared residuals of its best rank-2 approximation is 0.121911.

    Returns:
        Float64, shape ``(3, 3)``.

    Example:
        >>> (torch.linalg.svdvals(lab())[2] ** 2).item()
        0.12191...
    """
    return torch.tensor(
        [[0.3374, 0.6005, 0.1735], [3.3359, 0.0492, 1.8374], [2.9407, 0.5301, 2.2620]], dtype=torch.float64
    )


def lab_mask() -> Tensor:
    """Entries of ``lab()`` that are observed in the completion exercise of the lab: seven of nine.

    Returns:
        Bool, shape ``(3, 3)``, a copy of ``LAB_MASK``; true where the entry is observed.

    Example:
        >>> lab_mask().sum()
        tensor(7)
    """
    return LAB_MASK.clone()


def gaussian(rows: int, cols: int, seed: int) -> Tensor:
    """Independent standard normal entries.

    Args:
        rows: At least 1.
        cols: At least 1.
        seed: Seed of the run; the same seed gives the same matrix.

    Returns:
        Float64, shape ``(rows, cols)``.

    Raises:
        ValueError: If a size is not an integer of at least 1.

    Example:
        >>> gaussian(3, 2, seed=0).shape
        torch.Size([3, 2])
    """
    _require_sizes(rows=rows, cols=cols)
    return torch.randn(rows, cols, dtype=torch.float64, generator=stream(seed, "target"))


def uniform(rows: int, cols: int, seed: int) -> Tensor:
    """Independent entries from the uniform distribution on (0, 1).

    Because of the mean 1/2, the largest singular value is near ``sqrt(rows * cols) / 2``, far above the others.

    Args:
        rows: At least 1.
        cols: At least 1.
        seed: Seed of the run; the same seed gives the same matrix.

    Returns:
        Float64, shape ``(rows, cols)``.

    Raises:
        ValueError: If a size is not an integer of at least 1.

    Example:
        >>> matrix = uniform(3, 2, seed=0)
        >>> bool(matrix.min() > 0 and matrix.max() < 1)
        True
    """
    _require_sizes(rows=rows, cols=cols)
    return torch.rand(rows, cols, dtype=torch.float64, generator=stream(seed, "target"))


def symmetric(rows: int, seed: int) -> Tensor:
    """Symmetric part ``(B + B.T) / 2`` of a matrix B with independent uniform entries on (0, 1).

    Args:
        rows: At least 1; the matrix is square.
        seed: Seed of the run; the same seed gives the same matrix.

    Returns:
        Float64, shape ``(rows, rows)``, exactly symmetric.

    Raises:
        ValueError: If ``rows`` is not an integer of at least 1.

    Example:
        >>> matrix = symmetric(3, seed=0)
        >>> torch.equal(matrix, matrix.mT)
        True
    """
    matrix = uniform(rows, rows, seed)
    return (matrix + matrix.mT) / 2


def low_rank(rows: int, cols: int, rank: int, seed: int) -> Tensor:
    """Product of two Gaussian factors: rank exactly ``rank``, up to rounding.

    Args:
        rows: At least 1.
        cols: At least 1.
        rank: Inner size of the product, ``1 <= rank <= min(rows, cols)``.
        seed: Seed of the run; the same seed gives the same matrix.

    Returns:
        Float64, shape ``(rows, cols)``; entries of mean 0 and variance ``rank``.

    Raises:
        ValueError: If a size is not an integer of at least 1, or ``rank`` exceeds ``min(rows, cols)``.

    Example:
        >>> torch.linalg.matrix_rank(low_rank(6, 4, rank=2, seed=0))
        tensor(2)
    """
    _require_sizes(rows=rows, cols=cols, rank=rank)
    check_rank(rank, (rows, cols), name="The target's rank")
    generator = stream(seed, "target")
    left = torch.randn(rows, rank, dtype=torch.float64, generator=generator)
    return left @ torch.randn(rank, cols, dtype=torch.float64, generator=generator)


def identity(rows: int, cols: int) -> Tensor:
    """Ones on the main diagonal, zeros elsewhere: every singular value is 1.

    Every product of k orthonormal directions with their images is a best approximation of rank ``k < min(rows, cols)``,
    with relative 2-norm error 1.

    Args:
        rows: At least 1.
        cols: At least 1.

    Returns:
        Float64, shape ``(rows, cols)``.

    Raises:
        ValueError: If a size is not an integer of at least 1.

    Example:
        >>> identity(2, 3)
        tensor([[1., 0., 0.],
                [0., 1., 0.]], dtype=torch.float64)
    """
    _require_sizes(rows=rows, cols=cols)
    return torch.eye(rows, cols, dtype=torch.float64)


def diagonal(rows: int, start: int = 0) -> Tensor:
    """Diagonal matrix of consecutive integers ``start, start + 1, ..., start + rows - 1``.

    With ``rows=50, start=0`` the best rank-20 approximation has relative 2-norm error 29/49.

    Args:
        rows: At least 1; the matrix is square.
        start: First entry of the diagonal.

    Returns:
        Float64, shape ``(rows, rows)``.

    Raises:
        ValueError: If ``rows`` is not an integer of at least 1, or ``start`` is not an integer.

    Example:
        >>> diagonal(3, start=1)
        tensor([[1., 0., 0.],
                [0., 2., 0.],
                [0., 0., 3.]], dtype=torch.float64)
    """
    _require_sizes(rows=rows)
    if not isinstance(start, int):
        raise ValueError(f"The diagonal's start must be an integer. Found {start!r}.")
    return torch.diag(torch.arange(start, start + rows, dtype=torch.float64))


def photo(rows: int = 400, cols: int = 400) -> Tensor:
    """Luminance of a photograph of a pagoda, scikit-learn's ``china.jpg``. Its singular values decay slowly.

    The largest centered crop with the aspect ratio of the result is resampled (Lanczos), so nothing is stretched.

    Args:
        rows: Height in pixels, at least 1.
        cols: Width in pixels, at least 1.

    Returns:
        Float64, shape ``(rows, cols)``, multiples of 1/255 from 0 (black) to 1 (white).

    Raises:
        ValueError: If a size is not an integer of at least 1.

    Example:
        >>> photo(40, 60).shape
        torch.Size([40, 60])
    """
    _require_sizes(rows=rows, cols=cols)
    import numpy as np
    from PIL import Image

    # Read from the folder of the package, whose import would take longer than all else that is done here.
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    with Image.open(Path(package.origin).parent / "datasets" / "images" / "china.jpg") as photograph:
        image = photograph.convert("L")
    scale = min(image.width / cols, image.height / rows)
    left, top = (image.width - cols * scale) / 2, (image.height - rows * scale) / 2
    crop = (left, top, left + cols * scale, top + rows * scale)
    resized = image.resize((cols, rows), Image.Resampling.LANCZOS, box=crop)
    return torch.from_numpy(np.asarray(resized, dtype=np.float64) / 255)


def logo(rows: int = 256) -> Tensor:
    """White silhouette of a pear with a stem and a leaf, on black, drawn from circles with soft edges.

    Because of its curved edges it is far from low rank: the relative 2-norm error of its best rank-10 approximation is
    0.071 at 256 pixels.

    Args:
        rows: Height and width in pixels, at least 1.

    Returns:
        Float64, shape ``(rows, rows)``, from 0 (black) to 1 (white).

    Raises:
        ValueError: If ``rows`` is not an integer of at least 1.

    Example:
        >>> logo(8)[4].round(decimals=1)
        tensor([0.0000, 0.0000, 0.7000, 1.0000, 1.0000, 0.6000, 0.0000, 0.0000],
               dtype=torch.float64)
    """
    _require_sizes(rows=rows)
    y, x = _pixel_centers(rows)

    def disk(right: float, up: float, radius: float) -> Tensor:
        return torch.hypot(x - right, y - up) - radius

    # Shapes are signed distances, negative inside: minimum is union, maximum is intersection.
    belly, neck = disk(-0.04, -0.36, 0.50), disk(0.08, 0.25, 0.22)
    waist = (1 - (belly - neck).abs() / 0.4).clamp(min=0)
    body = torch.minimum(belly, neck) - 0.1 * waist**2
    highlight = torch.maximum(disk(-0.04, -0.36, 0.37), -disk(0.06, -0.29, 0.39))
    body = torch.maximum(body, -highlight)
    stem = torch.maximum(disk(0.50, 0.44, 0.40).abs() - 0.035, torch.maximum(x - 0.24, 0.3 - y))
    leaf = torch.maximum(disk(0.50, 0.36, 0.44), disk(0.54, 0.94, 0.42))
    distance = torch.minimum(torch.minimum(body, stem), leaf)
    return (0.5 - distance * rows / 2).clamp(0, 1)


def color_wheel(rows: int = 10) -> Tensor:
    """Luminance of an HSV color wheel on white: hue by angle, saturation by radius, full value.

    Each entry is the mean over its pixel, and luminance is ITU-R BT.601's ``0.299 R + 0.587 G + 0.114 B``.

    Args:
        rows: Height and width in pixels, at least 1.

    Returns:
        Float64, shape ``(rows, rows)``, from 0 (black) to 1 (white).

    Raises:
        ValueError: If ``rows`` is not an integer of at least 1.

    Example:
        >>> wheel = color_wheel(10)
        >>> bool(wheel[4, 0] > wheel[4, 9])  # cyan, to the left, is brighter than red
        True
    """
    _require_sizes(rows=rows)
    samples = max(4, 160 // rows)
    y, x = _pixel_centers(rows * samples)
    sextant, saturation = torch.atan2(y, x) * (3 / math.pi), torch.hypot(x, y)
    luminance = torch.zeros_like(saturation)
    for offset, weight in ((5, 0.299), (3, 0.587), (1, 0.114)):
        phase = (offset + sextant) % 6
        luminance += weight * (1 - saturation * torch.minimum(phase, 4 - phase).clamp(0, 1))
    luminance = torch.where(saturation <= 1, luminance, 1.0)
    return luminance.reshape(rows, samples, rows, samples).mean(dim=(1, 3))


def _pixel_centers(rows: int) -> tuple[Tensor, Tensor]:
    centers = (torch.arange(rows, dtype=torch.float64) + 0.5) * (2 / rows) - 1
    return -centers[:, None], centers[None, :]


def _require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        require_count(f"The target's {name}", size)
