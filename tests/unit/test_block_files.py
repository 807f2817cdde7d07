"""Files that are read in blocks: every format gives the numbers that were written, and foreign ones are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eckart.data.files import chunked, limits, raw
from eckart.data.files import parquet as parquet_files
from eckart.data.files.reading import open_matrix, read_matrix
from eckart.linalg.blocks import Blocked

zarr = pytest.importorskip("zarr", reason="the extra files is not installed")
h5py = pytest.importorskip("h5py", reason="the extra files is not installed")
arrow = pytest.importorskip("pyarrow", reason="the extra files is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="the extra files is not installed")

TALL = np.random.default_rng(0).standard_normal((53, 7)).astype(np.float32)


def zarr_of(version: int) -> Callable[[Path, Any], Path]:
    def save(folder: Path, array: Any) -> Path:
        path = folder / "a.zarr"
        zarr.create_array(str(path), data=np.ascontiguousarray(array), chunks=(8, 3), zarr_format=version)
        return path

    return save


def npy(order: str) -> Callable[[Path, Any], Path]:
    def save(folder: Path, array: Any) -> Path:
        np.save(folder / "a.npy", np.asarray(array, order=order))  # type: ignore[call-overload]
        return folder / "a.npy"

    return save


def hdf5(folder: Path, array: Any) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("inner/a", data=array, chunks=(6, 3), compression="gzip")
        file["other"] = np.zeros(3)
    return folder / "a.h5"


def table(folder: Path, array: Any) -> Path:
    columns = {str(place): np.ascontiguousarray(column) for place, column in enumerate(np.asarray(array).T)}
    parquet.write_table(arrow.table(columns), folder / "a.parquet", row_group_size=10)
    return folder / "a.parquet"


def tensors(folder: Path, array: Any) -> Path:
    save_file({"b": torch.zeros(3), "a": torch.from_numpy(np.ascontiguousarray(array))}, folder / "a.safetensors")
    return folder / "a.safetensors"


SAVERS = {"npy": npy("C"), "fortran": npy("F"), "zarr2": zarr_of(2), "zarr3": zarr_of(3)}
SAVERS |= {"hdf5": hdf5, "parquet": table, "safetensors": tensors}


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
@pytest.mark.parametrize("wide", [False, True])
def test_blocks_are_what_was_written(
    save: Callable[[Path, Any], Path], wide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BLOCK", 300)
    monkeypatch.setattr(chunked, "BLOCK", 300)
    monkeypatch.setattr(parquet_files, "BLOCK", 300)
    monkeypatch.setattr(raw, "_PIECE", 40)
    array = TALL.T if wide else TALL
    path = save(tmp_path, array)
    operator = open_matrix(path, blocks=True)
    assert isinstance(operator, Blocked) and operator.shape == array.shape
    assert operator.tall.height < max(operator.tall.shape)
    np.testing.assert_array_equal(operator.dense()[0].numpy(), array)
    # The second pass begins at the first row again.
    np.testing.assert_array_equal(operator.dense()[0].numpy(), array)
    np.testing.assert_array_equal(read_matrix(path).numpy(), array)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "int64", "float16", ">f8", ">i2", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_real_type_is_read_exactly(dtype: str, order: str, tmp_path: Path) -> None:
    array = (TALL * 9).astype(dtype)
    operator = open_matrix(npy(order)(tmp_path, array), blocks=True)
    assert isinstance(operator, Blocked)
    np.testing.assert_array_equal(operator.dense()[0].numpy(), array.astype(np.float64))


def test_bfloat16(tmp_path: Path) -> None:
    held = torch.from_numpy(TALL).bfloat16()
    save_file({"a": held}, tmp_path / "a.safetensors")
    operator = open_matrix(tmp_path / "a.safetensors", blocks=True)
    assert isinstance(operator, Blocked)
    assert torch.equal(operator.dense()[0], held.double())


def test_a_matrix_beyond_the_limit_is_read_in_blocks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npy("C")(tmp_path, TALL)
    assert isinstance(open_matrix(path), torch.Tensor)
    monkeypatch.setattr(limits, "MAX_ENTRIES", 370)
    assert isinstance(open_matrix(path), Blocked)
    with pytest.raises(ValueError, match=r"must have m \* n <= 370 entries"):
        open_matrix(path, blocks=False)


def refuse(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        open_matrix(path, blocks=True, **options)
    assert str(caught.value).isprintable() and repr(str(path)) in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "a.csv"])
def test_blocks_is_a_truth_value(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^blocks must be true, false or null\. Found 'maybe'\.$"):
        open_matrix(tmp_path / name, blocks="maybe")  # type: ignore[arg-type]


def test_truncated_and_foreign_arrays_are_refused(tmp_path: Path) -> None:
    path = npy("C")(tmp_path, TALL)
    path.write_bytes(path.read_bytes()[:-1])
    refuse(path, "truncated")
    np.save(path, np.array([[object()]]), allow_pickle=True)
    refuse(path, "must hold real numbers. Found dtype object")
    (tmp_path / "a.csv").write_text("1,2")
    refuse(tmp_path / "a.csv", r"blocks=true is for \.npy, \.safetensors, \.zarr, \.h5, \.hdf5, \.parquet")
    parquet.write_table(arrow.table({"x": ["text"]}), tmp_path / "a.parquet")
    refuse(tmp_path / "a.parquet", r"must hold real numbers\. Found column 'x' of type string")
    refuse(npy("C")(tmp_path, TALL), "key is for", key="a")


def test_hdf5_leads_to_no_other_file(tmp_path: Path) -> None:
    hdf5(tmp_path, TALL)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["out"] = h5py.ExternalLink("a.h5", "inner/a")
        file["soft"] = h5py.SoftLink("/out")
    refuse(tmp_path / "b.h5", "must hold a 2-D array. Found no arrays")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        layout = h5py.VirtualLayout(shape=TALL.shape, dtype="f4")
        layout[:] = h5py.VirtualSource("a.h5", "inner/a", shape=TALL.shape)
        file.create_virtual_dataset("virtual", layout)
    refuse(tmp_path / "b.h5", "must stand in the file itself")
    (tmp_path / "numbers").write_bytes(TALL.tobytes())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        outside = [(str(tmp_path / "numbers"), 0, TALL.nbytes)]
        file.create_dataset("external", shape=TALL.shape, dtype="f4", external=outside)
    refuse(tmp_path / "b.h5", "must stand in the file itself")


def test_zarr_runs_no_code_and_leads_nowhere(tmp_path: Path) -> None:
    path = zarr_of(2)(tmp_path, TALL)
    metadata = path / ".zarray"
    kept = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(kept | {"filters": [{"id": "pickle", "protocol": 4}]}))
    refuse(path, "chunks must be encoded by .* Found 'pickle'")
    metadata.write_text(json.dumps(kept | {"shape": [10**7, 10**6]}))
    refuse(path, "must unpack to at most 200 times its size on disk")
    metadata.write_text(json.dumps(kept))
    assert isinstance(open_matrix(path, blocks=True), Blocked)
    (path / "0.9").symlink_to(tmp_path)
    refuse(path, "Found a link or a special file, '0.9'")


def test_a_value_that_a_table_does_not_have_is_missing(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"a": [1, None], "b": [2.5, 3.5]}), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.parquet").numpy(), [[1, 2.5], [np.nan, 3.5]])
