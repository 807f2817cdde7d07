import gzip
import io
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from safetensors.torch import save_file
from scipy import sparse  # type: ignore[import-untyped, unused-ignore]
from scipy.io import mmwrite  # type: ignore[import-untyped, unused-ignore]

from eckart.data.files import limits
from eckart.data.files.reading import read_matrix

A = np.random.default_rng(0).standard_normal((4, 3))
DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", ">f8", ">i2", "longdouble"]


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def refuse(path: Path, match: str, error: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        read_matrix(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert repr(str(path)) in message


def check(path: Path, expected: Any, **options: Any) -> None:
    matrix = read_matrix(path, **options)
    assert matrix.dtype == torch.float64
    assert matrix.is_contiguous()
    np.testing.assert_array_equal(matrix.numpy(), np.asarray(expected, dtype=np.float64))


def test_missing_entries_in_every_format(tmp_path: Path) -> None:
    array = np.array([[1.0, np.nan], [np.nan, np.nan], [5.0, 6.0]])
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array)
    torch.save(torch.from_numpy(array), tmp_path / "a.pt")
    save_file({"a": torch.from_numpy(array)}, tmp_path / "a.safetensors")
    (tmp_path / "a.csv").write_text("1,\n,NaN\n5,6\n")
    (tmp_path / "a.tsv").write_text("1\tnan\n\t\n5\t6\n")
    for path in tmp_path.iterdir():
        check(path, array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_of_every_real_dtype_and_order(tmp_path: Path, dtype: str) -> None:
    array = np.asfortranarray((A * 9).astype(dtype))
    np.save(tmp_path / "a.npy", array)
    check(tmp_path / "a.npy", array)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-1e300, 1e300)))
def test_tables_and_arrays_return_exactly_what_numpy_wrote(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savetxt(tmp_path / "a.csv", array, delimiter=",", fmt="%.17g")
    np.savetxt(tmp_path / "a.tsv", array, delimiter="\t", fmt="%.17g")
    for name in ("a.npy", "a.csv", "a.tsv"):
        check(tmp_path / name, array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_needs_no_key_for_a_single_matrix(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", labels=np.arange(3), A=A)
    check(tmp_path / "a.npz", A)
    save(tmp_path / "b.npz", A=A, B=A.T)
    check(tmp_path / "b.npz", A.T, key="B")
    refuse(tmp_path / "b.npz", r"key must name one of 2 2-D arrays: 'A' \(4, 3\), 'B' \(3, 4\)\. Found no key")
    refuse(tmp_path / "b.npz", r"key must be one of 'A' .*\. Found 'C'", key="C")
    refuse(tmp_path / "a.npz", r"Found shape \(3,\)", key="labels")


def test_safetensors(tmp_path: Path) -> None:
    half = torch.from_numpy(A).to(torch.bfloat16)
    save_file({"half": half, "bias": torch.ones(3)}, tmp_path / "a.safetensors")
    check(tmp_path / "a.safetensors", half.double())
    save_file({"a": half, "b": torch.arange(6).reshape(2, 3)}, tmp_path / "b.safetensors")
    check(tmp_path / "b.safetensors", [[0, 1, 2], [3, 4, 5]], key="b")
    refuse(tmp_path / "b.safetensors", r"'a' \(4, 3\), 'b' \(2, 3\)")
    save_file({"a": torch.ones(2, 2, dtype=torch.complex64)}, tmp_path / "c.safetensors")
    refuse(tmp_path / "c.safetensors", r"real numbers\. Found dtype torch\.complex64")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_pt_tensor_state_dict_and_checkpoint(tmp_path: Path) -> None:
    tensor = torch.from_numpy(A)
    torch.save(tensor.mT, tmp_path / "a.pt")
    check(tmp_path / "a.pt", A.T)
    refuse(tmp_path / "a.pt", "key must be null. Found key 'x'", key="x")
    torch.save(torch.nn.Linear(3, 4).state_dict() | {"weight": torch.nn.Parameter(tensor)}, tmp_path / "b.pt")
    check(tmp_path / "b.pt", A)
    torch.save({"epoch": 3, "state_dict": {"weight": tensor, "other": tensor.mT}}, tmp_path / "c.pt")
    check(tmp_path / "c.pt", A, key="state_dict.weight")
    torch.save(tensor.to_sparse(), tmp_path / "d.pt")
    check(tmp_path / "d.pt", A)
    torch.save(tensor.half(), tmp_path / "e.pt", _use_new_zipfile_serialization=False)
    check(tmp_path / "e.pt", A.astype(np.float16))
    torch.save({"epoch": 3}, tmp_path / "f.pt")
    refuse(tmp_path / "f.pt", "must hold a 2-D array. Found no arrays")
    torch.save(torch.zeros(1).expand(10**6, 10**6), tmp_path / "g.pt")
    refuse(tmp_path / "g.pt", r"m \* n <= 268435456 entries\. Found shape \(1000000, 1000000\)")


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz"])
def test_matrix_market_in_all_its_formats(tmp_path: Path, suffix: str) -> None:
    square = np.array([[2.0, -1.5, 0.0], [-1.5, 0.0, 4.0], [0.0, 4.0, 1.0]])
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    cases: list[tuple[Any, Any, dict[str, str]]] = [
        (A, A, {}),
        (square, square, {"symmetry": "symmetric"}),
        (sparse.coo_array(square), square, {"symmetry": "symmetric"}),
        (sparse.coo_array(skew), skew, {"symmetry": "skew-symmetric"}),
        (sparse.coo_array(A), A, {}),
        (sparse.coo_array(square), square != 0, {"field": "pattern"}),
        (skew, skew, {"symmetry": "skew-symmetric"}),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], {}),
        (sparse.coo_array((2, 3)), np.zeros((2, 3)), {}),
        (np.zeros((1, 1)), [[0]], {"symmetry": "skew-symmetric"}),
        (sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 3)), [[0, 3, 0], [0, 0, 0]], {}),
    ]
    for number, (written, expected, options) in enumerate(cases):
        plain, path = tmp_path / f"{number}.mtx", tmp_path / f"{number}{suffix}"
        mmwrite(plain, written, precision=17, **options)
        if suffix == ".mtx.gz":
            path.write_bytes(gzip.compress(plain.read_bytes()))
        check(path, expected)


def test_matrix_market_takes_decimals_of_any_length(tmp_path: Path) -> None:
    digits = "1." + "23456789" * 30
    (tmp_path / "a.mtx").write_text(f"%%MatrixMarket matrix coordinate real general\n1 2 1\n1 2 {digits}\n")
    check(tmp_path / "a.mtx", [[0.0, float(digits)]])


def test_csv_dialect(tmp_path: Path) -> None:
    text = '\ufeff# spalten für alles\r\n\r\n1, 2e-3 ,"3"\r\n  \t\r\n-4,+5,.5 # the rest\r\n'
    (tmp_path / "A.CSV").write_text(text, encoding="utf-8", newline="")
    check(tmp_path / "A.CSV", [[1, 2e-3, 3], [-4, 5, 0.5]])
    (tmp_path / "b.csv").write_bytes(b"# caf\xe9\n7\n8")
    check(tmp_path / "b.csv", [[7], [8]])


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"width,height\n1,2\n", r"line 1, value 1 must be a number\. Found 'width'"),
        ("a.csv", b"# note\n\n1,2\n3,x\n", r"line 4, value 2 must be a number\. Found 'x'"),
        ("a.csv", b"1;2\n3;4\n", r"line 1, value 1 must be a number\. Found '1;2'"),
        ("a.csv", b"1_000,2\n", r"line 1, value 1 must be a number\. Found '1_000'"),
        ("a.csv", b"1+2j,2\n", r"line 1, value 1 must be a number\. Found '1\+2j'"),
        ("a.csv", b"1,2\n\n3,\x1b[31m\n", r"line 3, value 2 must be a number\. Found '\\x1b\[31m'"),
        ("a.csv", b"a,b\n1,2\n", r"line 1, value 1 must be .*Found 'a'; a header\? remove it: tail -n \+2\.$"),
        ("a.csv", b"u,i,r\n1,2,3\n", r"tail -n \+2; a list of ratings\? data=ratings\.$"),
        ("a.csv", b"x,1\ny,2\n", r"Found 'x'; names of rows\? remove them: cut -d, -f2-\.$"),
        ("a.csv", b"1,2\nx,y\n", r"line 2, value 1 must be a number\. Found 'x'\.$"),
        ("a.csv", b"# head\n1,2,3\n4,5\n", r"as many values as line 2: 3\. Found 2 on line 3"),
        ("a.csv", b"1,2\n\xff\xfe,3\n", r"line 2, value 1 must be UTF-8 text\. Found"),
        ("a.csv", "1,2\n".encode("utf-16"), r"line 1, value 1 must be UTF-8 text\. Found"),
        ("a.csv", b'1,2\n"3,4\n', r"line 2 must be a well-formed row"),
        ("a.csv", b"# nothing\n\n", r"at least one line of numbers\. Found none"),
        ("a.csv", b"1,nan\ninf,2\n", r"Found 1 infinite, the first, inf, in row 2, column 1 \(counted from 1\)"),
        ("a.tsv", b"1,2\n", r"Found '1,2'"),
        ("a.npy", b"not an array", r"Cannot read"),
        ("a.npz", b"not an archive", r"must be a sound .npz file\. Found BadZipFile: "),
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0not json at all!", r"Cannot read .*SafetensorError"),
        ("a.pt", b"not a checkpoint", r"weights_only=True.*a damaged file"),
        ("a.png", b"not an image", r"must be a PNG, JPEG or TIFF image\. Found none"),
        ("a.mtx", b"1 2 3\n", r"line 1 must be '%%MatrixMarket matrix'.*Found '1 2 3'"),
        ("a.mtx.gz", b"not gzipped", r"Cannot read .*BadGzipFile"),
        (
            "a.mtx",
            b"%%MatrixMarket matrix array complex general\n1 1\n1 1\n",
            r"Found '%%MatrixMarket matrix array complex general'",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n",
            r"must hold 4 entries\. Found 3: truncated",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix coordinate real general\n99999 99999 1\n1 1 1\n",
            r"m \* n <= 268435456 entries\. Found shape \(99999, 99999\)",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix coordinate real general\n9 9 99999999999\n1 1 1\n",
            r"must hold 99999999999 entries\. Found 1: truncated",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix coordinate real general\n2 2 1\n%\n3 1 1\n",
            r"line 4, value 1 must be an index from 1 to 2\. Found '3'",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 1\n",
            r"must hold 1 lines of 3 values\. Found '1 1' on line 3, after 0",
        ),
        (
            "a.mtx",
            b"%%MatrixMarket matrix array real general\n1 1\n1\n2\n",
            r"must hold 1 lines of 1 values\. Found '2' on line 4, after 1",
        ),
        ("a.mtx", b"%%MatrixMarket matrix array real general\n1 1\n1\x003\n", r"line 3, value 1 must be a number"),
        ("a.mtx", b"%%MatrixMarket matrix array real general\n1 x\n1\n", r"must be rows columns\. Found '1 x'"),
        (
            "a.mtx",
            b"%%MatrixMarket matrix array real symmetric\n2 500\n1\n",
            r"a symmetric matrix must be square\. Found shape \(2, 500\)",
        ),
        ("a.npy", b"", r"must not be empty\. Found 0 bytes"),
        ("a.xlsx", b"PK", r"the extension must be one of \.npy, \.csv, .*\.tiff\. Found '\.xlsx'"),
        ("a", b"1", r"the extension must be one of .*Found ''"),
    ],
)
def test_bad_bytes_are_refused(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, match)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.ones(5), r"shape \(m, n\) with m >= 1 and n >= 1\. Found shape \(5,\)"),
        (np.ones((2, 3, 4)), r"Found shape \(2, 3, 4\)"),
        (np.ones((0, 3)), r"Found shape \(0, 3\)"),
        (np.ones((2, 2), complex), r"must hold real numbers\. Found dtype complex128"),
        (np.array([["a"]]), r"must hold real numbers\. Found dtype <U1"),
        (np.ones((2, 2), [("x", "f8")]), r"must hold real numbers\. Found dtype"),
        (np.array([[1, np.inf], [np.nan, -np.inf]]), r"Found 2 infinite, the first, inf, in row 1, column 2"),
    ],
)
def test_arrays_that_are_no_real_matrix_are_refused(tmp_path: Path, array: np.ndarray, match: str) -> None:
    np.save(tmp_path / "a.npy", array)
    refuse(tmp_path / "a.npy", match)
    np.savez(tmp_path / "a.npz", x=array)
    refuse(tmp_path / "a.npz", match, key="x")


def test_truncated_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-5])
    refuse(tmp_path / "a.npy", r"shape \(4, 3\) and dtype float64 need 96 bytes of data\. Found 91: truncated")
    (tmp_path / "a.npy").write_bytes(whole[:40])
    refuse(tmp_path / "a.npy", "Cannot read")
    tensors = {"A": torch.from_numpy(A)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
        refuse(tmp_path / name, "Cannot read")


@pytest.mark.parametrize("shape", [(2**14, 2**14), (2**40, 2**40), (2**70, 1)])
def test_a_shape_that_the_file_cannot_hold_allocates_nothing(tmp_path: Path, shape: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    refuse(tmp_path / "a.npy", r"truncated|m \* n <= 268435456 entries")


def test_an_archive_that_declares_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10**5)
    np.savez_compressed(tmp_path / "a.npz", A=np.zeros((200, 200)))
    assert (tmp_path / "a.npz").stat().st_size < 1000
    refuse(tmp_path / "a.npz", r"unpack to at most 100000 bytes\. Found 320128 declared")
    torch.save(torch.zeros(200, 200), tmp_path / "a.pt")
    refuse(tmp_path / "a.pt", "unpack to at most 100000 bytes")
    (tmp_path / "a.mtx.gz").write_bytes(gzip.compress(b"%" * 10**6))
    refuse(tmp_path / "a.mtx.gz", "the text must have at most 100000 bytes. Found more")


def test_an_archive_that_declares_too_little_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", A=np.zeros((200, 200)))
    content = (tmp_path / "a.npz").read_bytes().replace(struct.pack("<I", 320128), struct.pack("<I", 300))
    (tmp_path / "a.npz").write_bytes(content)
    refuse(tmp_path / "a.npz", "Cannot read")


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    np.save(tmp_path / "a.npy", np.array([[Trap(trap)]], dtype=object), allow_pickle=True)
    refuse(tmp_path / "a.npy", "must hold real numbers. Found dtype object")
    np.savez(tmp_path / "a.npz", allow_pickle=True, A=np.array([[Trap(trap)]], dtype=object))
    refuse(tmp_path / "a.npz", "must hold real numbers. Found dtype object")
    for zipped in (True, False):
        torch.save({"A": torch.ones(2, 2), "x": Trap(trap)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        refuse(tmp_path / "a.pt", r"weights_only=True.* runs no code\. Found the object '(posix|nt)\.mkdir'")
        assert not trap.exists()
        torch.load(tmp_path / "a.pt", weights_only=False)
        assert trap.exists(), "the trap of this test must work"
        trap.rmdir()


def luma(color: np.ndarray) -> np.ndarray:
    return np.asarray(color @ np.array([0.299, 0.587, 0.114]) / 255)


def gradient(mode: str) -> Image.Image:
    color = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(color).convert(mode)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_lossless_images_of_every_mode(tmp_path: Path, suffix: str, mode: str) -> None:
    image = gradient(mode)
    image.save(tmp_path / f"a{suffix}")
    matrix = read_matrix(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(matrix.numpy(), luma(np.asarray(image.convert("RGB"))), atol=0.51 / 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(tmp_path: Path, mode: str) -> None:
    flat = Image.new("RGB", (16, 8), (200, 100, 50)).convert(mode)
    flat.save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_matrix(tmp_path / "a.jpg").numpy(), np.full((8, 16), 0.4903), atol=0.02)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 1, 65535], [256, 300, 32768]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", deep / 65535)
    check(tmp_path / f"a{suffix}", deep[:, 1:] / 65535, crop=[1, 0, 2, 2])


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    check(tmp_path / "a.png", [[1.0, 0.0, 0.8]])
    Image.fromarray(pixels[..., 2:]).save(tmp_path / "b.png")
    check(tmp_path / "b.png", [[1.0, 0.0, 0.8]])
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(tmp_path / "c.png", transparency=0)
    check(tmp_path / "c.png", [[1.0, 1.0]])


def test_exif_orientation_comes_before_the_crop(tmp_path: Path) -> None:
    image = gradient("L")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(np.asarray(image), -1) / 255
    check(tmp_path / "a.png", upright)
    check(tmp_path / "a.png", upright[1:4, 2:6], crop=[2, 1, 4, 3])


def test_size_resamples_after_the_crop(tmp_path: Path) -> None:
    blocks = np.kron(np.array([[0, 255], [255, 0]]), np.ones((20, 20))).astype(np.uint8)
    Image.fromarray(np.pad(blocks, 5, constant_values=90)).save(tmp_path / "a.png")
    matrix = read_matrix(tmp_path / "a.png", crop=(5, 5, 40, 40), size=[8, 12]).numpy()
    assert matrix.shape == (8, 12)
    assert matrix.min() >= 0
    assert matrix.max() <= 1
    assert matrix[[0, 0, 7, 7], [0, 11, 0, 11]] == pytest.approx([0, 1, 1, 0], abs=0.03)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"crop": [0, 0, 9, 6]}, r"inside the image of 8 x 6 pixels\. Found \[0, 0, 9, 6\]"),
        ({"crop": [-1, 0, 2, 2]}, r"inside the image of 8 x 6 pixels"),
        ({"crop": [0, 0, 0, 2]}, r"inside the image of 8 x 6 pixels"),
        ({"crop": [0, 0, 2]}, r"crop must be 4 integers \[left, top, width, height\]\. Found \[0, 0, 2\]"),
        ({"size": [2.5, 2]}, r"size must be 2 integers \[rows, cols\]\. Found \[2\.5, 2\]"),
        ({"size": [0, 2]}, r"m >= 1 and n >= 1\. Found shape \(0, 2\)"),
        ({"size": [10**6, 10**6]}, r"m \* n <= 268435456 entries"),
        ({"key": "x"}, r"key is for \.npz, \.safetensors, \.pt, \.zarr, \.h5, \.hdf5 files\. Found key 'x'"),
    ],
)
def test_image_options_are_checked(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    gradient("L").save(tmp_path / "a.png")
    refuse(tmp_path / "a.png", match, **options)


def test_image_options_are_for_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    refuse(tmp_path / "a.npy", r"crop and size are for \.png, .*Found crop None and size \[2, 2\]", size=[2, 2])


@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (10_000, 10_000), (40_000, 40_000), (2**31 - 1, 9)])
def test_a_huge_image_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    refuse(tmp_path / "a.png", rf"at most 67108864 pixels\. Found {width * height} pixels")


def test_damaged_images(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.effect_noise((64, 64), 50).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        refuse(tmp_path / name, "Cannot read")


def test_images_without_one_scale_or_page_are_refused(tmp_path: Path) -> None:
    Image.fromarray(A.astype(np.float32)).save(tmp_path / "a.tif")
    refuse(tmp_path / "a.tif", r"8 or 16 bits a channel\. Found 32 \(mode 'F'\)")
    gradient("L").save(tmp_path / "b.tif", save_all=True, append_images=[gradient("L")])
    refuse(tmp_path / "b.tif", r"must hold one image\. Found several pages")


def test_paths_that_are_no_readable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(tmp_path / "none.npy", r"the file must exist\. Found none", FileNotFoundError)
    (tmp_path / "folder.npy").mkdir()
    refuse(tmp_path / "folder.npy", r"must name a file\. Found a folder", IsADirectoryError)
    refuse(tmp_path / f"{'x' * 300}.npy", r"the path must be valid\. Found", OSError)
    refuse(tmp_path / "a\0.npy", r"no null character")
    refuse(tmp_path / "a\n\x1b[2J\u202e.npy", r"the file must exist", FileNotFoundError)
    os.mkfifo(tmp_path / "pipe.npy")
    refuse(tmp_path / "pipe.npy", r"must name a regular file\. Found a special one")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    np.save(tmp_path / "a.npy", A)
    # Modes do not bind root, who may be running these tests.
    monkeypatch.setattr(Path, "open", forbidden)
    refuse(tmp_path / "a.npy", r"must be readable\. Found no permission", PermissionError)


def test_strings_and_npz_with_foreign_members(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, A)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("A.npy", buffer.getvalue())
        archive.writestr("A", "a note")
    assert torch.equal(read_matrix(str(tmp_path / "a.npz")), torch.from_numpy(A))


@pytest.mark.parametrize(
    ("name", "kind", "law"),
    [
        ("a.jpg", "PNG", "must be a JPEG image, as its extension says. Found PNG."),
        ("a.TIF", "JPEG", "must be a TIFF image, as its extension says. Found JPEG."),
        ("a.png", "TIFF", "must be a PNG image, as its extension says. Found TIFF."),
    ],
)
def test_an_image_of_another_format_than_its_name_says(tmp_path: Path, name: str, kind: str, law: str) -> None:
    gradient("L").save(tmp_path / name, format=kind)
    refuse(tmp_path / name, law)


def test_a_list_of_pages_without_an_end(tmp_path: Path) -> None:
    gradient("L").save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[first : first + 2])
    end = first + 2 + 12 * count
    content[end : end + 4] = struct.pack("<I", first)
    (tmp_path / "a.tif").write_bytes(content)
    refuse(tmp_path / "a.tif", r"list of pages must end after one page\. Found a loop")


@pytest.mark.parametrize("filler", [b"\n", b"%\n", b"%", b"\0", b"0\n", b"0"])
def test_a_small_file_that_unpacks_to_much_takes_seconds(tmp_path: Path, filler: bytes) -> None:
    head = b"%%MatrixMarket matrix array real general\n5 5\n"
    (tmp_path / "a.mtx.gz").write_bytes(gzip.compress(head + filler * (3 * 10**7 // len(filler)), compresslevel=1))
    began = time.process_time()
    refuse(tmp_path / "a.mtx.gz", "Cannot read")
    assert time.process_time() - began < 10


def test_matrix_market_across_blocks(tmp_path: Path) -> None:
    lines = [f"{value:.17g}" for value in np.random.default_rng(2).standard_normal(90_000)]
    # Blocks of a megabyte end within lines; here the second one has a comment and an empty line.
    text = "\n".join(["%%MatrixMarket matrix array real general", "% note", "", "300 300", *lines[:60_000], "", "% x"])
    (tmp_path / "a.mtx").write_text("\n".join([text, *lines[60_000:]]))
    check(tmp_path / "a.mtx", np.array(lines, dtype=float).reshape(300, 300).T)
    for number, wrong in ((70_000, "1_0"), (70_000, "x"), (70_000, "1 2")):
        broken = [*lines]
        broken[number] = wrong
        (tmp_path / "a.mtx").write_text("\n".join([text.replace("\n\n% x", "", 1), "", "% x", *broken[60_000:]]))
        refuse(tmp_path / "a.mtx", rf"line {number + 7}\b")


def test_libraries_do_not_warn_beside_the_line(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    gradient("L").save(tmp_path / "a.tif")
    whole = (tmp_path / "a.tif").read_bytes()
    for part in range(1, 10):
        (tmp_path / "a.tif").write_bytes(whole[: len(whole) * part // 10])
        refuse(tmp_path / "a.tif", "Cannot read")
    torch.save(torch.from_numpy(A).to_sparse_csr(), tmp_path / "a.pt")
    check(tmp_path / "a.pt", A)
    assert not [warned for warned in recwarn if "beta" not in str(warned.message)]
