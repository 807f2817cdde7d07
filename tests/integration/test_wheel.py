"""The wheel and the source distribution: built, and the wheel installed and run where no checkout is.

Without a network: the packages that the wheel needs are those of this environment. ``.ci/wheel`` installs them afresh.
"""

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source distribution, and of the wheel that was made of it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def kept(*folders: str) -> set[str]:
    """Files of the checkout, without those that are made of others."""
    made = {f"docs/{name}" for name in ("api", "configuration", "gallery", "lessons")}
    files = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        path.as_posix()
        for path in files
        if not made & {parent.as_posix() for parent in path.parents}
        and not any(part == "__pycache__" or part.startswith(".") or part.endswith(".egg-info") for part in path.parts)
    }


def test_the_wheel_holds_the_package_and_its_configs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {name.removeprefix("src/") for name in kept("src")} | {f"eckart/{name}" for name in kept("conf")}
    assert not expected - names, expected - names
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    about = {f"eckart-{version}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert names - expected == about | {f"eckart-{version}.dist-info/licenses/LICENSE"}


def test_the_source_distribution_holds_what_tests_and_pages_need(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    files = {"README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "train.py"}
    expected = files | kept("conf", "docs", "examples", "scripts", "src", "tests")
    assert not expected - names, expected - names


def test_the_wheel_runs_in_an_empty_folder(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    venv.create(environment, with_pip=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)
    (packages,) = environment.glob("lib/python*/site-packages")
    # Its .pth files are not read, so the checkout that is installed here is not found.
    present = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (packages / "present.pth").write_text("".join(f"{entry}\n" for entry in present), encoding="utf-8")
    empty.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(environment / "bin" / "eckart"), "method=bottleneck", "rank=10"]
    done = subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "bottleneck on photo, 400×400, rank 10, seed 0" in done.stdout
    (result,) = empty.glob("outputs/*/*/result.json")
    fields = json.loads(result.read_text(encoding="utf-8"))
    assert fields["status"] == "completed" and abs(fields["excess_frobenius"]) < 1e-9
    asked = "import eckart, eckart.config; print(eckart.__file__, eckart.config.config_dir())"
    command = [str(environment / "bin" / "python"), "-c", asked]
    found = subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, timeout=60).stdout.split()
    assert len(found) == 2 and all(path.startswith(str(packages)) for path in found), found
