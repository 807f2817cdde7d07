"""The configs of a sweep's jobs as Hydra leaves them below the folder of a job: ``.hydra/config.yaml`` and others."""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

# What YAML writes on one line as it is: neither a number, nor a truth value, nor with a sign that means something.
_WORD = r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf|infinity)$)[A-Za-z_/]"
_KEY = re.compile(rf"{_WORD}[A-Za-z0-9_/]{{0,60}}", re.IGNORECASE)
_TEXT = re.compile(rf"{_WORD}[A-Za-z0-9_/=,.+-]*", re.IGNORECASE)


class ConfigFiles:
    r"""Writes the same files as Hydra does for a job that runs alone.

    Most of the text is that of the job before: what is equal is not made again.

    Example:
        >>> files = ConfigFiles()
        >>> files.text(OmegaConf.create({"rank": 2, "data": {"rows": 5}}))
        'rank: 2\ndata:\n  rows: 5\n'
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], tuple[Any, str]] = {}

    def write(self, folder: Path, parts: dict[str, DictConfig | ListConfig]) -> None:
        """Write each part to a file of its name.

        Args:
            folder: The folder of the files; it is made.
            parts: Parts by their names; the suffix ``.yaml`` is added.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in parts.items():
            (folder / f"{name}.yaml").write_text(self.text(part), encoding="utf-8")

    def text(self, part: DictConfig | ListConfig) -> str:
        """The text that ``OmegaConf.to_yaml`` makes of a part."""
        return self._text((), OmegaConf.to_container(part, enum_to_str=True))

    def _text(self, path: tuple[str, ...], value: Any) -> str:
        # As text, in which 1 and true and 1.0 differ.
        seen = repr(value)
        kept = self._last.get(path)
        if kept is None or kept[0] != seen:
            kept = self._last[path] = (seen, self._made(path, value))
        return kept[1]

    def _made(self, path: tuple[str, ...], value: Any) -> str:
        margin = "  " * (len(path) - 1)
        if isinstance(value, dict) and value and all(isinstance(key, str) and _KEY.fullmatch(key) for key in value):
            own = f"{margin}{path[-1]}:\n" if path else ""
            return own + "".join(self._text((*path, key), inner) for key, inner in value.items())
        if path and (scalar := _scalar(value)) is not None:
            return f"{margin}{path[-1]}: {scalar}\n"
        if isinstance(value, list) and value and None not in (scalars := [_scalar(item) for item in value]):
            return (f"{margin}{path[-1]}:\n" if path else "") + "".join(f"{margin}- {item}\n" for item in scalars)
        for key in reversed(path):
            value = {key: value}
        # The lines of the keys around it stand once, before the first of their values.
        around = max(0, len(path) - 1)
        return OmegaConf.to_yaml(value).split("\n", around)[around]


def _scalar(value: Any) -> str | None:
    """The text of a value that needs no quotes; None where YAML has to decide."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is int or (isinstance(value, str) and _TEXT.fullmatch(value)):
        return str(value)
    return None
