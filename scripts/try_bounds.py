"""Try the bounds of every dependency: the lowest versions that pyproject.toml allows and the newest, by Python.

Each pair of a Python and a bound is resolved by uv. Where that Python is installed, it gets an environment of its own
under build/bounds: what was resolved, and this checkout. A run in an empty folder and the tests decide. The command
ends with status 1 if one fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bounds"
"""Requirements, outputs and the table; the environments, as long as they are tried."""
PYTHONS = ("3.11", "3.12", "3.13")
BOUNDS = {"lowest": "lowest-direct", "newest": "highest"}
LEFT_OUT = ("benchmark", "bounds", "mutation")
"""Extras that are not tried: peers of the benchmark, of which some are compiled, uv itself, and the mutation tests."""
# No other release of these can be installed without a compiler, or has wheels for every Python.
_FROM_SOURCE = ("antlr4-python3-runtime", "sqlalchemy")


@dataclass
class Trial:
    """A Python with versions of all dependencies, and what came of it.

    Attributes:
        python: Version of Python, as in 3.12.
        bound: A name of ``BOUNDS``.
        versions: Resolved version of each package, by its normalized name.
        results: What was tried, and how it ended.
        failed: Whether something did not end as it must.
    """

    python: str
    bound: str
    versions: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    failed: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Try each Python with each bound, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="VERSION", help=" ".join(PYTHONS))
    parser.add_argument("--bound", nargs="+", default=tuple(BOUNDS), choices=tuple(BOUNDS))
    parser.add_argument("--resolve", action="store_true", help="only resolve: minutes and gigabytes less")
    parser.add_argument("--keep", action="store_true", help="keep the environments, 6 GB each")
    parser.add_argument("tests", nargs="*", help="arguments of pytest, after --; none: the tests of every change")
    chosen = parser.parse_args(arguments)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        sys.exit('uv resolves and installs: pip install -e ".[bounds]". Found none.')
    FOLDER.mkdir(parents=True, exist_ok=True)
    trials = []
    for python in chosen.python:
        for bound in chosen.bound:
            print(f"Python {python}, {bound} …", flush=True)
            trials.append(attempt(uv, python, bound, chosen.tests, resolve=chosen.resolve, keep=chosen.keep))
    text = table(trials, direct(ROOT / "pyproject.toml"))
    (FOLDER / "bounds.md").write_text(text, encoding="utf-8")
    print(text, end="")
    sys.exit(any(trial.failed for trial in trials))


def attempt(uv: str, python: str, bound: str, tests: Sequence[str], *, resolve: bool, keep: bool) -> Trial:
    """Resolve, install and try one pair; see the module."""
    trial, name = Trial(python, bound), f"{python}-{bound}"
    requirements, environment = FOLDER / f"{name}.txt", FOLDER / name
    project = ROOT / "pyproject.toml"
    extras = [word for extra in tried_extras(project) for word in ("--extra", extra)]
    wheels = ["--only-binary", ":all:", *(word for package in _FROM_SOURCE for word in ("--no-binary", package))]
    asked = [uv, "pip", "compile", "--quiet", "--no-annotate", "--no-header", "--resolution", BOUNDS[bound], *wheels]
    asked += ["--python-version", python, *extras, str(project), "--output-file", str(requirements)]
    if not _done(trial, "resolved", asked, FOLDER):
        return trial
    trial.versions = versions(requirements.read_text(encoding="utf-8").splitlines())
    if resolve:
        return trial
    # A virtual environment of this checkout is none to start from.
    find = [uv, "python", "find", "--no-python-downloads", "--system", "--no-project", python]
    interpreter = subprocess.run(find, capture_output=True, text=True).stdout.strip()
    if not interpreter:
        trial.results["installed"] = "no such Python here"
        return trial
    into = [uv, "pip", "install", "--quiet", "--python", str(environment)]
    scripts = environment / "bin"
    try:
        if (
            _done(trial, "installed", [uv, "venv", "-q", "--clear", "--python", interpreter, str(environment)], FOLDER)
            and _done(trial, "installed", [*into, "--requirements", str(requirements)], FOLDER)
            and _done(trial, "installed", [*into, "--no-deps", "--editable", str(ROOT)], FOLDER)
        ):
            with tempfile.TemporaryDirectory() as empty:
                _done(trial, "run", [str(scripts / "eckart"), "method=bottleneck", "rank=10"], Path(empty))
            _done(trial, "tests", [str(scripts / "python"), "-m", "pytest", *tests], ROOT)
    finally:
        if not keep:
            shutil.rmtree(environment, ignore_errors=True)
    return trial


def _done(trial: Trial, what: str, command: Sequence[str], folder: Path) -> bool:
    """Run a command, keep what it printed, and note how it ended."""
    log = FOLDER / f"{trial.python}-{trial.bound}-{what}.log"
    environment = {"WANDB_MODE": "offline", **os.environ}
    # The environment of this command is not that of the trial.
    for variable in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        environment.pop(variable, None)
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as kept:
        ended = subprocess.run(command, cwd=folder, env=environment, stdout=kept, stderr=subprocess.STDOUT).returncode
    trial.results[what] = "yes" if what in ("resolved", "installed") else outcome(log.read_text(encoding="utf-8"))
    trial.results[what] += f", {time.perf_counter() - began:.0f} s" if what == "run" else ""
    if ended:
        trial.failed = True
        trial.results[what] = f"**{trial.results[what].replace('yes', 'no')}**, see {log.name}"
    return not ended


def outcome(log: str) -> str:
    r"""The counts of pytest, after which libraries may print as the process ends; of any other command, yes.

    Example:
        >>> outcome("x\n1 failed, 23 passed, 4 deselected in 5.67s\nleaked\n")
        '1 failed, 23 passed in 6 s'
        >>> outcome("outputs/2026-11-26")
        'yes'
    """
    for line in reversed(log.splitlines()):
        found, seconds = re.findall(r"\d+ (?:failed|passed|skipped|errors?)\b", line), re.search(r" in ([\d.]+)s", line)
        if found and seconds:
            return f"{', '.join(found)} in {float(seconds[1]):.0f} s"
    return "yes"


def versions(requirements: Iterable[str]) -> dict[str, str]:
    """Version of each package in a list that is pinned.

    Example:
        >>> versions(["torch==2.6.0", "tzdata==2026.6 ; sys_platform == 'win32'"])
        {'torch': '2.6.0', 'tzdata': '2026.6'}
    """
    pinned = re.compile(r"([\w.-]+)==([^\s;]+)")
    return {match[1]: match[2] for line in requirements if (match := pinned.match(line))}


def tried_extras(pyproject: Path) -> list[str]:
    """Names of the extras of a pyproject.toml that are tried, in its order."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [extra for extra in project["optional-dependencies"] if extra not in LEFT_OUT]


def direct(pyproject: Path) -> list[str]:
    """Names of the packages that a pyproject.toml asks for, in its order: the dependencies, then those of extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for extra in tried_extras(pyproject) for line in extras[extra])]
    names = (re.split(r"[\[<>=!~;\s]", line, maxsplit=1)[0].lower().replace("_", "-") for line in asked)
    return list(dict.fromkeys(names))


def table(trials: Sequence[Trial], packages: Iterable[str]) -> str:
    """A column for each trial: the versions that were resolved, and how it ended."""
    rows = [["", *(f"{trial.python}, {trial.bound}" for trial in trials)], ["---"] * (len(trials) + 1)]
    rows += [[name, *(trial.versions.get(name, "–") for trial in trials)] for name in packages]
    tried = dict.fromkeys(what for trial in trials for what in trial.results)
    rows += [[f"**{what}**", *(trial.results.get(what, "–") for trial in trials)] for what in tried]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
