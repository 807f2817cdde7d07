import copy
import functools
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from eckart import config
from eckart.data.matrix import MatrixData, bound
from eckart.data.samples import SampleData

CONFIGS = sorted(path.stem for path in (config.config_dir() / "data").glob("[!_]*.yaml"))
SMALL = {"rows": 12, "cols": 9, "rank": 3, "oversampling": 1.5}
LAB_MASK = [[1, 1, 1], [0, 1, 1], [1, 0, 1]]


@functools.cache
def root(name: str) -> Any:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return compose("train", overrides=[f"data={name}"])


def composed(name: str, **options: Any) -> Any:
    # Interpolations are resolved from the root, so it is the root that is copied.
    node = copy.deepcopy(root(name)).data
    for key, value in options.items():
        node[key] = value
    return node


def small(name: str, folder: Path, **options: Any) -> MatrixData:
    node = composed(name, **options)
    for key in SMALL.keys() & node.keys():
        # A config that reads one side from the other keeps to it.
        if not OmegaConf.is_interpolation(node, key):
            node[key] = SMALL[key]
    if "path" in node.keys():  # noqa: SIM118 (a value that is missing is a key, but not "in" the config)
        np.save(folder / "matrix.npy", np.arange(12.0).reshape(4, 3))
        node.path = str(folder / "matrix.npy")
    if name == "operator":
        node.source, node.arguments = "eckart.data.targets.identity", {"rows": 5, "cols": 5}
    if name == "dask":
        # In threads of this process, and not in new ones.
        node.workers = 0
    data: MatrixData = instantiate(node)
    data.prepare_data()
    data.setup()
    return data


def matrix_data(target: torch.Tensor, **options: Any) -> MatrixData:
    data = MatrixData(lambda: target, **options)
    data.setup()
    return data


def mask_of(data: MatrixData) -> torch.Tensor:
    return ~data.supply("entries")["entries"].dense().isnan()


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "ratings"])
def test_data_of_the_configs(name: str, tmp_path: Path) -> None:
    downloaded = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}.get(name)
    if downloaded and not any(Path(os.environ.get("ECKART_DATA", ""), downloaded, "raw").glob("train-images*")):
        pytest.skip(f"It is a download: set ECKART_DATA to a folder that holds {downloaded}/raw.")
    first = small(name, tmp_path)
    if name == "operator":
        assert first.operator().shape == (5, 5)
        assert first.supply("images")["operator"] is first.supply("target")["target"] is first.operator()
        with pytest.raises(ValueError, match=r"needs a target with entries\. Found data=operator"):
            first.supply("entries")
        return
    if name == "dask":
        assert first.operator().shape == (4, 3)
        return
    target = first.supply("target")["target"].dense()[0]
    assert target.dtype == torch.float64
    assert target.ndim == 2
    assert target.isfinite().all()
    assert (target != 0).any()
    if not isinstance(first, SampleData):
        assert max(target.shape) <= 12
    if target.numel() > 1_000_000:
        return  # large: once is enough
    again, other = small(name, tmp_path), small(name, tmp_path, seed=1)
    assert torch.equal(again.supply("target")["target"].dense()[0], target)
    mask, anew, differs = (mask_of(data) for data in (first, again, other))
    assert mask.shape == target.shape
    assert torch.equal(mask, anew)
    if name != "lab":
        assert not torch.equal(mask, differs)


@pytest.mark.parametrize("name", [name for name in CONFIGS if "scale" in root(name).data])
def test_target_scales(name: str, tmp_path: Path) -> None:
    expected = -2.0 * small(name, tmp_path).target.numpy()
    np.testing.assert_array_equal(small(name, tmp_path, scale=-2.0).target, expected)


def test_file_is_read_with_its_options(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    data = instantiate(composed("file", path=f"{tmp_path}/image.png", crop=[1, 2, 4, 3]))
    data.setup()
    expected = pixels[2:5, 1:5].astype(float)
    found = data.target.numpy()
    np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-12)


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.5, 0.73, 1.0])
def test_fraction_of_the_entries_is_observed(fraction: float) -> None:
    data = matrix_data(torch.ones(20, 15), observed=fraction)
    assert int(mask_of(data).sum()) == max(1, round(fraction * 300))
    assert torch.equal(mask_of(data), mask_of(matrix_data(torch.zeros(20, 15), observed=fraction)))


def test_observed_entries_have_no_preferred_place() -> None:
    counts = sum(mask_of(matrix_data(torch.ones(5, 4), observed=0.3, seed=seed)).double() for seed in range(2000))
    np.testing.assert_allclose(counts / 2000, np.full((5, 4), 0.3), atol=5 * np.sqrt(0.3 * 0.7 / 2000))


def test_half_is_observed_where_nothing_is_said() -> None:
    assert int(mask_of(matrix_data(torch.ones(20, 15))).sum()) == 150


def test_mask_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mask.csv").write_text("1,0,2\n0,0,-1\n")
    data = matrix_data(torch.ones(2, 3), observed=str(tmp_path / "mask.csv"), own_mask=[[1, 1, 1], [1, 1, 1]])
    assert mask_of(data).tolist() == [[True, False, True], [False, False, True]]


HOLES = torch.tensor([[1.0, torch.nan, 3.0], [torch.nan, 5.0, 6.0]])


def test_of_a_target_with_missing_entries_all_others_are_observed() -> None:
    data = matrix_data(HOLES)
    assert data.has_missing and torch.equal(mask_of(data), ~HOLES.isnan()) and len(data.held_out()) == 0
    assert not matrix_data(torch.ones(2, 3)).has_missing


def test_a_fraction_is_drawn_among_the_entries_that_are_there() -> None:
    data = matrix_data(HOLES, observed=0.5)
    assert len(data.supply("entries")["entries"]) == 2 and len(data.held_out()) == 2
    both = mask_of(data) | ~data.held_out().dense().isnan()
    assert torch.equal(both, ~HOLES.isnan())


def test_a_mask_chooses_among_the_entries_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "mask.csv").write_text("1,1,0\n0,0,1\n")
    data = matrix_data(HOLES, observed=str(tmp_path / "mask.csv"))
    assert mask_of(data).tolist() == [[True, False, False], [False, False, True]]
    assert data.held_out().value.tolist() == [3.0, 5.0]
    (tmp_path / "mask.csv").write_text("1,,0\n0,0,1\n")
    with pytest.raises(ValueError, match=r"^A mask must have no missing entry\. Found 1 NaN in"):
        matrix_data(HOLES, observed=str(tmp_path / "mask.csv")).supply("entries")


@pytest.mark.parametrize("needs", ["target", "images"])
def test_missing_entries_are_for_completion(needs: str) -> None:
    law = "Cannot read the target: every entry must be finite. Found 2 NaN, the first in row 1, column 2"
    with pytest.raises(ValueError, match=f"^{re.escape(law)} .*; method=completion takes them as missing"):
        matrix_data(HOLES).supply(needs)


def test_mask_of_the_lab() -> None:
    lab = instantiate(composed("lab"))
    lab.setup()
    assert mask_of(lab).tolist() == np.array(LAB_MASK, dtype=bool).tolist()
    drawn = instantiate(composed("lab", observed=1.0))
    drawn.setup()
    assert mask_of(drawn).all()


def test_a_method_is_given_what_it_may_see_and_nothing_else() -> None:
    data = matrix_data(torch.ones(4, 3), observed=0.5)
    assert set(data.supply("target")) == {"target"}
    assert set(data.supply("images")) == {"operator"}
    seen = data.supply("entries")
    assert set(seen) == {"entries"}
    matrix = seen["entries"].dense()
    assert torch.equal(matrix.isnan(), ~data.mask())
    assert torch.equal(matrix.nan_to_num(0), data.mask().float())
    assert torch.equal(data.operator().dense()[0], data.target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observed": 0.0}, "data.observed must be a fraction in (0, 1], or a mask file. Found 0.0."),
        ({"observed": 1.5}, "data.observed must be a fraction in (0, 1], or a mask file. Found 1.5."),
        ({"observed": -0.1}, "data.observed must be a fraction in (0, 1], or a mask file. Found -0.1."),
        ({"observed": float("nan")}, "data.observed must be a fraction in (0, 1], or a mask file. Found nan."),
        ({"own_mask": [[1, 0], [0, 1]]}, "The mask must have the shape of the target, 4×3. Found 2×2."),
        ({"scale": 0.0}, "data.scale must be finite and not 0. Found 0.0."),
    ],
)
def test_errors_state_the_law_and_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        matrix_data(torch.ones(4, 3), **options).supply("entries")


def test_mask_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"^The mask must have the shape of the target, 4×3\. Found 3×4\.$"):
        matrix_data(torch.ones(4, 3), observed=str(tmp_path / "mask.npy")).supply("entries")


def test_mask_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        matrix_data(torch.ones(4, 3), observed=str(tmp_path / "none.npy")).supply("entries")


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("operator", "dask", "ratings")])
def test_each_parameter_of_the_data_is_stated_once(name: str) -> None:
    node = composed(name)
    assert set(node.source) == {"_target_", "_partial_"}
    values = OmegaConf.to_container(OmegaConf.load(config.config_dir() / "data" / f"{name}.yaml"))
    assert "${data." not in str(values).replace("'cols': '${data.rows}'", "")


def test_a_source_takes_its_parameters_and_the_seed_if_it_has_one() -> None:
    def drawn(rows: int, seed: int) -> tuple[int, int]:
        return rows, seed

    def made(rows: int = 4) -> int:
        return rows

    def any_of(**parameters: int) -> dict[str, int]:
        return parameters

    assert bound(drawn, 7, {"rows": 3})() == (3, 7)
    assert bound(made, 7, {})() == 4
    assert bound(functools.partial(drawn, rows=2), 7, {})() == (2, 7)
    assert bound(any_of, 7, {"rows": 3})() == {"rows": 3}


def test_a_parameter_that_the_source_does_not_have_is_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^data\.cols must be a parameter of the source, which has rows, seed\. Found cols\.$"
    ):
        bound(lambda rows, seed: None, 0, {"rows": 3, "cols": 2})
    with pytest.raises(ValueError, match=r"which has none\. Found rows\.$"):
        MatrixData(lambda: torch.ones(1, 1), rows=3)
