"""The Python blocks of pages and of README, run as they stand there, against the printed output."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
# What depends on the machine: times, counts of steps, excesses, gradients and paths.
VARIES = [(r"-?\b\d\.\d+e[+-]\d+", "E"), (r"\b\d+\.\d+ s\b", "T s"), (r"\b\d+ steps", "N steps"), (r" +", " ")]


def blocks(text: str) -> list[tuple[str, str | None]]:
    """Each block of Python, and the output that stands below it, or None."""
    return [(found[1], found[2]) for found in BLOCK.finditer(text)]


def shown(code: str, names: dict[str, Any]) -> str | None:
    """Run a block; the value of its last expression as a notebook shows it, or None."""
    *body, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        body.append(last)
    exec(compile(ast.Module(body, []), "page", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), "page", "eval"), names)
    return None if value is None else f"{value!r}\n"


def comparable(text: str) -> str:
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text)
    return re.sub(r" ?(E|0)$", " E", text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", ["docs/concepts.md", "docs/operator.md", "docs/python.md", "README.md"])
def test_the_blocks_of_a_page_give_the_output_that_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = blocks((ROOT / page).read_text(encoding="utf-8"))
    assert found
    for code, expected in found:
        value = shown(code, names)
        output = capsys.readouterr().out + (value or "")
        if expected is not None:
            assert comparable(output) == comparable(expected), code
