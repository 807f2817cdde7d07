"""Color maps of matrices, and the scale that values are shown on."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = 127
"""Colors of a map; two maps and the text of a figure fit in a palette of 256."""

# Blue and vermilion of one lightness, distinct under every common color vision deficiency, and the white between them:
# lightness, and the axes from green to red and from blue to yellow, in OKLab.
_BLUE, _WHITE, _VERMILION = (0.5, -0.03, -0.15), (0.975, 0.0, 0.0), (0.5, 0.12, 0.1)


class Scale(NamedTuple):
    """Values that a map begins and ends at, and whether it is the diverging map, whose middle is 0."""

    low: float
    high: float
    signed: bool

    def levels(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Color numbers, ``0 .. LEVELS - 1``, of values; those beyond the scale have the color of its end.

        Args:
            values: Numbers that are finite.

        Example:
            >>> Scale(0.0, 1.0, signed=False).levels([-1.0, 0.0, 0.5, 1.0])
            array([  0,   0,  63, 126], dtype=uint8)
        """
        clipped = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        share = (clipped - self.low) / ((self.high - self.low) or 1.0)
        return np.asarray(share * (LEVELS - 1) + 0.5).astype(np.uint8)


def scale_of(values: ArrayLike) -> Scale:
    """Scale that shows a matrix: its range where no entry is negative, else from ``-c`` to ``c``.

    The ``c`` is the 99th percentile of the sizes of the entries that are not 0, so that a few large ones leave the
    others visible. A matrix is nonnegative too where its negative entries are rounding.

    Args:
        values: A matrix; entries that are not finite do not count.

    Example:
        >>> scale_of([[0.0, 2.0]]), scale_of([[-1.0, 3.0]])
        (Scale(low=0.0, high=2.0, signed=False), Scale(low=-3.0, high=3.0, signed=True))
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low >= -1e-9 * high:
        if low < high:
            return Scale(low, high, signed=False)
        # A constant matrix is gray, with one as large above and below it.
        return Scale(low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2, signed=False)
    sizes = np.abs(array[array != 0])
    c = float(np.percentile(sizes, 99, method="higher"))
    return Scale(-c, c, signed=True)


def difference_scale(difference: ArrayLike, scale: Scale) -> Scale:
    """Diverging scale of a difference of matrices that are shown on ``scale``; rounding has no color.

    Args:
        difference: Their difference.
        scale: Scale of the matrices.

    Example:
        >>> difference_scale([[0.0, -0.5]], Scale(0.0, 2.0, signed=False))
        Scale(low=-0.5, high=0.5, signed=True)
    """
    sizes = np.abs(np.asarray(difference, dtype=np.float64))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    c = float(np.percentile(sizes, 99, method="higher")) if sizes.size else 0.0
    c = max(c, 1e-9 * max(abs(scale.low), abs(scale.high))) or 1.0
    return Scale(-c, c, signed=True)


@functools.cache
def color_map(*, signed: bool) -> NDArray[np.uint8]:
    """Colors of a map from its lowest value to its highest, ``(LEVELS, 3)``, red, green and blue.

    Equal differences of values are equal differences for the eye: the lightness rises evenly from black to white, or
    for signed values falls evenly from white at 0 to blue below it and to vermilion above it.

    Example:
        >>> color_map(signed=False)[[0, -1]]
        array([[  0,   0,   0],
               [255, 255, 255]], dtype=uint8)
        >>> color_map(signed=True)[LEVELS // 2]
        array([247, 247, 247], dtype=uint8)
    """
    if not signed:
        gray = np.linspace(0, 255, LEVELS).round().astype(np.uint8)
        return np.repeat(gray[:, None], 3, axis=1)
    half = LEVELS // 2 + 1
    below, above = np.linspace(_BLUE, _WHITE, half), np.linspace(_WHITE, _VERMILION, half)
    return _rgb(np.concatenate([below, above[1:]]))


MISSING = {False: "#EBC9A8", True: "#8C8C8C"}
"""Color of an entry that is not known, which is no color of the map; by whether the map is the diverging one."""


def gradient(*, signed: bool, stops: int = 9) -> Sequence[str]:
    """Evenly spaced colors of a map as hexadecimal text, as for the color bar of a page.

    Example:
        >>> gradient(signed=False, stops=3)
        ['#000000', '#808080', '#ffffff']
    """
    colors = color_map(signed=signed)[np.linspace(0, LEVELS - 1, stops).round().astype(int)]
    return ["#" + "".join(f"{channel:02x}" for channel in color) for color in colors.tolist()]


def _rgb(oklab: NDArray[np.float64]) -> NDArray[np.uint8]:
    # Ottosson, "A perceptual color space for image processing", 2020.
    cone = oklab @ np.array(
        [[1, 1, 1], [0.3963377774, -0.1055613458, -0.0894841775], [0.2158037573, -0.0638541728, -1.2914855480]]
    )
    linear = cone**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((255 * encoded).round().astype(np.uint8))


_NO_COLORS = [tuple(bytes.fromhex(color[1:])) for color in MISSING.values()]
PALETTE: NDArray[np.uint8] = np.concatenate(
    [color_map(signed=False), color_map(signed=True), np.array(_NO_COLORS, dtype=np.uint8)]
)
"""Both maps and the colors of entries that are not known, ``(256, 3)``."""
