"""The configuration pages: every option and key, with a meaning, a default and a law that hold."""

import doctest
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from omegaconf import OmegaConf

from eckart import config
from eckart.optim.gibbs import Gibbs

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
site_configuration = importlib.import_module("site_configuration")
site_docstrings = importlib.import_module("site_docstrings")
site_laws = importlib.import_module("site_laws")
sys.path.remove(SCRIPTS)
GROUPS = (*config.GROUPS, *site_configuration.LAUNCHING)


@pytest.fixture(scope="module")
def found() -> dict[str, list[Any]]:
    """Options by group."""
    return {group: site_configuration.read_options(group) for group in GROUPS}


@pytest.mark.parametrize("module", [site_configuration, site_docstrings, site_laws], ids=lambda module: module.__name__)
def test_the_examples_of_its_docstrings(module: ModuleType) -> None:
    ran = doctest.testmod(module)
    assert ran.attempted and not ran.failed


def test_every_key_has_a_meaning_and_a_law(found: dict[str, list[Any]]) -> None:
    keys = [(option, key) for options in found.values() for option in options for key in option.keys]
    keys += [("root", key) for key in site_configuration.root_keys()]
    bare = [f"{getattr(option, 'name', option)}: {key.path}" for option, key in keys if not (key.meaning and key.law)]
    assert len(keys) > 150 and not bare, bare


def test_every_option_is_there_with_the_values_that_its_file_sets(found: dict[str, list[Any]]) -> None:
    for group, read in found.items():
        assert [option.name for option in read] == config.options(group)
        for option in read:
            assert option.headline, option
            if group != "experiment":
                settings = config.settings_of(group, option.name)
                for key in option.keys:
                    path = key.path.removeprefix(f"{group.replace('/', '.')}.")
                    raw = OmegaConf.to_container(settings)
                    for part in path.split("."):
                        raw = raw[part]  # type: ignore[index, call-overload]
                    assert key.default == site_configuration.shown(raw), key


def test_laws_are_those_of_the_config(found: dict[str, list[Any]]) -> None:
    laws = {(option.name, key.path): key.law for options in found.values() for option in options for key in option.keys}
    assert laws["bottleneck", "method.max_steps"] == "An integer."
    assert laws["adam", "optimizer.lr"] == "A number, not negative."
    assert laws["bottleneck", "method.probes"] == "`orthogonal`, `gaussian` or `uniform`."
    assert laws["bottleneck", "method.transpose"] == "True or false."
    assert laws["file", "data.path"] == "Text, which must be given."
    assert (
        laws["gaussian", "data.seed"] == "As of `seed`." and laws["stacked_slurm", "hydra.launcher.folder"] == "Text."
    )
    assert laws["bottleneck", "method.vectors"] == "An integer, or null."
    root = {key.path: key.law for key in site_configuration.root_keys()}
    assert root["seed"] == "An integer." and root["name"] == "Text or null." and "auto" in root["rank"]


def test_what_a_class_and_its_source_refuse_is_said(found: dict[str, list[Any]]) -> None:
    (gaussian,) = (option for option in found["data"] if option.name == "gaussian")
    assert any("scale of 0" in said for said in gaussian.refused) and len(gaussian.refused) == 2


def test_a_key_without_a_comment_takes_the_words_of_the_docstring(found: dict[str, list[Any]]) -> None:
    said = site_docstrings.documented_arguments(Gibbs)
    assert said["burn_in"] == "Steps before the first sample that counts."
    meanings = {(option.name, key.path): key.meaning for option in found["optimizer"] for key in option.keys}
    assert meanings["riemannian_cg", "optimizer.damping"]


def test_pages_show_all_of_it(found: dict[str, list[Any]], tmp_path: Path) -> None:
    site_configuration.write(tmp_path)
    for group, read in found.items():
        page = (tmp_path / f"{group.replace('/', '_')}.md").read_text(encoding="utf-8")
        for option in read:
            assert f"## {group}={option.name}\n" in page
            assert all(f"`{key.path}` = `{key.default}`\n: {key.meaning}" in page for key in option.keys)
    assert "`rank` = `10`" in (tmp_path / "index.md").read_text(encoding="utf-8")
