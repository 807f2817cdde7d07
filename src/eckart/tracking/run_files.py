"""Files in the folder of a W&B run: images, and the config and summary of a run that was not offline."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from eckart.tracking.items import DEPTH, cleaned, loaded

CAPTION = 2_000
_LARGEST = 4 * 2**20


def images(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Files and captions of the images that a value of W&B's stands for; none for values of other types.

    Example:
        >>> list(images({"_type": "image-file", "path": "media/images/a.png", "caption": "Target"}))
        [('media/images/a.png', 'Target')]
        >>> list(images({"_type": "images/separated", "filenames": ["a.png", "b.png"], "captions": ["A"]}))
        [('a.png', 'A'), ('b.png', '')]
    """
    if value.get("_type") == "image-file":
        files, captions = [value.get("path")], [value.get("caption")]
    elif value.get("_type") == "images/separated":
        files, captions = _list(value.get("filenames")), _list(value.get("captions"))
    else:
        return
    for index, file in enumerate(files):
        caption = captions[index] if index < len(captions) else None
        if isinstance(file, str):
            yield file, caption[:CAPTION] if isinstance(caption, str) else ""


def inside(folder: Path, name: str) -> Path | None:
    """The regular file of a name below a folder; None if there is none, or if the name leads out of the folder.

    Links are followed, and must not lead out either.
    """
    try:
        if folder.is_symlink():
            return None
        found = (folder / name).resolve(strict=True)
        return folder / name if found.is_relative_to(folder.resolve()) and found.is_file() else None
    except (OSError, ValueError, RuntimeError):
        # A name with a zero byte is a ValueError, a loop of links a RuntimeError.
        return None


def config_beside(folder: Path) -> dict[str, Any]:
    """Config from ``config.yaml`` in a run's folder of files; empty if there is none that can be read."""
    text = _content(folder, "config.yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check(yaml.parse(text, Loader=loader))
        read = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    items = read.items() if isinstance(read, dict) else ()
    values = {name: item["value"] for name, item in items if isinstance(item, dict) and "value" in item}
    return _without_own(cleaned(json.loads(json.dumps(values, default=str, skipkeys=True))))


def summary_beside(folder: Path) -> dict[str, Any]:
    """Summary from ``wandb-summary.json`` in a run's folder of files; empty if there is none that can be read."""
    try:
        read = loaded(_content(folder, "wandb-summary.json"))
    except ValueError:
        return {}
    return _without_own(read) if isinstance(read, dict) else {}


def _content(folder: Path, name: str) -> str:
    path = inside(folder, name)
    try:
        if path is None or path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _check(events: Any) -> None:
    # An alias can stand for more than fits into memory, and the loader calls itself for what is nested.
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError("it is nested too deep")


def _without_own(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("_wandb", "wandb_version")}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
