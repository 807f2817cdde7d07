"""The laws that a composed config is held to, before anything heavy is imported."""

import importlib.util
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eckart.allowed import SETTING, check_target
from eckart.config import GROUPS, NETS, ConfigError, is_a, options, plain, settings_of, type_law
from eckart.printable import printable
from eckart.results.result import FIELDS
from eckart.results.settings import AUTO

# Keys under which a config names a class or a function: Hydra's, those of Optuna's sweeper, and those of logging.
_NAMING = ("_target_", "custom_search_space")


_NAMING_FOR_LOGGING = ("()", "class", "factory")


# A job that changes these decides what other programs this one starts, or what it may call.
_PROTECTED = re.compile(rf"PATH|(LD|DYLD|PYTHON).*|{SETTING}")


_LARGEST = 2**63


# Lightning's loggers whose packages come with an extra.
_PACKAGES = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow"}


# Those that start processes of their own (ddp_spawn, ddp_notebook) or shard the weights do not fit these methods.
_STRATEGIES = ("auto", "ddp")


# Optimizers of method=completion whose model has biases, and nothing that another method could train.
_OF_RATINGS = ("gibbs", "weighted_als")


def check(cfg: DictConfig, choices: dict[str, str], *, alone: bool = True) -> None:
    """Hold a composed config against every law that it can be held to without its data.

    Args:
        cfg: The composed root config.
        choices: The option chosen in each group, such as ``{"method": "svd"}``.
        alone: Whether it is a single run. In a sweep over ``rank=auto,5`` the jobs of a given rank need no rule, and
            that one was chosen for the others is no error.

    Raises:
        ConfigError: For the first law that is broken.
        ModuleNotFoundError: If a logger needs a package that is not installed.
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
    _check_model(cfg, choices)
    # Of a net, the budget can decide the ranks of its layers.
    free = cfg.rank == AUTO or (cfg.rank is None and cfg.method.get("needs") == NETS)
    if not free and not is_a(cfg.rank, int):
        raise ConfigError(type_law("rank", int, cfg.rank).replace("an integer", f"an integer or {AUTO}"))
    if not free and cfg.rank < 1:
        raise ConfigError(f"The rank must be at least 1. Found rank={cfg.rank}.")
    if not free:
        _check_rank(cfg)
    asked = [cfg.objective] if isinstance(cfg.objective, str) else cfg.objective
    numbers = [name for name, kind in FIELDS.items() if kind in (int, float)]
    if not isinstance(asked, list | ListConfig) or not asked or not set(asked) <= set(numbers):
        law = f"The objective must be a number of result.json, or a list of them: {', '.join(numbers)}"
        raise ConfigError(f"{law}. Found objective={cfg.objective}.")
    if not (cfg.figures is None or isinstance(cfg.figures, bool) or cfg.figures in ("png", "svg")):
        found = printable(repr(cfg.figures), 80)
        raise ConfigError(f"figures must be true, false, null, png or svg. Found {found}.")
    for group in GROUPS:
        if isinstance(cfg.get(group), DictConfig) and choices.get(group):
            _check_types(cfg[group], settings_of(group, choices[group]), group, cfg)
    _check_trainer(cfg.trainer)
    _check_selection(cfg, choices, alone=alone)
    _check_loggers(cfg.logger)
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


def _entries(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, key and value of everything that is not a container."""
    yield from _below(lambda: node, OmegaConf.to_container(node), path)


def _below(at: Callable[[], Any], values: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The entries of a container, whose values are known unresolved; to ask the config for each takes long."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        name = f"{path}[{key}]" if isinstance(values, list) else f"{path}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from _below(lambda key=key: at()[key], value, name)  # type: ignore[misc]
        elif isinstance(value, str) and "${" in value:
            yield from _resolved(at(), key, name)
        else:
            yield name, key, None if value == "???" else value


def _resolved(node: Any, key: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    try:
        value = None if OmegaConf.is_missing(node, key) else node[key]
    except OmegaConfBaseException:
        if key in _NAMING:
            # It could be resolved later, to anything.
            yield name, key, "an interpolation"
        return
    if isinstance(value, DictConfig | ListConfig):
        yield from _entries(value, name)
    else:
        yield name, key, value


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


def _check_rank(cfg: DictConfig) -> None:
    # What linalg.ranks says of the matrix itself, for those whose shape the config states: before torch is imported.
    source = cfg.data.get("source")
    if not isinstance(source, DictConfig) or not str(source.get("_target_")).startswith("eckart.data.targets."):
        return
    sides = [side for side in (cfg.data.get("rows"), cfg.data.get("cols")) if is_a(side, int) and side > 0]
    if sides and cfg.rank > min(sides):
        raise ConfigError(f"The rank must satisfy 1 <= rank <= min(m, n) = {min(sides)}. Found {cfg.rank}.")


def _check_model(cfg: DictConfig, choices: dict[str, str]) -> None:
    method, net = choices.get("method"), cfg.method.get("needs") == NETS
    if not net:
        for name, given in (("model", bool(cfg.model)), ("budget", cfg.budget is not None)):
            if given:
                raise ConfigError(f"{name}= is for methods that train a net. Found method={method}.")
        return
    if not cfg.model:
        raise ConfigError(f"method={method} needs a model: model=NAME. Found none.")
    if cfg.budget is not None:
        if not is_a(cfg.budget, float):
            raise ConfigError(type_law("budget", float, cfg.budget))
        if not 0 < cfg.budget <= 1:
            law = "The budget is the share of the dense model that may be left: above 0, and at most 1"
            raise ConfigError(f"{law}. Found budget={cfg.budget}.")
        if cfg.rank is not None:
            law = f"method={method} takes a budget, which decides the rank of each layer, or a rank"
            raise ConfigError(f"{law}. Found budget={cfg.budget} and rank={cfg.rank}.")
    if cfg.trainer.get("devices") != 1:
        law = f"method={method} is for one process: trainer.devices=1"
        raise ConfigError(f"{law}. Found trainer.devices={cfg.trainer.get('devices')}.")


def _check_selection(cfg: DictConfig, choices: dict[str, str], *, alone: bool) -> None:
    rule, settings = choices.get("selection", "best"), plain(cfg.get("selection"))
    if cfg.rank != AUTO:
        if alone and (rule != "best" or settings != plain(settings_of("selection", rule))):
            found = f"selection={rule} with rank={cfg.rank}"
            raise ConfigError(f"selection= is for rank={AUTO}, where a rule chooses the rank. Found {found}.")
        return
    if not settings:
        raise ConfigError(f"rank={AUTO} needs a rule that chooses it: selection=NAME. Found none.")
    if settings.get("rule") not in options("selection"):
        law = f"selection.rule must be one of: {', '.join(options('selection'))}"
        raise ConfigError(f"{law}. Found {printable(repr(settings.get('rule')), 80)}.")
    if cfg.trainer.get("devices") != 1:
        law = f"rank={AUTO} is for one process: trainer.devices=1; several need a rank that is given"
        raise ConfigError(f"{law}. Found trainer.devices={cfg.trainer.get('devices')}.")


def _check_trainer(trainer: DictConfig) -> None:
    # A process for each device is started before Lightning counts the devices.
    devices, most = trainer.get("devices"), max(2, os.cpu_count() or 1)
    if isinstance(devices, int) and not 1 <= devices <= most:
        law = f"trainer.devices must be from 1 to {most}, the number of cores of this machine"
        raise ConfigError(f"{law}. Found {devices}.")
    strategy = trainer.get("strategy")
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise ConfigError(f"trainer.strategy must be one of: {', '.join(_STRATEGIES)}. Found {strategy!r}.")


def _check_loggers(logger: DictConfig) -> None:
    for node in plain(logger.get("lightning"), resolve=False).values():
        needed = _PACKAGES.get(str(isinstance(node, dict) and node.get("_target_")).rpartition(".")[2])
        if needed is not None and importlib.util.find_spec(needed) is None:
            raise ModuleNotFoundError(name=needed)


def _check_fit(cfg: DictConfig, choices: dict[str, str]) -> None:
    method, data, needs = choices.get("method"), choices.get("data"), cfg.method.get("needs")
    if needs in ("labels", NETS) and not cfg.data.get("labeled"):
        law = f"method={method} needs labeled samples: data=mnist, data=fashion_mnist or data=digits"
        raise ConfigError(f"{law}. Found data={data}.")
    if needs != "entries" and data == "ratings":
        raise ConfigError(f"data=ratings has some entries only: method=completion. Found method={method}.")
    if needs != "entries" and choices.get("optimizer") in _OF_RATINGS:
        law = f"optimizer={choices['optimizer']} trains a model of ratings: method=completion"
        raise ConfigError(f"{law}. Found method={method}.")
    if needs != "entries" and cfg.data.get("observed") is not None:
        raise ConfigError(
            "data.observed is for methods that train on observed entries, such as method=completion. "
            f"Found data.observed={cfg.data.observed} with method={method}."
        )
    for name, callback in plain(cfg.callbacks, resolve=False).items():
        if needs == NETS and isinstance(callback, dict) and callback.get("monitor") == "accuracy":
            law = f"A net reads the test set once: callbacks.{name}.monitor=validation_accuracy"
            raise ConfigError(f"{law}. Found accuracy.")
        monitors = isinstance(callback, dict) and str(callback.get("_target_")).endswith(".LearningRateMonitor")
        if monitors and "lr" not in cfg.optimizer:
            law = f"optimizer={choices.get('optimizer')} has no learning rate that a callback could log"
            raise ConfigError(f"{law}. Found callbacks.{name}.")
    if choices.get("schedule", "constant") != "constant" and "lr" not in cfg.optimizer:
        found = f"schedule={choices['schedule']}"
        raise ConfigError(f"optimizer={choices['optimizer']} has no learning rate: schedule=constant. Found {found}.")
