"""docs/matrix.md: its blocks are run and its commands typed, in the order of the page."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import Train
from test_python_page import comparable, shown

PAGE = (Path(__file__).parents[2] / "docs" / "matrix.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.processes
BLOCK = re.compile(r"^```(python)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_page(train: Train) -> None:
    names: dict[str, Any] = {}
    typed, value = [], None
    for language, text in BLOCK.findall(PAGE):
        if language:
            value = shown(text, names)
        elif text.startswith("python train.py "):
            for line in text.splitlines():
                ended = train(*shlex.split(line)[2:])
                assert (ended.code, ended.stderr) == (0, ""), line
                typed.append(ended.result)
        else:
            assert value is not None and comparable(value) == comparable(text)
    svd, net, chosen, completed = typed
    matrix = np.loadtxt("matrix.csv", delimiter=",")
    spectrum = np.linalg.svd(matrix, compute_uv=False)
    best = np.linalg.norm(spectrum[3:]) / np.linalg.norm(spectrum)
    for found in (svd, net, chosen):
        assert found["rank"] == 3 and found["relative_frobenius"] == pytest.approx(best, rel=1e-9)
    assert completed["verdict"] == "recovered" and completed["rank"] == 3
