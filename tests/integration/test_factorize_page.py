"""docs/factorize.md: its blocks, run as they stand there, and what the text says of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_python_page import blocks, shown

PAGE = (Path(__file__).parents[2] / "docs" / "factorize.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.compression


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = []
    for code, expected in blocks(PAGE):
        shown(code, names)
        output = capsys.readouterr().out
        if expected is not None:
            printed.append((output, expected))
        if "inputs=train" in code:
            assert len([line for line in code.splitlines() if line]) == 10
    (table, shown_table), (accuracies, _), _ = printed
    assert names["mapped"].parameters <= 0.1 * names["mapped"].dense_parameters
    # Ranks and errors depend on the machine that trains; the rest does not.
    assert table.splitlines()[0] == shown_table.splitlines()[0]
    assert table.splitlines()[4:5] == shown_table.splitlines()[4:5]
    assert [line.split()[:2] for line in table.splitlines()[:4]] == [
        line.split()[:2] for line in shown_table.splitlines()[:4]
    ]
    dense, factorized, tuned = (float(word.strip(",\n").split()[-1]) for word in accuracies.split(", "))
    assert dense > 0.9
    assert factorized > dense - 0.1
    assert tuned > dense - 0.03
    found, x = names["factorized"], names["x"]
    assert found.parameters <= 0.1 * found.dense_parameters
    expected = found.model(x)
    for model in (names["loaded"].model, names["again"], names["dense"], torch.export.load("digits.pt2").module()):
        assert torch.allclose(model(x), expected, atol=1e-4)
