"""The import law: one table, in docs/architecture.md, against the imports of every file."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eckart

PACKAGE = Path(str(eckart.__file__)).parent
TABLE = Path(__file__).parents[2] / "docs" / "architecture.md"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
HEAVY = {"torch", "pytorch_lightning", "lightning_fabric", "wandb", "matplotlib", "numba", "torchvision", "polars"}
LIGHT = ["__init__", "cli", "config", "arguments", "errors", "runs.job", "results.result", "results.terminal"]
LIGHT += ["sweeps.sweep", "sweeps.attempt", "sweeps.composing", "sweeps.progress"]


def laws() -> dict[str, tuple[set[str], set[str]]]:
    """What each room may import, and what it never does, as the table says."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {room: (_names(allowed), _names(never)) for room, allowed, never in rows}


def _names(cell: str) -> set[str]:
    return {name.strip() for name in cell.split(",")} - {"–", ""}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST, *, module_level: bool = False) -> Iterator[str]:
    """Full names of what is imported, except for what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif not (module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from imports(node, module_level=module_level)


def found(path: Path, *, module_level: bool = False) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), module_level=module_level))


def module_file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_the_table_names_every_room_and_no_other() -> None:
    assert {room(path) for path in FILES} == laws().keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_what_the_table_allows(path: Path) -> None:
    allowed, never = laws()[room(path)]
    names = found(path)
    rooms = {name.split(".")[1] for name in names if name.startswith("eckart.")} - {room(path)}
    assert "everything" in allowed or rooms <= allowed, rooms - allowed
    assert not {name.partition(".")[0] for name in names} & never


def test_no_room_is_reached_from_itself() -> None:
    reach = {name: allowed & laws().keys() for name, (allowed, _) in laws().items()}
    for start in reach:
        todo, seen = list(reach[start]), set()
        while todo:
            step = todo.pop()
            assert step != start, f"{start} imports itself in a circle"
            if step not in seen:
                seen.add(step)
                todo += reach[step]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy_as_they_load(module: str) -> None:
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        if name in seen or not module_file(name if name != "__init__" else "").is_file():
            continue
        seen.add(name)
        path = PACKAGE / "__init__.py" if name == "__init__" else module_file(name)
        loaded = found(path, module_level=True)
        assert not {full.partition(".")[0] for full in loaded} & HEAVY, name
        for full in loaded:
            parts = full.split(".")
            if parts[0] == "eckart":
                todo += [".".join(parts[1:end]) for end in range(2, len(parts) + 1)]


def test_configs_are_instantiated_in_one_file() -> None:
    users = {path.name for path in FILES if "hydra.utils.instantiate" in found(path)}
    assert users == {"run.py"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, eckart; print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
