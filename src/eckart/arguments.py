"""The command line before Hydra reads it: names of job folders, and the folder of a run or sweep to resume."""

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from eckart.config import NETS, ConfigError, settings_of
from eckart.results.terminal import shown

_RESUME = "resume"


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments that Hydra is given.

    Hydra leaves a key out of a job's folder name only if the key is listed. The list added here holds every key that
    is not swept. An experiment can be a sweep without ``-m``, so the list is added to every command. ``resume=`` sets
    the folder to write to. With ``data=operator`` the keys below ``data.arguments`` are those of the user's callable,
    which no config file lists, so Hydra is told to add them; those below ``model.arguments`` likewise. With
    ``data=ratings`` the method is ``completion`` and the optimizer ``gibbs``, unless others are named. A method that
    trains a net has no rank, and a budget of .1, unless the one or the other is named. Loggers below
    ``logger.lightning`` replace the default logger.

    Raises:
        ConfigError: If there is nothing to resume, or for a flag that would load a pickle.

    Example:
        >>> prepared(["-m", "method=svd", "rank=1,2"])
        ['-m', "hydra.job.config.override_dirname.exclude_keys=['method']", 'method=svd', 'rank=1,2']
    """
    if any(map(_loads_a_pickle, arguments)):
        raise ConfigError("Hydra's flag --experimental-rerun loads a pickle, which can run any code: it is refused.")
    for choice, arguments_of in (("data=operator", "data.arguments."), ("model=callable", "model.arguments.")):
        if choice in arguments:
            arguments = [f"++{word}" if word.startswith(arguments_of) else word for word in arguments]
    arguments = _with_budget(arguments)
    if "data=ratings" in arguments:
        # A config of data cannot choose what stands behind it in the list of defaults.
        chosen = {"method": "completion", "optimizer": "gibbs"}
        taken = {word.lstrip("+").partition("=")[0] for word in arguments}
        added = [f"{group}={name}" for group, name in chosen.items() if group not in taken]
        place = list(arguments).index("data=ratings")
        arguments = [*arguments[:place], *added, *arguments[place:]]
    named = [argument.lstrip("+") for argument in arguments]
    if any(name.startswith("logger.lightning") for name in named) and not any(map(_names_a_logger, named)):
        first = next(place for place, name in enumerate(named) if name.startswith("logger.lightning"))
        arguments = [*arguments[:first], "logger=csv", *arguments[first:]]
    plain = [argument for argument in arguments if _is_override(argument)]
    try:
        overrides = OverridesParser.create().parse_overrides(plain)
    except HydraException:
        return list(arguments)
    # Of two that set the same key, the last one counts.
    swept = {override.key_or_group: override.is_sweep_override() for override in overrides}
    fixed = [key for key in swept if not swept[key]]
    added = [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(_quoted, fixed))}]"] if fixed else []
    for override in overrides:
        if override.key_or_group == _RESUME and override.value() is not None:
            folder = _earlier(override, overrides, swept=bool({"-m", "--multirun"} & set(arguments)))
            added += [f"hydra.{mode}.dir={_quoted(str(folder))}" for mode in ("sweep", "run")]
    if not added:
        return list(arguments)
    first = list(arguments).index(plain[0])
    return [*arguments[:first], *added, *arguments[first:]]


def resuming(arguments: Sequence[str], folder: Path) -> str:
    """The command that resumes the run or sweep of a folder.

    Args:
        arguments: The command line as typed, with the name of the program.
        folder: The folder of the run or of the sweep.
    """
    program = Path(arguments[0])
    command = ["python", arguments[0]] if program.suffix == ".py" else [program.name]
    settled = ("resume=", "hydra.sweep.dir=", "hydra.run.dir=")
    kept = [argument for argument in arguments[1:] if not argument.startswith(settled)]
    # Next to the other overrides: Hydra reads no override that follows a flag that follows overrides.
    place = 1 + max((place for place, argument in enumerate(kept) if _is_override(argument)), default=len(kept) - 1)
    return shlex.join([*command, *kept[:place], f"{_RESUME}={_typed(shown(folder))}", *kept[place:]])


def _with_budget(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the budget of a method that trains a net where nothing says how small it is to be."""
    chosen = next((word.partition("=")[2] for word in arguments if word.startswith("method=")), None)
    if chosen is None or not all(settings_of("method", name).get("needs") == NETS for name in chosen.split(",")):
        return list(arguments)
    taken = {word.lstrip("+").partition("=")[0] for word in arguments}
    added = [] if "rank" in taken else ["rank=null"]
    if not taken & {"rank", "budget", "method.tolerance", "experiment"}:
        added.append("budget=0.1")
    place = next(place for place, word in enumerate(arguments) if word.startswith("method="))
    return [*arguments[:place], *added, *arguments[place:]]


def _loads_a_pickle(argument: str) -> bool:
    # Hydra's parser takes any beginning of a flag that is unique, such as --exp.
    flag = argument.partition("=")[0]
    return len(flag) > 2 and "--experimental-rerun".startswith(flag)


def _names_a_logger(override: str) -> bool:
    return override.startswith(("logger=", "logger.wandb", "~logger"))


def _is_override(argument: str) -> bool:
    return argument.startswith("~") or ("=" in argument and not argument.startswith("-"))


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _typed(text: str) -> str:
    with contextlib.suppress(HydraException):
        if OverridesParser.create().parse_override(f"{_RESUME}={text}").value() == text:
            return text
    return _quoted(text)


def _earlier(resume: Override, overrides: Sequence[Override], *, swept: bool) -> Path:
    value = resume.value()
    # The name of a folder can look like a number, as in resume=007.
    asked = value if isinstance(value, str) else (resume.input_line or "").partition("=")[2]
    if asked != "latest":
        if not Path(asked).is_dir():
            raise ConfigError(f"There must be a run or a sweep to resume. Found no folder at resume={asked}.")
        return Path(asked)
    wanted = _comparable(override.input_line or "" for override in overrides if not override.is_hydra_override())
    roots = ["multirun"] if swept else ["multirun", "outputs"]
    modes = ["sweep"] if swept else ["sweep", "run"]
    if named := [folder for mode in modes if (folder := _named(f"hydra.{mode}.dir", overrides))]:
        roots, folders = list(map(str, named)), named
    else:
        folders = sorted((path for root in roots for path in Path(root).glob("*/*")), key=lambda path: path.parts[1:])
    for folder in reversed(folders):
        found = _overrides(folder, swept=swept)
        if found is not None and _comparable(found) == wanted:
            return folder
    raise ConfigError(
        f"resume=latest resumes the last run of the same command. Found none in {' or '.join(roots)}: "
        "resume=FOLDER names any."
    )


def _named(key: str, overrides: Sequence[Override]) -> Path | None:
    """A folder that the command names; None where it names none, or one that depends on the time or the config."""
    given = next((override for override in reversed(overrides) if override.key_or_group == key), None)
    if given is None or given.is_sweep_override():
        return None
    value = given.value()
    text = value if isinstance(value, str) else (given.input_line or "").partition("=")[2]
    return None if "${" in text or not text else Path(text)


def _overrides(folder: Path, *, swept: bool) -> list[str] | None:
    try:
        if (folder / "multirun.yaml").is_file():
            asked = OmegaConf.load(folder / "multirun.yaml").hydra.overrides
            # The same overrides without -m ask for a single run, unless the config itself asks for a sweep.
            return None if "hydra.mode=MULTIRUN" in asked.hydra and not swept else list(asked.task)
        kept = folder / ".hydra" / "overrides.yaml"
        # To open a pipe would wait for ever.
        return list(OmegaConf.load(kept)) if kept.is_file() else None
    except Exception:
        # A file that cannot be read was written by another program, or was not written to its end.
        return None


def _comparable(overrides: Iterable[str]) -> list[str]:
    return sorted(override for override in overrides if not override.startswith(f"{_RESUME}="))
