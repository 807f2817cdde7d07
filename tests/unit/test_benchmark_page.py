"""What docs/benchmarks.md and the README say of time is what was measured, as it stands in docs/benchmarks.json."""

import re
from pathlib import Path

import pytest

from eckart.benchmarks import command, finding, record, words
from eckart.benchmarks.lines import ratio

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROW = re.compile(
    r"^\| (?P<task>[^|]+) `(?P<case>\w+)` \| (?P<ours>[^|]+) \| (?P<peer>[^|]+) \| (?P<times>[^|]+) \|$", re.M
)
ROWS = [match.groupdict() for match in ROW.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]


def test_the_page_is_what_the_command_writes_of_its_records(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text((DOCS / "benchmarks.json").read_text(encoding="utf-8"), encoding="utf-8")
    page = command.write(tmp_path, finding.groups(quick=False))
    assert page.read_text(encoding="utf-8") == (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def test_every_case_was_measured() -> None:
    every = [case for group in finding.groups(quick=False) for case in group.cases]
    known, on_gpu, found = {case.name for case in every}, {case.name for case in every if case.gpu}, record.read(DOCS)
    assert known - on_gpu - set(found) <= {"recipe_table_all"}
    # Of one run where there is a GPU.
    assert not on_gpu & set(found) or on_gpu <= set(found)
    for name in known & set(found):
        assert not found[name].measured["quick"] and found[name].lines[0].seconds, name


def test_the_readme_has_rows() -> None:
    assert len(ROWS) >= 6


@pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])
def test_a_row_of_the_readme_is_what_was_measured(row: dict[str, str]) -> None:
    ours, *peers = record.read(DOCS)[row["case"]].lines
    peer = next(line for line in peers if line.name == row["peer"])
    assert row["ours"] == words.seconds(ours.median)
    assert row["times"] == words.times(ratio(peer, ours))
