"""The names of ``import eckart``."""

import subprocess
import sys

import pytest

EVERY_MODULE = """
import importlib, pkgutil, types
import eckart
for module in pkgutil.walk_packages(eckart.__path__, "eckart."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in eckart.__all__:
    found = getattr(eckart, name)
    assert not isinstance(found, types.ModuleType), name
    assert found.__name__ == name, name
assert eckart.excess is importlib.import_module("eckart.linalg.optimality").excess
"""


@pytest.mark.processes
def test_public_names_are_no_modules_whatever_was_imported_before() -> None:
    done = subprocess.run([sys.executable, "-c", EVERY_MODULE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
