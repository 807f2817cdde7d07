"""docs/rank.md: its commands, typed as they stand there, and what the first of them prints."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from commandline import QUIET, Train, choices, page

PAGE = page("rank.md")
SECTION = PAGE.split("## On the command line")[1].split("\n## ")[0]
COMMANDS, PRINTED = re.findall(r"^```\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)


@pytest.mark.processes
@pytest.mark.parametrize("command", [line for line in COMMANDS.splitlines() if line.startswith("python train.py")])
def test_the_commands_of_the_page(command: str, train: Train, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    np.save(tmp_path / "matrix.npy", noise.standard_normal((30, 3)) @ noise.standard_normal((3, 20)))
    ended = train(*shlex.split(command)[2:], *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    if command == COMMANDS.splitlines()[0]:
        assert ended.result["images"] == 400
        shown = [line.split() for line in PRINTED.splitlines()]
        printed = [line.split() for line in ended.stdout.splitlines()]
        at = printed.index(["rule", "rank", "SVD's", "error", "there"])
        rows = {row[0]: row for row in printed[at + 1 : at + 8]}
        # Rules that draw random numbers may choose a neighbor of the rank on another machine.
        for rule in ("energy", "gavish_donoho", "screenot", "information"):
            assert rows[rule] in shown
        assert list(rows) == [row[0] for row in shown[-7:]]


def test_every_rule_of_the_page_is_an_option_and_the_other_way_round() -> None:
    table = PAGE.split("## The rules")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == set(choices("selection"))
