"""A dask array as an operator, and as data: what comes back is what one process computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import eckart
from eckart.data import dask_clients
from eckart.data.dask_array import DaskData
from eckart.linalg.conversion import as_operator
from eckart.linalg.dask_blocks import DaskBlocks

da: Any = pytest.importorskip("dask.array", reason='needs the extra dask: pip install "eckart[dask]"')

MATRIX = np.random.default_rng(0).standard_normal((23, 17))


@pytest.mark.parametrize("chunks", [(5, 4), (23, 17), (2, 17), (23, 1)])
def test_products_are_those_of_the_array(chunks: tuple[int, int]) -> None:
    operator = as_operator(da.from_array(MATRIX, chunks=chunks))
    assert isinstance(operator, DaskBlocks) and operator.shape == (23, 17) and operator.has_transpose()
    x, y = torch.randn(1, 3, 17, dtype=torch.float64), torch.randn(1, 3, 23, dtype=torch.float64)
    np.testing.assert_allclose(operator.images(x)[0], x[0].numpy() @ MATRIX.T, atol=1e-12)
    np.testing.assert_allclose(operator.transpose_images(y)[0], y[0].numpy() @ MATRIX, atol=1e-12)
    np.testing.assert_allclose(operator.gram_images(x)[0], x[0].numpy() @ MATRIX.T @ MATRIX, atol=1e-11)
    np.testing.assert_array_equal(operator.dense()[0], MATRIX)
    assert operator.images(x.float()).dtype == torch.float32


def test_a_product_is_summed_in_one_order_whoever_is_first() -> None:
    array = da.from_array(MATRIX, chunks=(2, 9))
    left, right = torch.randn(1, 23, 2, dtype=torch.float64), torch.randn(1, 2, 17, dtype=torch.float64)
    found = []
    import dask

    for scheduler, workers in (("synchronous", 1), ("threads", 2), ("threads", 7)):
        with dask.config.set(scheduler=scheduler, num_workers=workers):
            operator = DaskBlocks(array)
            found.append([operator.squares(), *operator.residual_products(left, right, operator.squares())])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_a_small_residual_keeps_its_digits() -> None:
    left, right = np.random.default_rng(1).standard_normal((23, 2)), np.random.default_rng(2).standard_normal((2, 17))
    rest = 1e-11 * MATRIX
    operator = DaskBlocks(da.from_array(left @ right + rest, chunks=(5, 4)))
    pair = torch.from_numpy(left)[None], torch.from_numpy(right)[None]
    squares, _, _ = operator.residual_products(*pair, operator.squares())
    # As a difference of ‖A‖² and ‖left @ right‖² it would be some eps of ‖A‖², a million times as much.
    assert float(squares.sqrt()) == pytest.approx(np.linalg.norm(rest), rel=1e-3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            lambda: da.ones(3),
            r"^A dask array must have two dimensions of known size, at least 1\. Found shape \(3,\)\.$",
        ),
        (lambda: da.ones((2, 2), dtype=complex), r"must be real NumPy arrays\. Found ndarray of complex128\.$"),
        (lambda: da.ones((4, 4))[da.ones(4) > 0], r"of known size, at least 1\. Found shape \(nan, 4\)\.$"),
    ],
    ids=["vector", "complex", "unknown"],
)
def test_what_is_no_real_matrix_is_refused_in_one_line(array: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DaskBlocks(array())


def test_an_entry_that_is_not_finite_is_refused() -> None:
    broken = MATRIX.copy()
    broken[7, 3] = np.inf
    with pytest.raises(ValueError, match=r"^The target must be finite, .* Found NaN or infinite entries\.$"):
        DaskBlocks(da.from_array(broken, chunks=(5, 17))).squares()


def test_a_fit_never_asks_for_the_array_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    array = da.from_array(MATRIX, chunks=(5, 17))
    monkeypatch.setattr(type(array), "__array__", lambda *arguments: pytest.fail("the array was asked for"))
    found = eckart.fit(array, 2)
    expected = eckart.fit(MATRIX, 2)
    product = expected.left @ expected.right
    torch.testing.assert_close(found.left @ found.right, product, rtol=0, atol=1e-10)


def write(path: Path) -> None:
    if path.suffix == ".npy":
        np.save(path, MATRIX)
    elif path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        zarr.create_array(str(path), shape=MATRIX.shape, chunks=(5, 9), dtype="f8")[:] = MATRIX
    elif path.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["target"] = MATRIX
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {f"c{place}": column for place, column in enumerate(MATRIX.T)}
        parquet.write_table(arrow.table(columns), path, row_group_size=5)


@pytest.mark.parametrize("extension", [".npy", ".zarr", ".h5", ".parquet"])
def test_a_file_is_opened_in_blocks(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"target{extension}"
    write(path)
    data = DaskData(path=str(path), workers=0)
    data.setup()
    np.testing.assert_array_equal(data.operator().dense()[0], MATRIX)
    assert data.supply("target").keys() == {"target"} and data.supply("images").keys() == {"operator"}
    with pytest.raises(ValueError, match=r"^method=completion needs a target with entries\. Found data=dask, "):
        data.supply("entries")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"^data=dask needs one of data\.path=PATH and data\.source=.* Found none\.$"),
        ({"path": "a.npy", "source": "b.c"}, r"^data=dask needs one of .* Found both\.$"),
        ({"path": "absent.npy"}, r"^Cannot read 'absent\.npy': the file must exist\. Found none\.$"),
        ({"path": "a.csv"}, r"^Cannot read 'a\.csv': .*Found '\.csv'\.$"),
        ({"source": "os.system"}, r"^data\.source must be .* ECKART_ALLOW lists\. Found 'os\.system'\.$"),
        ({"source": lambda: MATRIX}, r"must return a dask array\. Found numpy\.ndarray\.$"),
        ({"path": "a.npy", "workers": -1}, r"^workers must not be negative\. Found -1\.$"),
        ({"path": "a.npy", "workers": 1, "memory": 0.0}, r"^memory must be above 0, in GiB\. Found 0\.0\.$"),
        ({"path": "a.npy", "scheduler": "here"}, r"^scheduler must be the address of a scheduler, .* Found 'here'\.$"),
        (
            {"path": "a.npy", "scheduler": "tcp://127.0.0.1:9", "workers": 2},
            r"^scheduler names a cluster, .* Found workers=2 and memory=None\.$",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", MATRIX)
    settings = {"workers": 0, **settings} if "scheduler" not in settings else settings
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        DaskData(**settings).setup()
    assert "\n" not in str(raised.value)


def test_an_address_where_no_scheduler_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_clients, "_PATIENCE", 0.2)
    with pytest.raises(ValueError, match=r"^scheduler must be the address .* Found tcp://127\.0\.0\.1:9: \w+\.$"):
        dask_clients.client_of("tcp://127.0.0.1:9", None, None)
