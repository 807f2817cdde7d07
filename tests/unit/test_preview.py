"""The small picture of a run: what is in it, and files that claim to be one."""

import json
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from eckart.results import preview
from eckart.results.colors import LEVELS, color_map
from eckart.results.preview import CELLS, PREVIEW, read, write

Matrix = NDArray[np.float64]


def gaussian(*shape: int) -> Matrix:
    return np.random.default_rng(0).standard_normal(shape)


def decoded(png: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def written(folder: Path, target: Matrix, factor: float = 0.5, **texts: str) -> Path:
    return write(folder, target, factor * target, target, shape=(7, 9), rank=2, **texts)


def test_panels_are_target_trained_truncated_svd_and_what_is_missing(tmp_path: Path) -> None:
    target = np.array([[0.0, 1.0], [0.5, 1.0]])
    found = read(written(tmp_path, target, drawn="means of 4 × 5 entries"))
    assert found.texts == preview.Texts(
        titles=("target", "trained", "truncated SVD", "target − trained"),
        shape=(7, 9),
        rank=2,
        drawn="means of 4 × 5 entries",
        low=0.0,
        high=1.0,
        signed=False,
        difference=0.5,
    )
    assert found.size == (2, 2)
    grays, diverging = color_map(signed=False), color_map(signed=True)
    for panel, values in zip(found.panels[:3], (target, target / 2, target), strict=True):
        np.testing.assert_array_equal(decoded(panel), grays[(values * (LEVELS - 1) + 0.5).astype(int)])
    # What is missing, half of the target, is on a scale from -0.5 to 0.5.
    np.testing.assert_array_equal(decoded(found.panels[3]), diverging[(63 * (1 + target) + 0.5).astype(int)])


def test_signed_matrices_have_zero_in_the_middle(tmp_path: Path) -> None:
    found = read(written(tmp_path, np.array([[-3.0, 0.0, 1.0]])))
    assert (found.texts.low, found.texts.high, found.texts.signed) == (-3.0, 3.0, True)
    np.testing.assert_array_equal(decoded(found.panels[0])[0, 1], color_map(signed=True)[LEVELS // 2])


def test_an_exact_approximation_leaves_a_white_difference(tmp_path: Path) -> None:
    panel = decoded(read(written(tmp_path, gaussian(4, 4), factor=1 - 1e-14)).panels[3])
    assert (panel == color_map(signed=True)[LEVELS // 2]).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 50), (6, 50)), ((50, 1), (50, 6)), ((3, 3), (3, 3)), ((1, 1), (1, 1)), ((96, 96), (96, 96))],
)
def test_a_single_row_stays_visible(shape: tuple[int, int], size: tuple[int, int], tmp_path: Path) -> None:
    found = read(written(tmp_path, gaussian(*shape)))
    assert found.size == size
    assert len({decoded(panel).shape for panel in found.panels}) == 1
    assert (tmp_path / PREVIEW).stat().st_size < 50_000


@pytest.mark.parametrize(
    "target",
    [np.zeros((3, 3)), np.full((3, 3), -2.0), np.full((2, 2), np.nan), np.full((2, 2), np.inf), 1e308 * gaussian(3, 3)],
    ids=["zero", "constant", "nan", "infinite", "huge"],
)
def test_degenerate_matrices_have_a_preview(target: Matrix, tmp_path: Path) -> None:
    assert len(read(written(tmp_path, target, factor=-1.0)).panels) == 4


def test_matrices_of_other_shapes_are_refused(tmp_path: Path) -> None:
    for target, trained in ((gaussian(2, 2), gaussian(2, 3)), (gaussian(1, CELLS + 1), gaussian(1, CELLS + 1))):
        with pytest.raises(ValueError, match="must have one shape of at most 96 rows and columns"):
            write(tmp_path, target, trained, target, shape=(2, 2), rank=1)
    assert not list(tmp_path.iterdir())


def test_a_preview_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / PREVIEW).mkdir()
    with pytest.raises(OSError, match=PREVIEW):
        written(tmp_path, gaussian(2, 2))
    assert [path.name for path in tmp_path.iterdir()] == [PREVIEW]


def png(size: tuple[int, int] = (8, 2), mode: str = "P", **changes: object) -> bytes:
    texts = {
        "titles": ["a", "b", "c", "d"],
        "shape": [3, 3],
        "rank": 1,
        "drawn": "entries",
        "low": 0.0,
        "high": 1.0,
        "signed": False,
        "difference": 0.5,
    }
    chunks, content = PngImagePlugin.PngInfo(), BytesIO()
    chunks.add_text("eckart", json.dumps(texts | changes))
    Image.new(mode, size).save(content, format="PNG", pnginfo=chunks)
    return content.getvalue()


def bomb() -> bytes:
    """A PNG of few bytes whose header claims 30,000 × 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 3, 0, 0, 0)
    end = png()[8 + 25 :]
    return png()[:8] + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + end


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "cannot identify"),
        (b"not a picture", "cannot identify"),
        (png()[:60], "."),
        (png()[:-30], "."),
        (png(mode="RGB"), "4 panels are 8 × 2 pixels"),
        (png(size=(9, 2)), "4 panels are 9 × 2 pixels"),
        (png(size=(4 * CELLS + 4, 2)), "4 panels are 388 × 2 pixels"),
        (bomb(), "30000|900000000"),
        (png(titles=[]), "other types"),
        (png(titles=["x" * 201]), "other types"),
        (png(titles="abcd"), "other types"),
        (png(shape=[3, -3]), "other types"),
        (png(shape="33"), "other types"),
        (png(rank=True), "other types"),
        (png(low="<script>"), "other types"),
        (png(high=float("nan")), "other types"),
        (png(signed=1), "other types"),
        (png(more=1), "texts are missing"),
        (b"x" * 200_001, "at most 200000 bytes"),
    ],
)
def test_a_file_that_is_no_preview_is_refused_in_one_line(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / PREVIEW
    path.write_bytes(content)
    with pytest.raises(ValueError, match=found) as refused:
        read(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_a_sound_file_is_read_and_a_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "sound.png").write_bytes(png())
    assert read(tmp_path / "sound.png").texts.titles == ("a", "b", "c", "d")
    with pytest.raises(ValueError, match="must be a regular file"):
        read(tmp_path)
