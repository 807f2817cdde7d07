import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import lowrank

PACKAGE = Path(str(lowrank.__file__)).parent
MODULES = {
    ".".join(part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
CONDUCTORS = {"pytorch_lightning", "lightning_fabric", "hydra", "omegaconf", "wandb"}
HEAVY = {"torch", "pytorch_lightning", "lightning_fabric", "wandb", "matplotlib", "numba", "torchvision", "polars"}
NUMERICS = [
    "linalg",
    "krylov",
    "metrics",
    "matrices",
    "files.reading",
    "probes",
    "layers",
    "objectives",
    "optim",
    "streams",
]
LIGHT = ["__init__", "cli", "config", "job", "results", "summary", "sweep", "attempt", "composing", "progress"]
READERS = ["results", "tables", "settings", "aggregate", "summary", "history"]


def imports(tree: ast.AST, *, module_level: bool = False) -> Iterator[str]:
    """Full names of what is imported, but for what only a type checker reads."""
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


def tree(module: str) -> ast.AST:
    path = PACKAGE / "__init__.py" if module == "__init__" else MODULES[module]
    return ast.parse(path.read_text(encoding="utf-8"))


def packages(module: str, *, module_level: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree(module), module_level=module_level)}


@functools.cache
def inner(module: str) -> set[str]:
    """Modules of the package that a module imports anywhere."""
    found: set[str] = set()
    for name in imports(tree(module)):
        if name.partition(".")[0] != "lowrank":
            continue
        parts = name.split(".")[1:]
        found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & MODULES.keys()
    return found


def reached(module: str) -> set[str]:
    todo = [module]
    found: set[str] = set()
    while todo:
        new = inner(todo.pop()) - found
        found |= new
        todo += new
    return found


def test_the_rules_speak_of_modules_that_exist() -> None:
    assert {*NUMERICS, *LIGHT} - {"__init__"} <= MODULES.keys()
    assert {"run", "figures", "methods.base", "data.matrix"} <= MODULES.keys()


@pytest.mark.parametrize("module", NUMERICS)
def test_numerics_know_nothing_of_who_conducts_them(module: str) -> None:
    for name in {module, *reached(module)}:
        assert not packages(name) & CONDUCTORS, name


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    assert module not in reached(module), "imports in a circle"
    reach = reached(module)
    if module.startswith("methods."):
        assert not {name for name in reach if name.startswith("data.")}
    if module.startswith("data."):
        assert not {name for name in reach if name.startswith("methods.")}
    if module.startswith(("methods.", "data.")):
        assert not reach & {"run", "cli", "loggers", "callbacks", "figures"}
    if "run" in inner(module):
        assert module in ("attempt", "reproduction", "workers")


@pytest.mark.parametrize("module", [*NUMERICS, *READERS, "figures", "config"])
def test_what_all_build_on_builds_on_none_of_them(module: str) -> None:
    assert not {name for name in reached(module) if name.startswith(("methods.", "data.")) or name == "run"}


@pytest.mark.parametrize("module", [*READERS, "figures"])
def test_readers_of_results_need_no_torch(module: str) -> None:
    for name in {module, *reached(module)}:
        assert not packages(name) & {"torch", "pytorch_lightning"}, name


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy_as_they_load(module: str) -> None:
    todo, found = [module], set()
    while todo:
        name = todo.pop()
        found.add(name)
        loads = {part for full in imports(tree(name), module_level=True) for part in full.split(".")[1:2]}
        todo += [part for part in loads & MODULES.keys() if part not in found]
    for name in found:
        assert not packages(name, module_level=True) & HEAVY, name


def test_configs_are_instantiated_and_wandb_is_touched_in_run_alone() -> None:
    instantiate = {module for module in MODULES if "hydra.utils.instantiate" in imports(tree(module))}
    assert instantiate == {"run"}
    assert {module for module in MODULES if "wandb" in packages(module)} <= {"run", "tracking", "loggers"}
