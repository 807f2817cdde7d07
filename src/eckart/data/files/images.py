"""Images as matrices of luminance."""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from eckart.data.files import limits

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


def read_image(
    path: Path, crop: Sequence[int] | None = None, size: Sequence[int] | None = None
) -> npt.NDArray[np.float64]:
    """Read the luminance of a PNG, JPEG or TIFF image.

    The EXIF orientation is applied first, then the crop, then the resampling (Lanczos). Transparency is composited on
    white; color becomes ITU-R BT.601 luma; 8-bit and 16-bit scales both end at 1.

    Args:
        path: An existing file.
        crop: ``[left, top, width, height]`` in pixels, inside the image; None keeps all of it.
        size: ``[rows, cols]`` to resample to; None keeps the pixels.

    Returns:
        Float64, shape ``(rows, cols)``, from 0 (black) to 1 (white).

    Raises:
        ValueError: If the content has another format than the extension says, a TIFF file's list of pages has no end,
            the image has more than ``MAX_PIXELS`` pixels (nothing is decoded then), several pages or more than 16
            bits a channel, or ``crop`` or ``size`` breaks its law.
    """
    if size is not None:
        _require_integers("size", "[rows, cols]", size, 2)
        limits.require_matrix_shape(size)
    expected = FORMATS[path.suffix.lower()]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(path, formats=tuple(FORMATS.values()))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            found = re.search(r"\d+ pixels", str(error))
            raise ValueError(_too_large(found[0] if found else "more")) from error
        except UnidentifiedImageError as error:
            raise ValueError("the file must be a PNG, JPEG or TIFF image. Found none of them.") from error
    with opened, _silent():
        if opened.format != expected:
            raise ValueError(f"the file must be a {expected} image, as its extension says. Found {opened.format}.")
        if opened.width * opened.height > limits.MAX_PIXELS:
            raise ValueError(_too_large(f"{opened.width * opened.height} pixels"))
        if expected == "TIFF" and getattr(opened, "n_frames", 1) > 1:
            raise ValueError("the file must hold one image. Found several pages.")
        if isinstance(opened, TiffImageFile) and opened.tag_v2.next:
            # Pillow counts one page, and yet the page names a next one.
            raise ValueError("the file's list of pages must end after one page. Found a loop or damage.")
        # Some versions of Pillow open 16-bit grayscale PNG files as 32-bit "I".
        deep = opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PNG")
        image = ImageOps.exif_transpose(opened)
    if crop is not None:
        _require_integers("crop", "[left, top, width, height]", crop, 4)
        left, top, width, height = crop
        if min(left, top) < 0 or min(width, height) < 1 or left + width > image.width or top + height > image.height:
            law = f"crop [left, top, width, height] must lie inside the image of {image.width} x {image.height} pixels"
            raise ValueError(f"{law}. Found {list(crop)}.")
        image = image.crop((left, top, left + width, top + height))
    luminance = _luminance(image, deep)
    if size is None:
        return luminance
    resized = Image.fromarray(luminance.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    # Lanczos has negative lobes, which overshoot at edges.
    return np.asarray(resized, dtype=np.float64).clip(0, 1)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    # The C library that decodes TIFF writes its own warnings to standard error.
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _luminance(image: Image.Image, deep: bool) -> npt.NDArray[np.float64]:
    if deep:
        return np.asarray(image, dtype=np.float64) / 65535
    if image.mode in ("I", "F"):
        raise ValueError(f"the image must have 8 or 16 bits a channel. Found 32 (mode {image.mode!r}).")
    if image.has_transparency_data:
        color = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", color.size, "white"), color)
    return np.asarray(image.convert("RGB").convert("L"), dtype=np.float64) / 255


def _too_large(found: str) -> str:
    return f"the image must have at most {limits.MAX_PIXELS} pixels. Found {found}."


def _require_integers(name: str, law: str, values: Sequence[int], count: int) -> None:
    if len(values) != count or not all(isinstance(value, int) for value in values):
        raise ValueError(f"{name} must be {count} integers {law}. Found {list(values)}.")
