import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eckart.results.atomic import replacing


def test_what_was_there_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="broken"), replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        raise ValueError("broken")
    assert path.read_text() == "old"
    assert [other.name for other in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    others = [f".b.txt.{killed.pid}", f".a.txt.{os.getppid()}", ".a.txt.old", ".a.txt", "a.txt.1"]
    for name in (f".a.txt.{killed.pid}", *others):
        (tmp_path / name).write_text("half")
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", *others])
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="full") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "full")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))


def test_what_a_process_of_another_user_writes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    (tmp_path / ".a.txt.1").write_text("half")
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert (tmp_path / ".a.txt.1").read_text() == "half"
