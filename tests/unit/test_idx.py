"""Files in the idx format, and the data set that is read from them."""

import gzip
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eckart.data.files import limits
from eckart.data.files.idx import find_idx, read_idx
from eckart.data.samples import fashion_mnist

# The first images and labels of the format's own description: two bytes 0, the type 8, the dimensions, the sizes.
HEADER = {1: bytes([0, 0, 8, 1]), 3: bytes([0, 0, 8, 3])}


def content(values: Tensor) -> bytes:
    return HEADER[values.ndim] + struct.pack(f">{values.ndim}I", *values.shape) + bytes(values.flatten().tolist())


def images(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=generator)


def write_set(root: Path, compressed: bool, labels: int = 5) -> dict[str, Tensor]:
    """A data set of five and three images, in the layout of torchvision."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    parts = {
        "train-images-idx3-ubyte": images(5, seed=1),
        "train-labels-idx1-ubyte": torch.arange(labels, dtype=torch.uint8),
        "t10k-images-idx3-ubyte": images(3, seed=2),
        "t10k-labels-idx1-ubyte": torch.tensor([9, 0, 9], dtype=torch.uint8),
    }
    for name, values in parts.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content(values)))
        else:
            (folder / name).write_bytes(content(values))
    return parts


@pytest.mark.parametrize("compressed", [False, True])
def test_fashion_mnist_is_read_from_its_folder(compressed: bool, tmp_path: Path) -> None:
    parts = write_set(tmp_path, compressed)
    found = fashion_mnist(str(tmp_path))
    assert torch.equal(found.train_inputs, parts["train-images-idx3-ubyte"].flatten(1))
    assert torch.equal(found.test_inputs, parts["t10k-images-idx3-ubyte"].flatten(1))
    assert (found.train_labels.tolist(), found.test_labels.tolist()) == ([0, 1, 2, 3, 4], [9, 0, 9])
    assert (found.train_labels.dtype, found.largest, found.image) == (torch.int64, 255.0, (28, 28))


def test_a_label_for_each_image(tmp_path: Path) -> None:
    write_set(tmp_path, compressed=False, labels=4)
    with pytest.raises(ValueError, match=r"must have a label for each image\. Found 5 and 4\.$"):
        fashion_mnist(str(tmp_path))


def test_fashion_mnist_that_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets  # type: ignore[import-untyped, unused-ignore]

    def unreachable(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", unreachable)
    with pytest.raises(FileNotFoundError, match=rf"^Fashion-MNIST is not in root={tmp_path} .*dataset-fashion-mnist"):
        fashion_mnist(str(tmp_path))


WHOLE = HEADER[1] + struct.pack(">I", 3) + bytes([7, 8, 9])


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"", "must be an idx file of unsigned bytes in 1 dimensions."),
        (WHOLE[:5], "must be an idx file of unsigned bytes in 1 dimensions."),
        (HEADER[3] + WHOLE[4:], "must be an idx file of unsigned bytes in 1 dimensions."),
        (bytes([0, 0, 13, 1]) + WHOLE[4:], "must be an idx file of unsigned bytes in 1 dimensions."),
        (WHOLE[:-1], "must hold 3 numbers, as its sizes (3,) say. Found 2."),
        (WHOLE + b"0", "must hold 3 numbers, as its sizes (3,) say. Found more."),
        (
            HEADER[1] + struct.pack(">I", 2**32 - 1),
            f"must hold at most {limits.MAX_ENTRIES} numbers. Found sizes ({2**32 - 1},).",
        ),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files(stored: bytes, message: str, compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / f"labels{'.gz' * compressed}"
    path.write_bytes(gzip.compress(stored) if compressed else stored)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} {message}')}$"):
        read_idx(path, 1)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(WHOLE)[:-9])
    with pytest.raises(ValueError, match=rf"^{path} cannot be read: "):
        read_idx(path, 1)


def test_the_file_as_it_is_comes_before_the_compressed_one(tmp_path: Path) -> None:
    assert find_idx(tmp_path, "labels") is None
    (tmp_path / "labels.gz").touch()
    assert find_idx(tmp_path, "labels") == tmp_path / "labels.gz"
    (tmp_path / "labels").touch()
    assert find_idx(tmp_path, "labels") == tmp_path / "labels"
