"""The config before anything heavy is imported: its schema, its laws, and what ``--help`` says of it."""

import difflib
import functools
import math
import os
import re
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import eckart
from eckart.allowed import SETTING, check_target
from eckart.printable import printable
from eckart.results.result import FIELDS

# Keys under which a config names a class or a function: Hydra's, those of Optuna's sweeper, and those of logging.
_NAMING = ("_target_", "custom_search_space")
_NAMING_FOR_LOGGING = ("()", "class", "factory")
# A job that changes these decides what other programs this one starts, or what it may call.
_PROTECTED = re.compile(rf"PATH|(LD|DYLD|PYTHON).*|{SETTING}")
_LARGEST = 2**63
# Those that start processes of their own (ddp_spawn, ddp_notebook) or shard the weights do not fit these methods.
_STRATEGIES = ("auto", "ddp")

GROUPS = ("method", "data", "optimizer", "schedule", "trainer", "logger", "callbacks", "experiment")


@dataclass
class TrainConfig:
    """Schema of the root config; a wrong key or type is refused as Hydra composes."""

    rank: int = 10
    seed: int = 0
    name: str | None = None
    ckpt: str | None = None
    resume: str | None = None
    figures: bool | None = None
    objective: Any = "relative_frobenius"
    data: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
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
    OmegaConf.register_new_resolver("eckart.choices", describe_choices, replace=True)


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


def check(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Hold a composed config against every law that it can be held to without its data.

    Args:
        cfg: The composed root config.
        choices: The option chosen in each group, such as ``{"method": "svd"}``.

    Raises:
        ConfigError: For the first law that is broken.
    """
    for group in ("method", "data", "optimizer", "trainer", "logger"):
        if not cfg[group]:
            raise ConfigError(f"There must be a choice {group}=NAME. Found none.")
    for group in GROUPS:
        for key, value in plain(cfg.get(group), resolve=False).items():
            if value == "???":
                raise ConfigError(f"{group}={choices.get(group)} needs a {key}: {group}.{key}={key.upper()}.")
    check_targets(cfg)
    _check_numbers(cfg)
    if cfg.rank < 1:
        raise ConfigError(f"The rank must be at least 1. Found rank={cfg.rank}.")
    asked = [cfg.objective] if isinstance(cfg.objective, str) else cfg.objective
    numbers = [name for name, kind in FIELDS.items() if kind in (int, float)]
    if not isinstance(asked, list | ListConfig) or not asked or not set(asked) <= set(numbers):
        law = f"The objective must be a number of result.json, or a list of them: {', '.join(numbers)}"
        raise ConfigError(f"{law}. Found objective={cfg.objective}.")
    for group in GROUPS:
        if isinstance(cfg.get(group), DictConfig) and choices.get(group):
            _check_types(cfg[group], settings_of(group, choices[group]), group, cfg)
    _check_trainer(cfg.trainer)
    _check_fit(cfg, choices)


def check_targets(cfg: DictConfig) -> None:
    """Hold every class and function that a config names against the allow-list, before any is imported or called.

    Args:
        cfg: A composed root config, with or without Hydra's own node.

    Raises:
        ConfigError: For the first name that is not allowed; see ``eckart.allowed``.
    """
    try:
        for path, key, value in _entries(cfg, ""):
            logging = path.startswith(("hydra.job_logging.", "hydra.hydra_logging."))
            if key in _NAMING or (logging and key in _NAMING_FOR_LOGGING):
                if value is not None:
                    check_target(str(value), path)
            elif logging and isinstance(value, str) and value.startswith("ext://sys.std"):
                continue
            elif logging and isinstance(value, str) and "ext://" in value:
                check_target(value.partition("ext://")[2], path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    hydra = cfg.get("hydra")
    for name in (hydra and hydra.job.get("env_set")) or {}:
        if _PROTECTED.fullmatch(str(name)):
            raise ConfigError(f"hydra.job.env_set must not set PATH, LD_*, DYLD_*, PYTHON* or {SETTING}. Found {name}.")


def plain(node: DictConfig | None, *, resolve: bool = True) -> dict[str, Any]:
    """A config as a dictionary; an empty one for a group of which nothing is chosen."""
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=resolve)) if node else {}


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
        >>> type_law("figures", bool | None, "text")
        "figures must be true, false or null. Found 'text'."
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
    lines = []
    for group in GROUPS:
        lines.append(f"  {group}=")
        for name in options(group):
            mark = "*" if defaults.get(group) == name else " "
            lines.append(f"  {mark} {name:<22} {_headline(config_dir() / group / f'{name}.yaml')}")
        lines.append("")
    return "\n".join(lines).strip()


def _headline(path: Path) -> str:
    comments = (line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def _entries(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, key and value of everything that is not a container."""
    keys: Iterable[Any] = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        name = f"{path}[{key}]" if isinstance(node, ListConfig) else f"{path}.{key}".lstrip(".")
        try:
            value = None if OmegaConf.is_missing(node, key) else node[key]
        except OmegaConfBaseException:
            if key in _NAMING:
                # It could be resolved later, to anything.
                yield name, key, "an interpolation"
            continue
        if isinstance(value, DictConfig | ListConfig):
            yield from _entries(value, name)
        else:
            yield name, key, value


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


def _check_types(values: DictConfig, defaults: DictConfig, path: str, root: DictConfig) -> None:
    # The type of a value is the type of its default, so a new method needs no schema beside its yaml file.
    for key, default in plain(defaults, resolve=False).items():
        value, name = values.get(key), f"{path}.{key}"
        if isinstance(default, dict) and isinstance(value, DictConfig):
            _check_types(value, defaults[key], name, root)
            continue
        if isinstance(default, str) and (reference := re.fullmatch(r"\$\{([\w.]+)\}", default)):
            default = OmegaConf.select(root, reference[1])
        if default == "???" and not isinstance(value, str):
            raise ConfigError(type_law(name, str, value))
        if isinstance(default, bool | int | float | list) and not is_a(value, type(default)):
            raise ConfigError(type_law(name, type(default), value))


def is_a(value: Any, kind: type) -> bool:
    """Whether a value fits the type of its default: an integer is a number too, and true is neither.

    Example:
        >>> is_a(1, float), is_a(True, float), is_a(1.0, int)
        (True, False, False)
    """
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, ListConfig) if kind is list else type(value) is kind


def _check_numbers(cfg: DictConfig) -> None:
    # data.rows before data.source.rows, which repeats it.
    for path, _, value in sorted(_entries(cfg, ""), key=lambda entry: entry[0].count(".")):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            raise ConfigError(f"{path} must be between -2^63 and 2^63. Found {printable(value, 40)}.")
        if not math.isfinite(value):
            raise ConfigError(f"{path} must be finite. Found {value}.")
        if value < 0 and path.startswith(("optimizer.", "schedule.")):
            raise ConfigError(f"{path} must not be negative. Found {value}.")


def _check_trainer(trainer: DictConfig) -> None:
    # A process for each device is started before Lightning counts the devices.
    devices, most = trainer.get("devices"), max(2, os.cpu_count() or 1)
    if isinstance(devices, int) and not 1 <= devices <= most:
        law = f"trainer.devices must be from 1 to {most}, the number of cores of this machine"
        raise ConfigError(f"{law}. Found {devices}.")
    strategy = trainer.get("strategy")
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise ConfigError(f"trainer.strategy must be one of: {', '.join(_STRATEGIES)}. Found {strategy!r}.")


def _check_fit(cfg: DictConfig, choices: dict[str, str]) -> None:
    method, data, needs = choices.get("method"), choices.get("data"), cfg.method.get("needs")
    if needs == "labels" and not cfg.data.get("labeled"):
        raise ConfigError(f"method={method} needs labeled samples: data=mnist or data=digits. Found data={data}.")
    if needs != "mask" and cfg.data.get("observed") is not None:
        raise ConfigError(
            "data.observed is for methods that train on observed entries, such as method=completion. "
            f"Found data.observed={cfg.data.observed} with method={method}."
        )
    if choices.get("schedule", "constant") != "constant" and "lr" not in cfg.optimizer:
        found = f"schedule={choices['schedule']}"
        raise ConfigError(f"optimizer={choices['optimizer']} has no learning rate: schedule=constant. Found {found}.")
