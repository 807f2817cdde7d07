import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from eckart.runs import tensor_file
from eckart.runs.tensor_file import write_tensors


@pytest.mark.parametrize("large", [0, 2**20])
def test_small_and_large_files_hold_the_same(large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "LARGE", large)
    tensors = {"left": torch.arange(6.0).view(2, 3), "right": torch.arange(6.0).view(3, 2).mT}
    write_tensors(tmp_path / "a", tensors, {"is": "said"})
    (tmp_path / "b").touch()
    found = load_file(tmp_path / "a")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_an_error_of_the_disk_stays_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_file, "LARGE", 0)
    monkeypatch.setattr(tensor_file, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_tensors(tmp_path / "a", {"a": torch.zeros(2)}, {})
    assert caught.value.errno == errno.ENOSPC
