"""The API pages of the site: one for each room, with every public name of its modules, found in the source."""

import ast
import functools
import inspect
import re
import textwrap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "eckart"
BESIDE = "modules"
"""Name of the page of the modules that lie beside the rooms."""
PLUGINS = "hydra_plugins"
"""Name of the namespace, and of the page, of the plugins of Hydra that lie beside the package."""
_LONG = 80


@dataclass(frozen=True)
class Name:
    """A public name of a module.

    Attributes:
        kind: ``function``, ``class`` or ``data``.
        name: As it stands in the module.
        said: Of a constant: its docstring or, where it has none, the comment above it.
        value: Of a constant: its value as it stands there; empty where it is long.
        members: Public methods and properties of a class.
    """

    kind: str
    name: str
    said: str = ""
    value: str = ""
    members: tuple[str, ...] = ()


def rooms(package: Path = PACKAGE) -> dict[str, list[str]]:
    """Modules by room, as dotted names; those of :data:`BESIDE` are modules beside the rooms, then come the plugins."""
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] != "__init__":
            found.setdefault(parts[0] if len(parts) > 1 else BESIDE, []).append(".".join((package.name, *parts)))
    found = dict(sorted(found.items(), key=lambda room: (room[0] == BESIDE, room[0])))
    plugins = [f"{PLUGINS}.{path.stem}" for path in sorted((package.parent / PLUGINS).glob("[!_]*.py"))]
    return found | ({PLUGINS: plugins} if plugins else {})


def source(module: str, package: Path = PACKAGE) -> str:
    """Text of a module's file, or of a package's ``__init__``."""
    path = package.parent.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


@functools.cache
def public_names(text: str) -> tuple[Name, ...]:
    r"""The public names that a module defines, in its order.

    Example:
        >>> [(name.kind, name.name) for name in public_names("LIMIT = 3\ndef fit(): ...\ndef _hidden(): ...")]
        [('data', 'LIMIT'), ('function', 'fit')]
    """
    lines, found, body = text.splitlines(), [], ast.parse(text).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(Name("function", node.name))
        elif isinstance(node, ast.ClassDef):
            found.append(Name("class", node.name, members=tuple(_members(node))))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            said = _docstring(after) or _comment(lines, node.lineno - 1)
            found += [Name("data", name, said, value) for name, value in _constants(node)]
    return tuple(name for name in found if not name.name.startswith("_"))


def _members(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_"):
            yield item.name


def _constants(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, str]]:
    """Names that an assignment defines, and their values as text, but for long ones."""
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar":
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        pairs: list[tuple[ast.expr, ast.expr | None]] = [(target, node.value)]
        if isinstance(target, ast.Tuple):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
            pairs = list(zip(target.elts, values, strict=True))
        for name, value in pairs:
            if isinstance(name, ast.Name):
                text = ast.unparse(value) if value else ""
                yield name.id, text if len(text) < _LONG else ""


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return ""


def _comment(lines: list[str], place: int) -> str:
    first = place
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return " ".join(line.lstrip("# ") for line in lines[first:place])


def every_name(package: Path = PACKAGE) -> set[str]:
    """Dotted names of all modules, public names, and public methods of public classes."""
    found = set()
    for modules in rooms(package).values():
        for module in modules:
            found.add(module)
            for name in public_names(source(module, package)):
                found |= {f"{module}.{name.name}", *(f"{module}.{name.name}.{member}" for member in name.members)}
    return found


def documented(inventory: bytes) -> set[str]:
    """Names of Python objects in the ``objects.inv`` of a site that was built."""
    head = re.match(rb"(?:#[^\n]*\n){4}", inventory)
    if head is None:
        raise ValueError("An inventory must begin with four lines of comments. Found none.")
    lines = zlib.decompress(inventory[head.end() :]).decode().splitlines()
    return {line.partition(" ")[0] for line in lines if " py:" in line}


def write(folder: Path, package: Path = PACKAGE) -> None:
    """Write the pages.

    Args:
        folder: Folder of the pages.
        package: The package that they are of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {room: room_page(room, modules, package) for room, modules in rooms(package).items()}
    for name, text in {**pages, "index": front_page(package)}.items():
        path = folder / f"{name}.rst"
        # A page that is the same is not read again.
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def room_page(room: str, modules: list[str], package: Path = PACKAGE) -> str:
    """The page of a room, in reStructuredText."""
    titles, own = {BESIDE: "Modules beside the rooms", PLUGINS: "Plugins of Hydra"}, f"{package.name}.{room}"
    said = "" if room in titles else ast.get_docstring(ast.parse(source(own, package))) or ""
    parts = [_heading(titles.get(room, own), "="), said]
    for module in modules:
        short = module.removeprefix(f"{own}.").removeprefix(f"{PLUGINS}.")
        parts += [_heading(short, "-"), f".. automodule:: {module}\n   :no-members:"]
        for name in public_names(source(module, package)):
            parts.append(_directive(module, name))
    return "\n\n".join(part for part in parts if part) + "\n"


def _directive(module: str, name: Name) -> str:
    if name.kind == "function":
        return f".. autofunction:: {module}.{name.name}"
    if name.kind == "class":
        return f".. autoclass:: {module}.{name.name}\n   :members:\n   :show-inheritance:"
    # autodoc would show the docstring of the value's type.
    options = f"\n   :module: {module}" + (f"\n   :value: {name.value}" if name.value else "")
    return f".. py:data:: {name.name}{options}\n\n{textwrap.indent(name.said, '   ')}".rstrip()


def aliases(package: Path = PACKAGE) -> dict[str, str]:
    """Names that packages import from their modules, and where these are defined, both dotted."""
    found: dict[str, str] = {}
    for path in package.rglob("__init__.py"):
        own = ".".join((package.name, *path.parent.relative_to(package).parts))
        found |= {
            f"{own}.{name}": f"{module}.{name}" for name, module in _imported(path.read_text(encoding="utf-8"), package)
        }
    return found


def _imported(text: str, package: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package.name}."):
            yield from ((name.asname or name.name, str(node.module)) for name in node.names)


def front_page(package: Path = PACKAGE) -> str:
    """The page that lists the names of ``import eckart``, and the rooms."""
    rows = []
    for name, module in sorted(_imported(source(package.name, package), package)):
        tree = ast.parse(source(module, package))
        (node,) = (item for item in tree.body if getattr(item, "name", None) == name)
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        role = "func" if isinstance(node, ast.FunctionDef) else "class"
        head = (ast.get_docstring(node) or "").partition("\n")[0]
        rows.append(f":{role}:`{package.name}.{name} <{module}.{name}>`\n   {head}")
    parts = [
        _heading("API reference", "="),
        "``import eckart`` has these names. They are imported when they are first asked for.",
        *rows,
        "The other public names are in these rooms; :doc:`../architecture` says what each is for.",
        "\n".join([".. toctree::", "   :maxdepth: 1", "", *(f"   {room}" for room in rooms(package))]),
    ]
    return "\n\n".join(parts) + "\n"


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}"
