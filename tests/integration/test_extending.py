"""docs/extending.md: its files are written and its commands typed as they stand in the page."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from commandline import result
from safetensors.numpy import load_file

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.findall(
    r"^[^\n]*`([\w/]+\.(?:py|yaml))`[^\n]*:\n\n```(?:python|yaml)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)
COMMANDS = re.findall(r"^```\n((?:export|eckart) .*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
HILBERT = 1 / (np.add.outer(np.arange(40), np.arange(40)) + 1.0)

Ran = Callable[[str], list[tuple[dict[str, Any], npt.NDArray[np.float64]]]]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Type the command of the page that has a word in it; the results of its jobs, and their approximations."""
    for name, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    first = COMMANDS[0].splitlines()[0]

    def run(word: str) -> list[tuple[dict[str, Any], npt.NDArray[np.float64]]]:
        (command,) = (command for command in COMMANDS if word in command)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        typed = command if command.startswith(first) else f"{first}\n{command}"
        done = subprocess.run(
            ["bash", "-ec", typed], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        folders = sorted(path.parent for path in tmp_path.rglob("result.json"))
        factors = [load_file(folder / "factors.safetensors") for folder in folders]
        return [(result(folder), own["left"] @ own["right"]) for folder, own in zip(folders, factors, strict=True)]

    return run


def test_the_page_has_every_file_that_it_lists() -> None:
    listed = next(line for line in PAGE.splitlines() if line.startswith("    robust.py"))
    assert {name for name, _ in FILES} == set(listed.split())
    assert len(COMMANDS) == 3


@pytest.mark.processes
def test_a_method_and_a_target_of_ones_own(ran: Ran) -> None:
    ((found, approximation),) = ran("method=robust")
    assert (found["status"], found["method"], found["data"], found["shape"]) == (
        "completed",
        "robust",
        "hilbert",
        [40, 40],
    )
    residual = HILBERT - approximation
    assert found["relative_frobenius"] == pytest.approx(np.linalg.norm(residual) / np.linalg.norm(HILBERT), rel=1e-9)
    spectrum = np.linalg.svd(HILBERT, compute_uv=False)
    best = np.linalg.norm(spectrum[3:]) / np.linalg.norm(spectrum)
    assert best <= found["relative_frobenius"] < 10 * best
    assert found["config"]["optimizer"]["_target_"] == "torch.optim.Adam"


@pytest.mark.processes
def test_an_operator_of_ones_own(ran: Ran) -> None:
    ((found, approximation),) = ran("shapes.smoothing")
    target = np.cumsum(np.cumsum(np.eye(60), axis=0), axis=0)
    assert (found["images"], found["transpose_images"]) == (20, 20)
    spectrum = np.linalg.svd(target, compute_uv=False)
    best = np.linalg.norm(spectrum[3:])
    assert best - 1e-9 * spectrum[0] <= np.linalg.norm(target - approximation) <= 1.01 * best


@pytest.mark.processes
def test_a_third_kind_of_method_needs_no_edit_elsewhere(ran: Ran) -> None:
    jobs = {(found["method"], found["rank"]): (found, w) for found, w in ran("method=clusters")}
    assert jobs.keys() == {("clusters", 2), ("clusters", 10), ("svd", 2), ("svd", 10)}
    for rank in (2, 10):
        found, approximation = jobs["clusters", rank]
        assert found["status"] == "completed" and len(np.unique(approximation.round(9), axis=0)) == rank
        # No matrix of the rank is better than truncated SVD, and one cluster is worse than many.
        assert jobs["svd", rank][0]["relative_frobenius"] < found["relative_frobenius"]
    assert jobs["clusters", 10][0]["relative_frobenius"] < jobs["clusters", 2][0]["relative_frobenius"]
