"""docs/matrix.md: its blocks are run and its commands typed, in the order of the page."""

import re
import shlex
import subprocess
from typing import Any

import numpy as np
import polars as pl
import pytest
from commandline import Train, page
from test_python_page import comparable, shown

from eckart import commands

PAGE = page("matrix.md")
pytestmark = pytest.mark.processes
BLOCK = re.compile(r"^```(python)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_page(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
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
        elif text.startswith("tail "):
            table = pl.read_csv("matrix.csv", has_header=False).with_row_index("name")
            table.write_csv("table.csv")
            subprocess.run(["bash", "-ec", text], check=True)
            assert pl.read_csv("matrix.csv", has_header=False).equals(table.drop("name"))
        elif text.startswith("eckart predict "):
            capfd.readouterr()
            commands.run(shlex.split(text.replace("outputs/…", str(ended.folder))))
            ranked = pl.read_csv(capfd.readouterr().out.encode())
            assert ranked["prediction"].is_sorted(descending=True) and set(ranked["column"]) <= set(range(40))
        else:
            assert value is not None and comparable(value) == comparable(text)
    svd, net, chosen, completed = typed
    matrix = np.loadtxt("matrix.csv", delimiter=",")
    spectrum = np.linalg.svd(matrix, compute_uv=False)
    best = np.linalg.norm(spectrum[3:]) / np.linalg.norm(spectrum)
    for found in (svd, net, chosen):
        assert found["rank"] == 3 and found["relative_frobenius"] == pytest.approx(best, rel=1e-9)
    assert completed["verdict"] == "recovered" and completed["rank"] == 3
