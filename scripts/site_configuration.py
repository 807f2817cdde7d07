"""The configuration pages of the site, from ``conf/`` and the schema: each key, its meaning, default and law."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from site_docstrings import annotations, documented_arguments, escaped, named, refused_by
from site_laws import AS_DESCRIBED, choices_of, law_of, sentence, stated

from eckart.config import GROUPS, TrainConfig, config_dir, options, plain, settings_of

LAUNCHING = ("hydra/launcher", "hydra/sweeper")
"""Groups of Hydra's own that have options of ours."""
# Which names a config may call is a law of its own, unless one must be given; what a method sees, and the name of a
# rule, are no settings.
_HIDDEN = ("_target_", "_partial_", "needs", "rule")
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.@/ ]+):(?P<rest>.*)")


@dataclass(frozen=True)
class Key:
    """A setting.

    Attributes:
        path: As it is typed.
        default: As YAML has it.
        meaning: A phrase.
        law: What a value must be.
    """

    path: str
    default: str
    meaning: str
    law: str


@dataclass(frozen=True)
class Option:
    """An option of a group.

    Attributes:
        group: The group.
        name: The option.
        headline: The line that heads its file.
        target: The class or function that it calls.
        refused: What that and its source refuse, beyond the laws of the keys.
        brings: Other choices that come with it.
        keys: Its settings.
    """

    group: str
    name: str
    headline: str
    target: str = ""
    refused: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()


def root_keys() -> list[Key]:
    """The settings that belong to no group."""
    comments = _comments((config_dir() / "train.yaml").read_text(encoding="utf-8"))
    defaults = OmegaConf.load(config_dir() / "train.yaml")
    assert isinstance(defaults, DictConfig)
    laws = documented_arguments(TrainConfig)
    found = []
    for field in dataclasses.fields(TrainConfig):
        if field.name in defaults and field.name not in GROUPS:
            law = laws.get(field.name) or sentence(stated(field.type))
            meaning = sentence(escaped(comments.get(field.name, "")))
            found.append(Key(field.name, shown(defaults[field.name]), meaning, law))
    return found


def read_options(group: str) -> list[Option]:
    """The options of a group."""
    return [_option(group, name) for name in options(group)]


def _option(group: str, name: str) -> Option:
    path = config_dir() / group / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    head = next((line[1:].strip() for line in text.splitlines() if re.match(r"# (?!@package)", line)), "")
    own = OmegaConf.load(path)
    brought: list[str] = []
    comments: dict[str, str] = {}
    if isinstance(own, DictConfig):
        for entry in own.get("defaults") or []:
            if isinstance(entry, str) and entry.startswith("_") and entry != "_self_":
                comments |= _comments((path.parent / f"{entry}.yaml").read_text(encoding="utf-8"))
            elif isinstance(entry, DictConfig):
                brought += [f"{str(key).split('@')[0].split('/')[-1]}={value}" for key, value in entry.items()]
    comments |= _comments(text)
    if group == "experiment":
        return Option(group, name, head)
    settings, prefix = settings_of(group, name), group.replace("/", ".")
    target = str(settings.get("_target_") or "")
    source = settings.get("source")
    callables = [target, str(source.get("_target_") or "") if isinstance(source, DictConfig) else ""]
    arguments: dict[str, str] = {}
    kinds: dict[str, Any] = {}
    refused: list[str] = []
    for called in map(named, callables):
        arguments |= documented_arguments(called)
        kinds |= annotations(called)
        refused += refused_by(called)
    keys = []
    for key, value in _leaves(plain(settings, resolve=False)):
        if (key.split(".")[-1] in _HIDDEN and value != "???") or key == "defaults":
            continue
        comment = comments.get(key, "")
        own_name = key.split(".")[-1]
        meaning = comment or arguments.get(own_name, "")
        law = law_of(prefix, value, comment, kinds.get(own_name))
        if len(choices_of(comment)) == len(re.findall(r"\w+", comment)):
            # Its words are the law, and its meaning stands in the docstring.
            meaning = arguments.get(own_name, comment)
        keys.append(Key(f"{prefix}.{key}", shown(value), sentence(escaped(meaning)), law))
    return Option(group, name, head, callables[1] or target, tuple(refused), tuple(brought), tuple(keys))


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _comments(text: str) -> dict[str, str]:
    """The comment behind each key, by dotted path."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if (match := _KEY.fullmatch(line)) is None:
            continue
        indent = len(match["indent"])
        above = [(depth, key) for depth, key in above if depth < indent] + [(indent, match["key"])]
        _, mark, comment = match["rest"].partition(" # ")
        if mark:
            found[".".join(key for _, key in above)] = comment.strip()
    return found


def shown(value: Any) -> str:
    """A value as YAML has it.

    Example:
        >>> shown(None), shown(True), shown([0.9, 0.999]), shown("paper"), shown({})
        ('null', 'true', '[0.9, 0.999]', 'paper', '{}')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | ListConfig):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return "{}" if not value else str(dict(value))
    return "(must be given)" if value == "???" else str(value)


def write(folder: Path) -> None:
    """Write a page for each group, and one of the settings that belong to none."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = [*GROUPS, *LAUNCHING]
    pages = {group.replace("/", "_"): group_page(group, read_options(group)) for group in groups}
    for name, text in {**pages, "index": front_page(root_keys(), list(pages))}.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def group_page(group: str, found: list[Option]) -> str:
    """The page of a group, in Markdown."""
    parts = [f"# {group}="]
    if group == "experiment":
        parts.append("Each is a command line in a file; `eckart experiment=NAME --cfg job` prints what it sets.")
    for option in found:
        parts += [f"## {group}={option.name}", sentence(escaped(option.headline))]
        if option.brings:
            parts.append(
                f"It comes with {', '.join(f'`{choice}`' for choice in option.brings)}, unless others are named."
            )
        if option.target.startswith("eckart."):
            parts.append(f"Made by {{py:obj}}`~{option.target}`.")
        elif option.target not in ("", "None", "???"):
            parts.append(f"Made by `{option.target}`.")
        parts += map(_entry, option.keys)
        if option.refused:
            said = "; ".join(text[0].lower() + text[1:].rstrip(".") for text in map(escaped, option.refused))
            parts.append(f"Refused: {said}.")
    return "\n\n".join(parts) + "\n"


def front_page(keys: list[Key], pages: list[str]) -> str:
    """The page of the settings that belong to no group, and of the laws that all are held to."""
    menu = "\n".join(["```{toctree}", ":maxdepth: 1", "", *pages, "```"])
    return "\n\n".join(["# Configuration", _INTRODUCTION, menu, "## Without a group", *map(_entry, keys)]) + "\n"


def _entry(key: Key) -> str:
    value = "" if key.law == AS_DESCRIBED else f" *Value:* {key.law}"
    return f"`{key.path}` = `{key.default}`\n: {key.meaning}{value}"


_INTRODUCTION = """\
A choice is typed as `group=name`, as in `method=svd`; a value by its path, as in `optimizer.lr=0.01`. `--cfg job`
prints the composed config of a command without running it. These pages are made from `conf/` and the schema.

Every value is held to these laws before anything is trained, and a broken one is one line with the law and the value
found:

- A key that no file lists is refused, with the nearest one that is.
- A value has the type of its default; an integer is a number too. A default `null` stands for what its meaning says.
- A number is finite, and an integer between -2^63 and 2^63.
- A name of a class or function (`_target_`) is one that [the allow-list](../security.md) has.
- Where a method, its data and its optimizer do not fit, the line says which choice would.

The options of each group:"""
