"""docs/compression.md: its examples, its table of published sizes, and the commands that it names."""

import doctest
import importlib
import re
import sys
from pathlib import Path

import torch

from eckart.results.published import PUBLISHED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compression.md"
SCRIPTS = str(ROOT / "scripts")
sys.path.insert(0, SCRIPTS)
audit_counts = importlib.import_module("audit_counts")
sys.path.remove(SCRIPTS)


def test_the_examples_of_the_page() -> None:
    generator = torch.random.get_rng_state()
    done = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    torch.random.set_rng_state(generator)
    assert done.attempted > 10 and not done.failed


def test_the_table_of_published_sizes_is_what_the_script_prints() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(audit_counts.line(row) in text for row in PUBLISHED)


def test_the_commands_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    scripts = set(re.findall(r"^python (scripts/\w+\.py)", text, re.MULTILINE))
    experiments = set(re.findall(r"experiment=(\w+)", text))
    assert len(scripts) >= 4 and all((ROOT / script).is_file() for script in scripts)
    assert experiments and all((ROOT / "conf" / "experiment" / f"{name}.yaml").is_file() for name in experiments)
