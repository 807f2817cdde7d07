"""scripts/benchmark_compression.py: models beside themselves, timed."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_compression.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.compression
def test_no_model_is_slower_than_dense() -> None:
    done = run("lenet5", "mlp")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert [(row[0], row[3]) for row in rows] == [(name, size) for name in ("lenet5", "mlp") for size in ("1", "256")]
    faster = [float(row[6].split()[0]) for row in rows]
    # Of the net of wide layers twice is promised; a busy machine blurs it.
    assert min(faster[2:]) > 1.5


@pytest.mark.compression
def test_a_model_that_is_not_known_is_one_line() -> None:
    done = run("alexnet")
    assert done.returncode == 2
    known = "lenet5, mlp, transformer, resnet18, vit_of_2, vit"
    assert done.stderr.endswith(f"A model must be one of: {known}. Found 'alexnet'.\n")
