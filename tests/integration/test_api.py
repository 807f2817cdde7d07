"""The functions of the package against the command line: the same numbers, folders and errors."""

import functools
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import QUIET, Train, history
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from safetensors.torch import load_file

import eckart
from eckart import config
from eckart.api.choosing import matrix_methods

TIMES = {"fit_seconds", "total_seconds"}
IDENTITY = {"data", "config", "fingerprint", "versions"}
CASES: list[tuple[list[str], dict[str, Any]]] = [
    *(([f"method={name}"], {"method": name}) for name in matrix_methods() if name != "completion"),
    (
        ["method=completion", "data.observed=0.7", "method.max_steps=40"],
        {"method": "completion", "observed": 0.7, "max_steps": 40},
    ),
    (["method.vectors=6", "method.transpose=true"], {"vectors": 6, "transpose": True}),
    (["method.probes=uniform", "method.vectors=40"], {"probes": "uniform", "vectors": 40}),
    (["method.stop=excess", "method.tolerance=1e-6"], {"stop": "excess", "tolerance": 1e-6}),
    (["optimizer=als", "trainer.precision=32-true"], {"optimizer": "als", "dtype": torch.float32}),
    (
        ["optimizer=adam", "optimizer.lr=0.01", "schedule=cosine", "method.max_steps=30", "method.hidden=[]"],
        {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "max_steps": 30, "hidden": []},
    ),
    (
        ["method=factorization", "optimizer=lbfgs", "method.max_steps=4"],
        {"method": "factorization", "optimizer": "lbfgs", "max_steps": np.int64(4)},
    ),
    (
        ["method=factorization", "optimizer=sgd", "optimizer.lr=0.1", "method.max_steps=9", "method.record_every=2"],
        {
            "method": "factorization",
            "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
            "max_steps": 9,
            "record_every": 2,
        },
    ),
]


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.npy"
    np.save(path, np.random.default_rng(5).standard_normal((14, 11)))
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(case[0]))
@pytest.mark.processes
def test_a_fit_has_the_numbers_of_the_command_line_to_the_last_bit(
    case: tuple[list[str], dict[str, Any]], matrix: Path, train: Train
) -> None:
    overrides, options = case
    ended = train(*overrides, "data=file", f"data.path={matrix}", "rank=3", "seed=4", "logger=csv", "figures=false")
    assert ended.code == 0, ended.stderr
    result = eckart.fit(np.load(matrix), rank=3, seed=4, **options)

    for name, factor in load_file(ended.folder / "factors.safetensors").items():
        assert torch.equal(factor, getattr(result, name)), name
    assert result.fields.keys() == ended.result.keys()
    for name in ended.result.keys() - TIMES - IDENTITY:
        value = ended.result[name]
        # In Python the options are in no group.
        assert result.fields[name] == (value.replace("method.", "") if name == "stop_reason" else value), name
    rows = history(ended.folder)
    assert result.history.keys() == rows[0].keys()
    assert result.history == {
        name: pytest.approx([float(row[name]) for row in rows], rel=0, nan_ok=True) for name in rows[0]
    }


def test_a_run_has_the_result_of_the_command_line(
    matrix: Path, train: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides = ["method=factorization", "data=file", f"data.path={matrix}", "rank=2", *QUIET]
    ended = train(*overrides)
    result = eckart.run(overrides)
    assert isinstance(result, eckart.Result)
    assert capfd.readouterr().out == ""
    assert result.folder != ended.folder
    assert {name: result.fields[name] for name in result.fields.keys() - TIMES} == {
        name: ended.result[name] for name in ended.result.keys() - TIMES
    }
    assert torch.equal(result.left, load_file(ended.folder / "factors.safetensors")["left"])
    assert result.history == {}
    assert repr(eckart.run(overrides, verbose=True)) == capfd.readouterr().out.rstrip("\n")


def test_a_run_leaves_the_process_as_it_was(matrix: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)
    before = sys.argv, logging.getLogger().handlers[:], logging.getLogger().level, warnings.formatwarning
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        mine, node = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        eckart.run(["method=svd", "data=file", f"data.path={matrix}", "rank=2", *QUIET])
        assert GlobalHydra.instance().hydra is mine
        assert HydraConfig.instance().cfg is node
        config.register()
        assert compose("train", ["rank=7"]).rank == 7
    assert (sys.argv, logging.getLogger().handlers[:], logging.getLogger().level, warnings.formatwarning) == before
    logging.getLogger().removeHandler(handler)


def test_a_sweep_gives_a_list_and_a_failed_job_has_its_error(train: Train) -> None:
    overrides = ["-m", "method=svd", "data=lab", "rank=1,9", *QUIET]
    with pytest.warns(UserWarning, match="1 of 2 jobs failed"):
        results = eckart.run(overrides)
    assert isinstance(results, list)
    good, bad = results
    assert (good.fields["rank"], good.fields["status"], bad.fields["status"]) == (1, "completed", "failed")
    assert good.approximation().shape == (3, 3)
    assert "rank must satisfy" in repr(bad)
    assert "rank must satisfy" in bad._repr_html_()
    with pytest.raises(ValueError, match=r"There are no factors: The rank must satisfy .* Found 9\.\.?$"):
        _ = bad.left


def test_a_run_that_fails_raises_its_line(train: Train) -> None:
    for overrides, line in (
        (["method=svd", "data=lab", "rank=9", *QUIET], "The rank must satisfy 1 <= rank <= min(m, n) = 3. Found 9."),
        (["method=botleneck"], "Unknown choice method=botleneck. Did you mean bottleneck?"),
    ):
        with pytest.raises(RuntimeError) as raised:
            eckart.run(overrides)
        assert str(raised.value) == line
    with pytest.raises(ValueError, match=r"-m for a sweep\. Found --cfg\."):
        eckart.run(["--cfg", "job"])


def test_a_run_in_a_thread(train: Train) -> None:
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(eckart.run(["method=svd", "data=lab", "rank=1", *QUIET])), daemon=True
    )
    thread.start()
    thread.join(60)
    assert found[0].fields["status"] == "completed"


def test_the_picture_of_a_run_is_its_file(train: Train) -> None:
    result = eckart.run(["method=svd", "data=lab", "rank=1", "logger=none"])
    assert isinstance(result, eckart.Result)
    assert result.folder is not None
    assert result.picture() == (result.folder / "figures" / "approximation.png").read_bytes()
