"""All that eckart uses of Hydra's undocumented parts; a new version of Hydra is tried against this file first."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict

TRIED = ("1.3.8",)
"""Versions of Hydra that this file was tried with; a test fails with any other minor version."""


def set_task_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Record the overrides of a job in its config, as Hydra's loader does: as a list, and as the name of a folder.

    Args:
        config: Composed config of the job, with Hydra's node.
        overrides: All overrides of the job; those of Hydra's own settings are left out.
    """
    names = config.hydra.job.config.override_dirname
    task = [override for override in overrides if not override.is_hydra_override()]
    with open_dict(config.hydra):
        config.hydra.overrides.task = [override.input_line for override in task]
        config.hydra.job.override_dirname = get_overrides_dirname(
            task, exclude_keys=names.exclude_keys, item_sep=names.item_sep, kv_sep=names.kv_sep
        )


@contextlib.contextmanager
def checked_as_composed(check: Callable[[DictConfig], None]) -> Iterator[None]:
    """Check each config when Hydra has composed it, before Hydra sets up logging, callbacks or launchers.

    Args:
        check: Raises an error if a config, with Hydra's node, must not be used.
    """
    load = ConfigLoaderImpl.load_configuration

    def checked(self: ConfigLoaderImpl, *args: Any, **kwargs: Any) -> DictConfig:
        composed = load(self, *args, **kwargs)
        check(composed)
        return composed

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


@contextlib.contextmanager
def current_job(config: DictConfig) -> Iterator[None]:
    """Make ``HydraConfig.get()`` and the ``hydra:`` resolver return the settings of one job.

    Unlike ``HydraConfig.set_config`` this copies nothing, so nobody may change Hydra's settings of the job meanwhile.
    """
    instance: Any = HydraConfig.instance()
    before = instance.cfg
    instance.cfg = config
    try:
        yield
    finally:
        instance.cfg = before
