"""What text is printed on: how wide it is, and whether it shows colors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32}
_FORCING = ("FORCE_COLOR", "CLICOLOR_FORCE")


@dataclass(frozen=True)
class Screen:
    r"""The width of what text is printed on, and whether it shows colors; the default is that of files and pipes.

    Args:
        width: Characters in a line.
        colored: Whether colors are shown.

    Example:
        >>> Screen().paint("converged", "green"), Screen(colored=True).paint("converged", "green")
        ('converged', '\x1b[32mconverged\x1b[0m')
    """

    width: int = 80
    colored: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> "Screen":
        """The screen of a stream: as wide as its terminal, and 80 characters where it is none or ``COLUMNS`` says more.

        Colors are shown on a terminal alone. ``NO_COLOR``, ``CLICOLOR=0`` and ``TERM=dumb`` turn them off;
        ``FORCE_COLOR`` and ``CLICOLOR_FORCE`` turn them on, also in a pipe.
        """
        terminal = stream.isatty()
        return cls(_columns(stream, terminal=terminal), shows_colors(os.environ, terminal=terminal))

    def paint(self, text: str, style: str) -> str:
        """The text in a style, ``bold``, ``dim``, ``red`` or ``green``, or as it is where no colors are shown."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colored and text.strip() else text

    def wrap(self, text: str, indent: str = "  ") -> list[str]:
        """Lines that fit, broken between words; those behind the first are indented.

        Example:
            >>> Screen(width=12).wrap("one two three four")
            ['one two', '  three four']
        """
        # Its tables take a while to load, and an error needs none of them.
        import wcwidth

        return wcwidth.wrap(text, self.width, subsequent_indent=indent, break_on_hyphens=False)


PAGE = Screen()
"""Files, pipes, and text in Python."""


def shows_colors(variables: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether colors are shown, by the conventions of ``NO_COLOR``, ``FORCE_COLOR`` and ``CLICOLOR``.

    Args:
        variables: The environment.
        terminal: Whether text goes to a terminal.

    Example:
        >>> shows_colors({"TERM": "xterm"}, terminal=True), shows_colors({"NO_COLOR": "1"}, terminal=True)
        (True, False)
        >>> shows_colors({}, terminal=False), shows_colors({"FORCE_COLOR": "1"}, terminal=False)
        (False, True)
    """
    if variables.get("NO_COLOR"):
        return False
    if any(variables.get(name, "0") not in ("", "0") for name in _FORCING):
        return True
    return terminal and variables.get("TERM") != "dumb" and variables.get("CLICOLOR") != "0"


def left(text: str, width: int) -> str:
    """The text at the left of a column; wide characters count as two, combining ones as none.

    Example:
        >>> left("矩陣", 6)
        '矩陣  '
    """
    return text + " " * (width - length(text))


def right(text: str, width: int) -> str:
    """The text at the right of a column."""
    return " " * (width - length(text)) + text


def length(text: str) -> int:
    r"""Columns of a terminal that the text takes; colors take none.

    Example:
        >>> length("rank"), length("矩陣"), length("e\u0301")
        (4, 4, 1)
    """
    if text.isascii() and text.isprintable():
        return len(text)
    import wcwidth

    return wcwidth.width(text)


def _columns(stream: TextIO, *, terminal: bool) -> int:
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    try:
        found = os.get_terminal_size(stream.fileno()).columns if terminal else 0
    except (OSError, ValueError):
        found = 0
    return found or Screen.width
