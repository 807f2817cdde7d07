import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from example import CONFIG, changed

import eckart
import eckart.runs.fingerprint as module
from eckart.runs.fingerprint import fingerprint


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "another"),
        ("figures", False),
        ("logger", {}),
        ("logger.wandb", None),
        ("trainer.enable_progress_bar", False),
        ("trainer.accelerator", "cpu"),
    ],
)
def test_fingerprint_ignores_what_does_not_decide_the_result(path: str, value: Any) -> None:
    assert fingerprint(changed(path, value)) == fingerprint(CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rank", 3),
        ("seed", 1),
        ("ckpt", "last.ckpt"),
        ("data.rows", 11),
        ("data.source.seed", 1),
        ("method.max_steps", 101),
        ("method.hidden", [8]),
        ("method._target_", "a.E"),
        ("optimizer.lr", 0.02),
        ("trainer.precision", "32-true"),
        ("callbacks", {"timer": {"_target_": "a.F"}}),
    ],
)
def test_fingerprint_changes_with_what_decides_the_result(path: str, value: Any) -> None:
    assert fingerprint(changed(path, value)) != fingerprint(CONFIG)


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    def turned(part: Any) -> Any:
        return {key: turned(part[key]) for key in reversed(part)} if isinstance(part, dict) else part

    assert fingerprint(turned(CONFIG)) == fingerprint(CONFIG)


def test_fingerprint_takes_numbers_for_what_they_are() -> None:
    assert fingerprint(changed("data.scale", 1)) == fingerprint(CONFIG)
    assert fingerprint(changed("seed", 0.0)) == fingerprint(CONFIG)
    assert fingerprint(changed("data.scale", 1.5)) != fingerprint(CONFIG)


def test_a_file_counts_by_what_it_holds(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.csv", "moved.csv", "a.tsv")]
    for path in paths:
        path.write_text("1,2\n")
    first, moved, other = (fingerprint(changed("data.path", str(path))) for path in paths)
    assert first == moved
    assert first != other, "the ending decides how a file is read"
    paths[0].write_text("1,3\n")
    os.utime(paths[0], ns=(0, 0))
    assert fingerprint(changed("data.path", str(paths[0]))) != first


def test_a_large_file_counts_by_its_size_its_time_and_pieces_of_it(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"

    def found(size: int = 2**36, time: int = 10**9, last: bytes = b"") -> str:
        # Holes take no disk; to read 64 GiB of them takes minutes.
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(size - len(last))
            file.write(last)
        os.utime(path, ns=(time, time))
        return fingerprint(changed("data.path", str(path)))

    first = found()
    assert found(2**36 + 1) != first
    assert found(time=2 * 10**9) != first
    assert fingerprint(changed("data.path", str(path.rename(tmp_path / "moved.npy")))) == found(time=2 * 10**9)
    module._file_digest.cache_clear()
    assert found(last=b"x") != first
    module._file_digest.cache_clear()
    assert found() == first


@pytest.mark.parametrize("room", ["runs", "linalg", "."])
def test_changed_code_is_another_fingerprint(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(CONFIG)
    copied = shutil.copytree(Path(str(eckart.__file__)).parent, tmp_path / "eckart")
    monkeypatch.setattr(eckart, "__file__", str(copied / "__init__.py"))
    found = []
    for change in ("", "x = 1\n"):
        with sorted((copied / room).glob("*.py"))[-1].open("a") as file:
            file.write(change)
        module.source_digest.cache_clear()
        found.append(fingerprint(CONFIG))
    monkeypatch.undo()
    module.source_digest.cache_clear()
    assert found[0] == before == fingerprint(CONFIG)
    assert found[1] != before


@pytest.mark.parametrize("name", ["torch", "eckart"])
def test_another_version_is_another_fingerprint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(CONFIG)
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0.0", "eckart": "0.0"})
    changed = fingerprint(CONFIG)
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0.0", "eckart": "0.0", name: "0.1"})
    assert len({before, changed, fingerprint(CONFIG)}) == 3
