"""What a release says of itself: one version, bounds of the dependencies, the citation, forms and the workflow."""

import doctest
import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import eckart

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.path.insert(0, str(ROOT / "scripts"))
try_bounds = importlib.import_module("try_bounds")
sys.path.remove(str(ROOT / "scripts"))

# Keys of the Citation File Format 1.2.0; the release workflow holds the file against its whole schema.
CITATION_KEYS = {"abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers"}
CITATION_KEYS |= {"keywords", "license", "license-url", "message", "preferred-citation", "references", "repository"}
CITATION_KEYS |= {"repository-artifact", "repository-code", "title", "type", "url", "version"}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place_and_others_agree() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = read("CITATION.cff")
    assert headings[0] == "Unreleased"
    assert headings[1] == f"{PROJECT['version']} - {citation['date-released']}"
    assert str(citation["version"]) == PROJECT["version"] == eckart.__version__


def test_the_citation_has_what_its_format_asks_for() -> None:
    citation = read("CITATION.cff")
    assert {"authors", "cff-version", "message", "title"} <= citation.keys() <= CITATION_KEYS
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", citation["date-released"]) and citation["license"] == PROJECT["license"]
    assert all({"authors", "title", "type"} <= reference.keys() for reference in citation["references"])


def test_every_dependency_has_a_lower_bound() -> None:
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    without = [line for line in asked if not {">=", "=="} & {part.operator for part in Requirement(line).specifier}]
    assert len(asked) > 30 and not without, without
    # One package, one bound, wherever it stands.
    bounds: dict[str, set[str]] = {}
    for requirement in map(Requirement, asked):
        bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert not {name: found for name, found in bounds.items() if len(found) > 1}
    assert {*try_bounds.tried_extras(ROOT / "pyproject.toml"), *try_bounds.LEFT_OUT} == extras.keys()


def test_the_issue_forms_are_forms() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = read(str(path.relative_to(ROOT)))
        assert form["name"] and form["description"]
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len(set(ids)) > 2
        assert all(part["type"] == "textarea" and part["attributes"]["label"] for part in form["body"])


def test_nothing_is_tagged_before_it_is_checked() -> None:
    jobs = read(".github/workflows/release.yml")["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "build": None,
        "check": "build",
        "tag": ["build", "check"],
        "publish": "tag",
    }
    assert jobs["check"]["strategy"]["matrix"]["python"] == list(try_bounds.PYTHONS)
    assert not any("checkout" in step.get("uses", "") for step in jobs["check"]["steps"])


def test_the_examples_of_the_bounds() -> None:
    assert doctest.testmod(try_bounds).failed == 0


def test_the_table_of_bounds_has_a_column_for_each_trial(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy>=2.1", "Scikit_Learn[x]>=1"]\n'
        '[project.optional-dependencies]\ntest = ["numpy>=2.1", "pytest"]\nbounds = ["uv>=0.5"]\n'
    )
    names = try_bounds.direct(tmp_path / "pyproject.toml")
    assert names == ["numpy", "scikit-learn", "pytest"]
    names = names[:2]
    first = try_bounds.Trial("3.11", "lowest", {"numpy": "2.1.0"}, {"resolved": "yes"})
    second = try_bounds.Trial("3.13", "newest", {"numpy": "2.5.5", "scikit-learn": "1.9"}, {"tests": "3 passed in 1 s"})
    assert try_bounds.table([first, second], names).splitlines() == [
        "|  | 3.11, lowest | 3.13, newest |",
        "| --- | --- | --- |",
        "| numpy | 2.1.0 | 2.5.5 |",
        "| scikit-learn | – | 1.9 |",
        "| **resolved** | yes | – |",
        "| **tests** | – | 3 passed in 1 s |",
    ]


def test_a_command_that_fails_is_told_and_fails_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_bounds, "FOLDER", tmp_path)
    trial = try_bounds.Trial("3.11", "lowest")
    failing = [sys.executable, "-c", "print('1 failed in 2s'); raise SystemExit(1)"]
    assert not try_bounds._done(trial, "tests", failing, tmp_path)
    assert trial.failed and trial.results == {"tests": "**1 failed in 2 s**, see 3.11-lowest-tests.log"}
    assert try_bounds._done(trial, "run", [sys.executable, "-c", "print('outputs')"], tmp_path)
    assert trial.results["run"].startswith("yes, ")
