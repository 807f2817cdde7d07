"""Hydra's own tests of a launcher; and other Hydra applications on the machine import nothing of eckart."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase
from packaging.version import Version

pytestmark = pytest.mark.processes
STACKED = ["-m", "hydra/launcher=stacked"]
APPLICATION = """
import json, sys
import hydra
from hydra._internal.hydra import Hydra
from hydra.core.plugins import Plugins
from hydra._internal.core_plugins import basic_launcher

before = set(sys.modules)
Plugins.instance()
scanned = sorted(name for name in set(sys.modules) - before if not name.startswith("hydra."))

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    heavy = sorted({"eckart", "torch", "numpy", "wandb", "pytorch_lightning", "tqdm"} & sys.modules.keys())
    print(json.dumps([scanned, heavy, config.a]))

main()
"""


@pytest.fixture(autouse=True)
def _no_version_of_hydra_is_stated() -> Iterator[None]:
    # The suites expect the log of a job in its working directory, which is its folder only without a version_base.
    before = VersionBase.instance().version_base
    VersionBase.instance().version_base = Version("1.1")
    yield
    VersionBase.instance().version_base = before


@pytest.mark.filterwarnings("ignore:Future Hydra versions")
@pytest.mark.parametrize("launcher_name, overrides", [("stacked", [])])
class TestStackedLauncher(LauncherTestSuite):
    """Jobs of another application."""


@pytest.mark.filterwarnings("ignore:Future Hydra versions")
@pytest.mark.parametrize(
    "launcher_name, overrides", [("stacked", ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"])]
)
class TestStackedLauncherInBatches(BatchedSweeperTestSuite):
    """A sweeper that launches a few jobs at a time."""


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, STACKED)])
class TestStackedLauncherOfScripts(IntegrationTestSuite):
    """Scripts in processes of their own."""


@pytest.mark.parametrize("flags", [["-m"], STACKED], ids=" ".join)
def test_other_applications_import_nothing_of_ours(flags: list[str], tmp_path: Path) -> None:
    application = tmp_path / "application.py"
    application.write_text(APPLICATION)
    command = [sys.executable, application.name, *flags, "+a=1,2", "hydra.sweep.dir=sweep"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    printed = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[[")]
    assert [a for _, _, a in printed] == [1, 2]
    for scanned, heavy, _ in printed:
        assert heavy == []
        # Plugins of others may be installed beside ours.
        assert [name for name in scanned if "eckart" in name] == ["hydra_plugins.eckart_stacked_launcher"]
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"0", "1", "multirun.yaml"}


def test_no_launcher_is_found_twice() -> None:
    launchers = [launcher.__name__ for launcher in Plugins.instance().discover(Launcher)]
    assert sorted(launchers) == sorted(set(launchers)) and {"BasicLauncher", "StackedLauncher"} <= set(launchers)
