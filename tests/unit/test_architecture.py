"""The map of docs/architecture.md names each file of the package once."""

import re
from pathlib import Path

import eckart

PACKAGE = Path(str(eckart.__file__)).parent
PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")


def mapped() -> list[str]:
    """Files on the map, as paths from the package."""
    found, room = [], ""
    for line in PAGE.split("## Map")[1].split("```")[1].splitlines():
        if opened := re.match(r"([\w.]+/)", line):
            room = opened[1].removeprefix("./")
        # A folder inside a room stands on the line of its files.
        inner = re.match(r" +(\w+/)", line)
        found += [f"{room}{inner[1] if inner else ''}{name}" for name in re.findall(r"\w+\.py", line)]
    return found


def test_the_map_names_each_file_once() -> None:
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert sorted(mapped()) == sorted(files)
