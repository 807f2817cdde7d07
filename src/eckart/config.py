"""The config before anything heavy is imported: its schema, its folder, and what ``--help`` says of it."""

import difflib
import functools
import os
import re
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

import eckart
from eckart.printable import printable
from eckart.results.screen import Screen
from eckart.results.settings import AUTO

GROUPS = (
    *("method", "data", "model", "selection", "optimizer", "schedule"),
    *("trainer", "logger", "callbacks", "experiment"),
)


NETS = "samples"
"""What a method needs that trains a net: labeled samples, a part of them apart for validation."""


@dataclass
class TrainConfig:
    """Schema of the root config; a wrong key or type is refused as Hydra composes.

    Attributes:
        rank: An integer from 1 to the shorter side of the target, or ``auto``.
        budget: Above 0 and at most 1, for methods that train a net, and not beside a rank; or null.
        figures: ``true``, ``false``, ``null``, ``png`` or ``svg``.
        objective: A name of a number in ``result.json``, or a list of such names.
    """

    rank: Any = 10
    budget: Any = None
    seed: int = 0
    name: str | None = None
    ckpt: str | None = None
    resume: str | None = None
    figures: Any = None
    report: bool | None = None
    objective: Any = "relative_frobenius"
    data: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    claim: dict[str, Any] = field(default_factory=dict)


class ConfigError(ValueError):
    """A value of the user's that cannot be run; its message is the one line they see."""


def config_dir() -> Path:
    """Folder of the configs: inside the installed package, in a checkout beside ``src/``."""
    package = Path(str(eckart.__file__)).parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def register() -> None:
    """Make the schema and the resolvers known to Hydra."""
    ConfigStore.instance().store(name="schema", node=TrainConfig)
    token = os.urandom(4).hex()
    OmegaConf.register_new_resolver("eckart.token", lambda: token, replace=True)
    OmegaConf.register_new_resolver("eckart.folder_name", folder_name, replace=True)


def folder_name(swept: str, number: int) -> str:
    """Name of a job's folder inside its sweep's: what was swept, or the job's number where that is no name.

    Example:
        >>> folder_name("rank=5,seed=3", 7)
        'rank=5,seed=3'
        >>> folder_name("data.path=../secret/a.npy", 7)
        'data.path=.._secret_a.npy-7'
        >>> folder_name("", 7)
        '7'
    """
    name = re.sub(r"[^\w=,.+\-\[\]]+", "_", swept).lstrip(".")
    if not 0 < len(name.encode()) <= 200:
        return str(number)
    # Two values that differ only in what a folder's name cannot hold are told apart by their number.
    return name if name == swept else f"{name}-{number}"


def plain(node: DictConfig | None, *, resolve: bool = True) -> dict[str, Any]:
    """A config as a dictionary; an empty one for a group of which nothing is chosen."""
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=resolve)) if node else {}


def deciding(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    """A config as a dictionary, without the rule of a rank that is a number and that nothing chooses."""
    whole = plain(config, resolve=resolve)
    return whole if whole.get("rank") == AUTO else {key: value for key, value in whole.items() if key != "selection"}


def without_hydra(config: DictConfig) -> DictConfig:
    """The root config without the node of Hydra's own settings."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def nearest(word: str, known: Iterable[str]) -> str:
    """Clause that names the nearest of the known words, or all of them where none is near.

    Example:
        >>> nearest("botleneck", ["svd", "bottleneck"])
        'Did you mean bottleneck?'
        >>> nearest("x", ["svd", "bottleneck"])
        'It is one of: bottleneck, svd.'
    """
    known = sorted(option for option in known if not option.startswith("_"))
    if not known:
        return "There are none here."
    near = difflib.get_close_matches(word, known, n=2)
    return f"Did you mean {' or '.join(near)}?" if near else f"It is one of: {', '.join(known)}."


def type_law(name: str, kind: Any, value: Any) -> str:
    """Line that says of which type a value must be.

    Example:
        >>> type_law("rank", int, "ten")
        "rank must be an integer. Found 'ten'."
        >>> type_law("name", str | None, [1])
        'name must be text or null. Found [1].'
    """
    kinds = {bool: "true or false", int: "an integer", float: "a number", list: "a list, as in [1,2]"}
    law = kinds.get(kind, "text")
    if isinstance(kind, types.UnionType):
        options = [kinds.get(option, "text") for option in typing.get_args(kind) if option is not types.NoneType]
        law = f"{' or '.join(options)} or null".replace("true or false or", "true, false or")
    return f"{name} must be {law}. Found {'null' if value is None else printable(repr(value), 80)}."


def options(group: str) -> list[str]:
    """Names of the options of a group.

    Example:
        >>> options("schedule")
        ['constant', 'cosine', 'exponential']
    """
    return sorted(path.stem for path in (config_dir() / group).glob("[!_]*.yaml"))


def whose(path: str) -> str:
    """Clause that names other choices, at most two, that have a key which is not known where it was asked for.

    Args:
        path: The key with its path; without one, its path is what is looked for.

    Returns:
        The clause, with a space before it; nothing where no choice has the key, or no group alone has it.

    Example:
        >>> whose("data.path"), whose("vectors")
        (' data=file and data=ratings have data.path.', ' Did you mean method.vectors?')
        >>> whose("data.pfad"), whose("name")
        ('', '')
    """
    group, _, key = path.rpartition(".")
    if group:
        having = [name for name in (options(group) if group in GROUPS else []) if key in _keys(group, name)]
        # Those whose own line says so come first.
        having.sort(key=lambda name: path not in _headline(config_dir() / group / f"{name}.yaml").partition(":")[0])
        found = sorted(having[:2])
        named = " and ".join(f"{group}={name}" for name in found)
        return f" {named} {'has' if len(found) == 1 else 'have'} {path}." if found else ""
    groups = [group for group in GROUPS if any(key in _keys(group, name) for name in options(group))]
    return f" Did you mean {' or '.join(f'{group}.{key}' for group in groups)}?" if 1 <= len(groups) <= 2 else ""


def _keys(group: str, name: str) -> list[str]:
    return [
        str(key) for key in settings_of(group, name) if not str(key).startswith("_") and key not in ("needs", "rule")
    ]


def chosen_by(choice: str) -> str:
    """Name of the optimizer that comes with a method, if the user chooses none.

    Example:
        >>> chosen_by("bottleneck"), chosen_by("svd")
        ('riemannian_cg', 'none')
    """
    files = [config_dir() / "method" / f"{choice}.yaml", config_dir() / "train.yaml"]
    entries = [entry for path in files for entry in _yaml(path).defaults or [] if isinstance(entry, DictConfig)]
    keys = ("override /optimizer@_global_.optimizer", "optimizer")
    return next(str(entry[key]) for entry in entries for key in keys if key in entry)


def describe_choices() -> str:
    """List the options of each group with the line that heads its file."""
    defaults = {
        group: name
        for entry in _yaml(config_dir() / "train.yaml").defaults
        if isinstance(entry, DictConfig)
        for group, name in entry.items()
    }
    screen, lines = Screen.of(sys.stdout), []
    for group in GROUPS:
        lines.append(f"  {group}=")
        for name in options(group):
            mark = "*" if defaults.get(group) == name else " "
            said = f"  {mark} {name:<22} {_headline(config_dir() / group / f'{name}.yaml')}"
            lines += screen.wrap(said, indent=" " * 27)
        lines.append("")
    return "\n".join(lines).rstrip()


def _headline(path: Path) -> str:
    comments = (line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")


@functools.cache
def _yaml(path: Path) -> DictConfig:
    loaded = OmegaConf.load(path)
    return loaded if isinstance(loaded, DictConfig) else OmegaConf.create({})


@functools.cache
def settings_of(group: str, choice: str) -> DictConfig:
    """The settings of an option, as its file has them; empty where there is no such file.

    Example:
        >>> settings_of("optimizer", "scaled_gd").damping
        1e-06
    """
    path = config_dir() / group / f"{choice}.yaml"
    if not path.is_file():
        return OmegaConf.create({})
    own = _yaml(path)
    inherited = [settings_of(group, base) for base in own.get("defaults") or [] if isinstance(base, str)]
    merged = OmegaConf.merge(*inherited, OmegaConf.masked_copy(own, [str(key) for key in own if key != "defaults"]))
    assert isinstance(merged, DictConfig)
    return merged


def is_a(value: Any, kind: type) -> bool:
    """Whether a value fits the type of its default: an integer is a number too, and true is neither.

    Example:
        >>> is_a(1, float), is_a(True, float), is_a(1.0, int)
        (True, False, False)
    """
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, ListConfig) if kind is list else type(value) is kind
