"""Which version of Hydra the package was tried with, and where it uses what Hydra does not document."""

import ast
from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.completion_plugin import CompletionPlugin
from hydra.plugins.launcher import Launcher
from hydra.utils import get_class
from omegaconf import OmegaConf
from packaging.version import Version

from eckart.sweeps import hydra_internals
from eckart.sweeps.hydra_internals import TRIED, composed_once, current_job

ROOT = Path(__file__).parents[2]


def test_this_version_of_hydra_was_tried() -> None:
    tried = {Version(version).release[:2] for version in TRIED}
    assert Version(hydra.__version__).release[:2] in tried, (
        f"eckart.sweeps.hydra_internals was tried with Hydra {', '.join(TRIED)}. Found {hydra.__version__}: read that "
        "file, run tests/unit/test_composing.py and tests/integration/test_launcher_suites.py, and add the version."
    )


def test_private_modules_of_hydra_are_imported_in_one_file() -> None:
    users = set()
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if any("._" in f".{module}" and module.startswith("hydra.") for module in modules):
                users.add(path)
    assert users == {Path(str(hydra_internals.__file__))}


def test_the_basic_launcher_is_where_the_stacked_one_looks() -> None:
    Plugins.instance()
    node = ConfigStore.instance().load("hydra/launcher/basic.yaml").node
    assert issubclass(get_class(node._target_), Launcher)


def test_hydras_settings_are_those_of_the_current_job() -> None:
    before = HydraConfig.instance().cfg
    config = OmegaConf.create({"hydra": {"job": {"num": 7}}})
    with pytest.raises(KeyError), current_job(config):
        assert HydraConfig.get().job.num == 7
        raise KeyError
    assert HydraConfig.instance().cfg is before


def test_the_shell_completes_the_keys_that_a_user_sets() -> None:
    config = OmegaConf.create({"optimizer": {"_target_": "x", "betas": [0.9, 0.99], "lr": 0.1, "part": {"a": 1}}})
    before = CompletionPlugin._get_matches(config, "optimizer.")
    assert "optimizer._target_=" in before and "optimizer.betas." in before
    with composed_once(lambda _: None, str):
        found = CompletionPlugin._get_matches(config, "optimizer.")
        assert found == ["optimizer.betas=", "optimizer.lr=", "optimizer.part."]
        assert CompletionPlugin._get_matches(config, "optimizer.lr=") == ["optimizer.lr=0.1"]
    assert CompletionPlugin._get_matches(config, "optimizer.") == before
