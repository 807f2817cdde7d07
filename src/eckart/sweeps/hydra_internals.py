"""All that eckart uses of Hydra's undocumented parts; a new version of Hydra is tried against this file first."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.plugins.completion_plugin import CompletionPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

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
def composed_once(check: Callable[[DictConfig], None], choices: Callable[[], str]) -> Iterator[None]:
    """Compose the config of a command once, check it at once, and list choices only in a help that shows them.

    Hydra composes the config to learn whether it is a sweep, drops it, and composes it again with ``hydra.mode``: here
    that one is set in the config that it has. The check comes before Hydra sets up logging, callbacks or launchers.
    The completion of the shell offers the keys that a user sets.
    Hydra looks through all groups, its own and those of the application, whatever the template of the help shows.

    Args:
        check: Raises an error if a config, with Hydra's node, must not be used.
        choices: Makes the text of ``$APP_CONFIG_GROUPS`` in the template of the help.
    """
    load, groups, kept = ConfigLoaderImpl.load_configuration, Hydra.format_config_groups, _Composed(check)
    matches = CompletionPlugin._get_matches

    def composed(self: ConfigLoaderImpl, *args: Any, **kwargs: Any) -> DictConfig:
        return kept.load(functools.partial(load, self), *args, **kwargs)

    def listed(self: Hydra, wanted: Callable[[str], bool], compact: bool = True) -> Any:
        return _Text(functools.partial(groups, self, wanted, compact) if wanted("hydra") else choices)

    def offered(config: Any, word: str) -> list[Any]:
        return [kept for match in matches(config, word) if (kept := _offered(config, match)) is not None]

    CompletionPlugin._get_matches = staticmethod(offered)  # type: ignore[method-assign, assignment]
    ConfigLoaderImpl.load_configuration = composed  # type: ignore[method-assign]
    Hydra.format_config_groups = listed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        CompletionPlugin._get_matches = staticmethod(matches)  # type: ignore[method-assign, assignment]
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]
        Hydra.format_config_groups = groups  # type: ignore[method-assign]


def _offered(config: Any, match: Any) -> Any:
    """A key as the shell completes it: none of Hydra's own, such as ``_target_``, and of a list the whole."""
    if not isinstance(match, str) or not match.endswith(("=", ".")):
        return match
    key = match[:-1]
    if key.rpartition(".")[2].startswith("_"):
        return None
    return f"{key}=" if match.endswith(".") and OmegaConf.is_list(OmegaConf.select(config, key)) else match


class _Composed:
    """What was composed, or the error, when Hydra asked for the mode; for its next question alone."""

    def __init__(self, check: Callable[[DictConfig], None]) -> None:
        self._check = check
        self._asked: list[str] = []
        self._found: DictConfig | Exception | None = None

    def load(
        self,
        load: Callable[..., DictConfig],
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        if run_mode == RunMode.MULTIRUN and not validate_sweep_overrides:
            return self._first(load, config_name, overrides)
        found, self._found = self._found, None
        if found is None or overrides[:-1] != self._asked or overrides[-1:] != [f"hydra.mode={run_mode.name}"]:
            return self._checked(load(config_name, overrides, run_mode, from_shell, validate_sweep_overrides))
        if isinstance(found, Exception):
            raise found
        if validate_sweep_overrides:
            parsed = OverridesParser.create().parse_overrides(overrides)
            ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        found.hydra.mode = run_mode
        found.hydra.overrides.hydra.append(overrides[-1])
        return found

    def _first(self, load: Callable[..., DictConfig], config_name: str | None, overrides: list[str]) -> DictConfig:
        self._asked, self._found = list(overrides), None
        try:
            # As for a run: a group that a sweep alone may leave open is an error here, of which Hydra is asked again.
            self._found = self._checked(load(config_name, overrides, RunMode.RUN, True, False))
            return self._found
        except ConfigCompositionException as error:
            if "You must specify" in str(error):
                return load(config_name, overrides, RunMode.MULTIRUN, True, False)
            self._found = error
            raise
        except Exception as error:
            self._found = error
            raise

    def _checked(self, composed: DictConfig) -> DictConfig:
        self._check(composed)
        return composed


class _Text:
    """A text that is made when it is shown."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __str__(self) -> str:
        return self._make()


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
