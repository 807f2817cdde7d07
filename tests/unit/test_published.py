"""Published sizes, counted on models with the published ranks."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from eckart.compression.counting import count
from eckart.results.published import PUBLISHED, Published

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
audit_counts = importlib.import_module("audit_counts")
sys.path.remove(SCRIPTS)

WITH_RANKS = [row for row in PUBLISHED if row.ranks]
IN = {"conv1": 25, "conv2": 500, "fc1": 800, "fc2": 500}
OUT = {"conv1": 20, "conv2": 50, "fc1": 500, "fc2": 10}


@pytest.mark.parametrize("row", WITH_RANKS, ids=lambda row: f"{row.claimed}")
def test_counted_as_the_closed_form_says(row: Published) -> None:
    net = audit_counts.built(row)
    assert net is not None
    sides = [(OUT[name], IN[name]) for name in IN]
    weights = sum(m * n if k is None else k * (m + n) for (m, n), k in zip(sides, row.ranks, strict=True))
    assert count(net, torch.zeros(1, 1, 28, 28)).parameters == weights + 580 == row.counted == row.parameters


@pytest.mark.parametrize("row", [row for row in WITH_RANKS if "repository" in row.method], ids=lambda row: row.claimed)
def test_the_repository_leaves_the_input_factors_out(row: Published) -> None:
    a, b, c, _ = row.ranks
    assert a is not None and b is not None and c is not None
    assert row.claimed == 5000 + 21 * a + 51 * b + 501 * c


def test_the_paper_counts_both_factors_and_no_bias() -> None:
    (row,) = [row for row in WITH_RANKS if row.method == "DLRT (paper)"]
    assert row.counted == row.claimed + 580


def test_the_table_has_each_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in PUBLISHED if row.claimed in (13_091, 25_650)]
    monkeypatch.setattr(audit_counts, "PUBLISHED", rows)
    monkeypatch.setattr("sys.argv", ["audit_counts.py"])
    audit_counts.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(rows)
    (found,) = [line for line in lines if "13,091" in line]
    assert "| 8 8 15 dense | 13,091 | 29,260 | 29,840 |" in found
    assert "| not found | 25,650 | – | – | – |" in lines[-1]
