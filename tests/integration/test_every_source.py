from pathlib import Path

import numpy as np
import pytest
from commandline import DOWNLOADED, MNIST, QUIET, Train, choices, has_downloaded
from omegaconf import OmegaConf

from eckart import config
from eckart.data.files import raw
from eckart.linalg.blocks import Blocked

SMALL_SIDES = {"rows": 14, "cols": 11, "rank": 3}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(name, marks=pytest.mark.mnist if name in DOWNLOADED else ())
        for name in choices("data")
        # Of ratings some entries are known, and no optimum.
        if name != "ratings"
    ],
)
def test_each_source_is_approximated_at_the_optimum(data: str, train: Train, tmp_path: Path) -> None:
    if data in DOWNLOADED and not has_downloaded(data):
        pytest.skip(f"It is a download: set {MNIST} to a folder that holds {DOWNLOADED[data]}/raw.")
    node = OmegaConf.to_container(OmegaConf.load(config.config_dir() / "data" / f"{data}.yaml"))
    assert isinstance(node, dict)
    sizes = [f"data.{key}={side}" for key, side in SMALL_SIDES.items() if isinstance(node.get(key), int)]
    if node.get("path") == "???":
        np.save(tmp_path / "target.npy", np.random.default_rng(0).standard_normal((7, 5)))
        sizes.append("data.path=target.npy")
    if data == "dask":
        # In threads of this process, and not in new ones.
        np.save(tmp_path / "target.npy", np.random.default_rng(0).standard_normal((7, 5)))
        sizes += ["data.path=target.npy", "data.workers=0"]
    if node.get("source") == "???":
        # The operator is a callable of the package, with arguments of its own.
        arguments = ("rows=7", "cols=5", "seed=0")
        sizes += ["data.source=eckart.data.targets.gaussian", *(f"+data.arguments.{each}" for each in arguments)]
    ended = train("method=svd", f"data={data}", "rank=2", *sizes, *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    result = ended.result
    assert (result["status"], result["data"], result["numerical_rank"]) == ("completed", data, 2)
    assert 0 <= result["relative_frobenius"] <= 1
    assert abs(result["excess_frobenius"]) < 1e-9 and abs(result["excess_2norm"]) < 1e-9


@pytest.mark.parametrize("scale", ["1e-100", "-1e100"])
def test_scale_changes_no_relative_error(scale: str, train: Train) -> None:
    plain, scaled = (
        train("method=factorization", "data=lab", "rank=1", *arguments, *QUIET).result
        for arguments in ((), (f"data.scale={scale}",))
    )
    assert scaled["relative_frobenius"] == pytest.approx(plain["relative_frobenius"], rel=1e-9)
    assert scaled["excess_frobenius"] < 1e-9


def test_seed_draws_data_and_start(train: Train) -> None:
    arguments = ("method=factorization", "data=uniform", "data.rows=8", "data.cols=8", "rank=1", *QUIET)
    first, again, other, same_data = (
        train(*arguments, *seeds).result for seeds in (("seed=1",), ("seed=1",), ("seed=2",), ("seed=2", "data.seed=1"))
    )
    assert (first["loss"], first["steps"]) == (again["loss"], again["steps"])
    assert other["optimum_2norm"] != first["optimum_2norm"]
    assert same_data["optimum_2norm"] == first["optimum_2norm"]
    assert same_data["loss"] == pytest.approx(first["loss"], rel=1e-9)


@pytest.mark.parametrize("method", ["svd", "factorization", "bottleneck", "factorized_linear"])
def test_methods_reach_the_optimum_of_a_file_that_is_read_in_blocks(
    method: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blocked, "dense", None)
    # Blocks of 8 rows.
    monkeypatch.setattr(raw, "BLOCK", 8 * 11 * 8)
    np.save(tmp_path / "target.npy", np.random.default_rng(0).standard_normal((30, 11)))
    ended = train(f"method={method}", "data=file", "data.path=target.npy", "data.blocks=true", "rank=2", *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.result["status"] == "completed"
    # An error is the root of a difference of squares.
    assert abs(ended.result["excess_frobenius"]) < 1e-7
