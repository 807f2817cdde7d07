"""Configs of a sweep's jobs: jobs that differ only in plain values share the work of composing."""

import functools
import pickle
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eckart.sweeps.hydra_internals import set_task_overrides

# Configs that are kept for the launcher after the sweeper has checked them, about 300 kB each.
_KEPT = 300


class SweepComposer:
    """A config loader: Hydra composes the first job of each kind, and the other jobs of that kind are copies of it.

    Two jobs are of one kind if their overrides have the same keys in the same order and differ only in plain values:
    a number, a text, true, false or null, for a key that is no config group. Hydra merges such a value last, into a
    config that is otherwise the same; so setting the value in a copy gives the config that Hydra would compose.

    A sweeper composes each job to check it, and discards the config; that config is kept and given to the launcher.

    Args:
        loader: Hydra's loader, which answers every other call.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        parser = OverridesParser.create()
        self._parse = functools.cache(lambda line: parser.parse_overrides([line])[0])
        self._is_group = functools.cache(lambda key: bool(loader.get_group_options(key)))
        self._composed: dict[tuple[Any, ...], bytes] = {}
        self._checked: dict[tuple[Any, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[type["SweepComposer"], tuple[ConfigLoader]]:
        return SweepComposer, (self._loader,)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Config of one job; overrides that cannot be merged raise the errors of Hydra's own loader."""
        config = self._compose(master_config, sweep_overrides)
        if len(self._checked) < _KEPT:
            self._checked[id(master_config), *sweep_overrides] = config
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def take(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Config of one job for the launcher, which may change it: each call returns a config of its own."""
        config = self._checked.pop((id(master_config), *sweep_overrides), None)
        if config is None:
            config = self._compose(master_config, sweep_overrides)
        # Values that were resolved for the whole sweep in the meantime, such as the time, hold for all its jobs.
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _compose(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        overrides = [self._parse(line) for line in sweep_overrides]
        changes = [override for override in overrides if self._is_plain(override, overrides)]
        kind = (id(master_config), *(o.key_or_group if o in changes else o.input_line for o in overrides))
        if kind not in self._composed:
            self._composed[kind] = pickle.dumps(self._loader.load_sweep_config(master_config, sweep_overrides), -1)
        config = pickle.loads(self._composed[kind])
        try:
            for change in changes:
                OmegaConf.update(config, change.key_or_group, change.value(), merge=True)
        except OmegaConfBaseException:
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        set_task_overrides(config, overrides)
        return config

    def _is_plain(self, override: Override, among: Sequence[Override]) -> bool:
        key = override.key_or_group
        return (
            not (override.is_delete() or override.is_add() or override.is_force_add())
            and override.package is None
            and not override.is_hydra_override()
            and isinstance(override.value(), str | int | float | None)
            and not self._is_group(key)
            and not any(
                _overlap(key, other.key_or_group) for other in among if other is not override and self._sets(other)
            )
        )

    def _sets(self, override: Override) -> bool:
        # Hydra applies the choice of an option before every value, wherever it stands.
        return not self._is_group(override.key_or_group) or isinstance(override.value(), dict)


def copied(config: DictConfig) -> DictConfig:
    """A copy of a config; ``copy.deepcopy`` takes several times as long.

    Args:
        config: The config, with no parent.
    """
    copy = pickle.loads(pickle.dumps(config, -1))
    assert isinstance(copy, DictConfig)
    return copy


def _overlap(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
