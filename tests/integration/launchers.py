"""One sweep with the stacked launcher and with Hydra's basic launcher, and comparisons of their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import Ended, Train, history, result
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from safetensors.numpy import load_file

# These may differ: times, and names that contain a time.
OWN = {"fit_seconds", "total_seconds", "wandb_run", "_runtime", "_timestamp", "_wandb", "_wandb/runtime"}


class Sweeps:
    """One sweep with both launchers: how each ended, and the folders of its jobs."""

    def __init__(self, train: Train, *arguments: str) -> None:
        self.ended: dict[str, Ended] = {}
        self.folders: dict[str, Path] = {}
        for launcher in ("stacked", "basic"):
            self.ended[launcher] = train("-m", *arguments, f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
            self.folders[launcher] = Path("sweep").rename(launcher).absolute()
        self.jobs = sorted(path.parent.name for path in self.folders["basic"].glob("*/result.json"))

    def each(self, name: str) -> tuple[Path, Path]:
        return self.folders["stacked"] / name, self.folders["basic"] / name

    def check(self, tolerance: float) -> None:
        """Compare all files of each job with those of the other launcher."""
        stacked, basic = (files(folder) for folder in self.folders.values())
        assert stacked == basic
        for name in self.jobs:
            found, expected = self.each(name)
            check_figures(result(found), result(expected), tolerance)
            check_composed(found / ".hydra", expected / ".hydra")
            if (expected / "history.csv").is_file():
                rows = [history(folder) for folder in (found, expected)]
                assert [list(row) for row in rows[0]] == [list(row) for row in rows[1]]
                for row, expected_row in zip(*map(numbers, rows), strict=True):
                    check_figures(row, expected_row, tolerance)
            if (expected / "factors.safetensors").is_file():
                factors = [load_file(folder / "factors.safetensors") for folder in (found, expected)]
                shapes = [{side: factor.shape for side, factor in pair.items()} for pair in factors]
                assert shapes[0] == shapes[1]
                product, expected_product = (pair["left"] @ pair["right"] for pair in factors)
                assert np.linalg.norm(product - expected_product) <= tolerance * np.linalg.norm(expected_product)


def files(folder: Path) -> set[str]:
    """All files below a folder except W&B's, whose names contain the time."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {path for path in paths if not path.startswith("wandb/")}


def timeless(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are equal in two runs of the same job."""
    return {name: value for name, value in figures.items() if name not in OWN}


def numbers(rows: list[dict[str, str]]) -> list[dict[str, float | None]]:
    return [{name: float(value) if value else None for name, value in row.items()} for row in rows]


def check_figures(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> None:
    """Compare fields by name, and numbers to a relative tolerance."""
    assert found.keys() == expected.keys()
    for name, value in timeless(expected).items():
        if isinstance(value, float):
            # An excess is as accurate as the error that it is a part of.
            error = expected.get(name.replace("excess", "relative")) or 0.0
            assert found[name] == pytest.approx(value, rel=tolerance, abs=tolerance * error, nan_ok=True), name
        else:
            assert found[name] == value, name


def check_composed(found: Path, expected: Path) -> None:
    """Compare the files that Hydra has written for a job."""
    for name in ("config.yaml", "overrides.yaml"):
        assert (found / name).read_text() == (expected / name).read_text()
    assert apart_from_the_launcher(OmegaConf.load(found / "hydra.yaml")) == apart_from_the_launcher(
        OmegaConf.load(expected / "hydra.yaml")
    )


def check_returned(found: list[JobReturn], expected: list[JobReturn], tolerance: float) -> None:
    """Compare what the two launchers return to the sweeper."""
    for number, (job, other) in enumerate(zip(found, expected, strict=True)):
        assert isinstance(job.cfg, DictConfig) and isinstance(other.cfg, DictConfig)
        assert job.overrides == other.overrides
        assert job.cfg == other.cfg and OmegaConf.to_yaml(job.cfg) == OmegaConf.to_yaml(other.cfg)
        assert OmegaConf.is_struct(job.cfg) and not OmegaConf.is_readonly(job.cfg)
        assert (job.working_dir, job.task_name) == (other.working_dir, other.task_name)
        assert job.status == other.status == JobStatus.COMPLETED
        if other.return_value is None:
            assert job.return_value is None
        else:
            assert job.return_value == pytest.approx(other.return_value, rel=tolerance)
        assert isinstance(job.hydra_cfg, DictConfig) and isinstance(other.hydra_cfg, DictConfig)
        assert job.hydra_cfg.hydra.job.num == number
        assert apart_from_the_launcher(job.hydra_cfg) == apart_from_the_launcher(other.hydra_cfg)


def apart_from_the_launcher(config: Any) -> str:
    copied = OmegaConf.create(OmegaConf.to_container(config))
    node = copied.hydra
    node.overrides.hydra.remove(f"hydra/launcher={node.runtime.choices['hydra/launcher']}")
    del node.launcher, node.runtime.choices["hydra/launcher"]
    return OmegaConf.to_yaml(copied)
