"""What only a process of its own can show: imports, exit status, standard error, folders of simultaneous runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import QUIET, choices, result

from eckart import config

TRAIN = Path(__file__).parents[2] / "train.py"


def start(folder: Path, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
    return subprocess.Popen(
        [sys.executable, *flags, str(TRAIN), *arguments],
        cwd=folder,
        env={**bare, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize("flag", [("--help",), ("--cfg", "job")], ids=" ".join)
def test_help_comes_without_torch(flag: tuple[str, ...], tmp_path: Path) -> None:
    process = start(tmp_path, *flag, flags=("-X", "importtime"))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in stderr.splitlines()}
    assert "hydra" in imported and "eckart.config" in imported
    assert not imported & {"torch", "numpy", "wandb", "pytorch_lightning", "matplotlib", "scipy", "sklearn"}
    assert list(tmp_path.iterdir()) == []
    if flag == ("--help",):
        # Long lines are broken, so words are compared.
        words = " ".join(stdout.split())
        for group in ("method", "data", "optimizer", "trainer", "logger"):
            for choice in choices(group):
                (headline,) = {
                    line[2:].strip()
                    for line in (config.config_dir() / group / f"{choice}.yaml").read_text().splitlines()[:1]
                }
                assert headline and f" {choice} {' '.join(headline.split())}" in words
        assert max(map(len, stdout.splitlines())) <= 80
    else:
        assert "method:" in stdout and "rank: 10" in stdout


def test_runs_of_the_same_second_have_different_folders(tmp_path: Path) -> None:
    arguments = ("--cfg", "hydra", "--resolve", "--package", "hydra.run")
    processes = [start(tmp_path, *arguments) for _ in range(2)]
    folders = [process.communicate(timeout=60)[0].split("dir:")[1].split()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    # The time aside, what is left of the names already differs.
    assert len({folder.rpartition("-")[2] for folder in folders}) == 2
    assert all(folder.startswith("outputs/") for folder in folders)


@pytest.mark.processes
def test_a_run_without_an_account_is_kept_offline(tmp_path: Path) -> None:
    process = start(tmp_path, "method=svd", "data=lab", "rank=2", "figures=false")
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    (folder,) = tmp_path.glob("outputs/*/*")
    written = result(folder)
    assert written["status"] == "completed" and Path(written["wandb_run"]).parent == folder / "wandb"
    assert stdout.startswith("svd on lab, 3×3, rank 2, seed 0\n") and folder.name in stdout
    assert json.dumps(written["relative_frobenius"])[:10] in stdout


def test_an_error_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    process = start(tmp_path, "rank=ten", *QUIET)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr == "rank must be an integer or auto. Found 'ten'.\n"
