"""Image files as addresses inside a page."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

_WIDEST = 720
_LARGEST_FILE = 40 * 2**20
_LARGEST_IMAGE = 60_000_000
_FEW = 160


def scaled(path: Path, widest: int = _WIDEST) -> str | None:
    """An image file as the address of a picture inside the page; None if it is no image that can be shown.

    A picture of few pixels is enlarged so that each pixel is seen.

    Args:
        path: A PNG, JPEG, GIF, BMP or WebP; of an animation the first picture is taken.
        widest: Columns and rows of the picture at most.
    """
    try:
        # To open a pipe would wait for ever.
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        with Image.open(path, formats=("PNG", "JPEG", "GIF", "BMP", "WEBP")) as image:
            if image.width * image.height > _LARGEST_IMAGE:
                return None
            transparent = "transparency" in image.info or "A" in image.mode
            small = image.convert("RGBA" if transparent else "RGB")
        small.thumbnail((widest, widest), reducing_gap=2.0)
        times = 2 * _FEW // max(small.size)
        if times > 1:
            small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
        written = BytesIO()
        if transparent:
            small.save(written, format="PNG")
        else:
            # A figure has few colors; a palette makes it a third of its size.
            small.quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(written, format="PNG")
    except Exception:
        # Whatever a damaged file does to the decoder, it is no reason to lose the page.
        return None
    return address(written.getvalue())


def address(png: bytes) -> str:
    """A PNG as an address inside the page.

    Example:
        >>> address(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
