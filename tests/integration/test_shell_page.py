"""docs/shell.md: its line is typed in bash, on a terminal, and the tabulator key completes what the page says."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "shell.md").read_text(encoding="utf-8")
LINE = re.search(r"^```\n(eval .*eckart .*)\n```$", PAGE, re.MULTILINE)
pytestmark = pytest.mark.processes


class Bash:
    """An interactive bash."""

    def __init__(self, folder: Path) -> None:
        self._main, side = pty.openpty()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env={**os.environ, "PATH": path, "PS1": "> ", "TERM": "dumb", "INPUTRC": "/dev/null"},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)

    def type(self, keys: str, expected: str, seconds: float = 60) -> str:
        """Type keys, and read until an expression is matched."""
        os.write(self._main, keys.encode())
        read, end = "", time.monotonic() + seconds
        while not re.search(expected, read):
            assert time.monotonic() < end, f"no {expected} in {read!r}"
            if select.select([self._main], [], [], 0.2)[0]:
                read += os.read(self._main, 65536).decode(errors="replace")
        return read

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._main)


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Bash]:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    opened = Bash(tmp_path)
    yield opened
    opened.close()


def test_the_tabulator_key_completes_groups_options_and_keys(bash: Bash) -> None:
    assert LINE is not None
    bash.type(f"{LINE[1]}; echo read''y\n", r"ready\r")
    bash.type("eckart method=bot\t", "method=bottleneck")
    bash.type(" data=uniform data.r\t", r"data\.rows=")
    bash.type("9 optimizer=adam optimizer.l\t", r"optimizer\.lr=")
    listed = bash.type("1 optimizer=adam optimizer.\t\t", r"weight_decay")
    assert "momentum" not in listed
