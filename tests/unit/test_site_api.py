"""The API pages: every public name is on one, and a name that is missing is noticed."""

import doctest
import importlib
import re
import sys
import zlib
from pathlib import Path

import eckart

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
site_api = importlib.import_module("site_api")
sys.path.remove(SCRIPTS)


def test_the_examples_of_its_docstrings() -> None:
    assert doctest.testmod(site_api).failed == 0


def test_a_module_is_read_without_being_imported() -> None:
    text = (
        "import os\nfrom a import b\n# Largest number of steps,\n# whatever is trained.\nSTEPS: int = 3\n"
        "Many = TypeVar('Many')\n"
        "class Fit(Base):\n    def run(self): ...\n    @property\n    def rank(self): ...\n    def _hidden(self): ...\n"
        "LOW, HIGH = 1, 2\nasync def wait(): ...\ndef _private(): ...\nTABLE = {\n    1: 2,\n}\n"
        '"""What it holds."""\nLONG = "' + 90 * "x" + '"\n'
    )
    found = {name.name: name for name in site_api.public_names(text)}
    assert list(found) == ["STEPS", "Fit", "LOW", "HIGH", "wait", "TABLE", "LONG"]
    assert (found["STEPS"].said, found["STEPS"].value) == ("Largest number of steps, whatever is trained.", "3")
    assert found["Fit"].members == ("run", "rank")
    assert (found["TABLE"].said, found["LONG"].value) == ("What it holds.", "")


def test_every_module_is_on_the_page_of_one_room() -> None:
    modules = [module for room in site_api.rooms().values() for module in room]
    sources = Path(str(eckart.__file__)).parents[1]
    files = {path.relative_to(sources) for path in sources.rglob("*.py") if path.name != "__init__.py"}
    assert any("hydra_plugins" in path.parts for path in files)
    assert sorted(modules) == sorted(".".join(path.with_suffix("").parts) for path in files)


def test_a_page_has_every_name_that_the_site_must_have(tmp_path: Path) -> None:
    site_api.write(tmp_path)
    text = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.rst"))
    directives = {line.partition(":: ")[2] for line in text.splitlines() if line.startswith(".. auto")}
    directives |= {f"{module}.{name}" for name, module in re.findall(r"py:data:: (\w+)\n   :module: (\S+)", text)}
    modules = [module for room in site_api.rooms().values() for module in room]
    # Methods stand below their classes, where autodoc finds them.
    names = {f"{module}.{name.name}" for module in modules for name in site_api.public_names(site_api.source(module))}
    assert directives == names | set(modules) and "eckart.linalg.svd.truncated_svd" in names
    assert all(f"eckart.{name} <" in (tmp_path / "index.rst").read_text(encoding="utf-8") for name in eckart.__all__)


def test_a_name_that_the_inventory_lacks_is_missing() -> None:
    head = b"# Sphinx inventory version 2\n# Project: a\n# Version: 1\n# zlib\n"
    lines = "a.b.run py:function 1 b.html#$ -\na.b py:module 0 b.html -\nrun std:label 1 c.html -\n"
    assert site_api.documented(head + zlib.compress(lines.encode())) == {"a.b.run", "a.b"}


def test_methods_of_classes_are_names_of_their_own(tmp_path: Path) -> None:
    package = tmp_path / "small"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "room" / "__init__.py").write_text('"""A room."""\n')
    (package / "room" / "part.py").write_text("class Fit:\n    def run(self): ...\n")
    assert site_api.every_name(package) == {"small.room.part", "small.room.part.Fit", "small.room.part.Fit.run"}
    assert ".. autoclass:: small.room.part.Fit\n   :members:" in site_api.room_page(
        "room", ["small.room.part"], package
    )
