"""A line of progress that fits the terminal, and what it says of the time that is left."""

import multiprocessing
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from tqdm import tqdm
from tqdm.std import Bar as Drawing

from eckart.results.screen import length

_GAP = "  "
_SHORTEST, _LONGEST = 8, 30
# Fields from this place on give way to the bar.
_BAR = 6
# What is over sooner shows no bar.
_DELAY = 0.3
_IN_ASCII = str.maketrans({"≤": "<", "≈": "~", "→": ">", "×": "x"})


class Field(NamedTuple):
    """A part of the line.

    Attributes:
        place: 0 for the most important; the others are left out first where not all fit. Before those from 6 on stands
            the bar itself.
        text: What is shown.
        longer: What is shown in place of it where there is room.
    """

    place: int
    text: str
    longer: str = ""


def arranged(done: float, fields: Sequence[Field], width: int, charset: str = Drawing.UTF) -> str:
    """The line: a bar and the fields in their order, as many as fit.

    Args:
        done: Share that is done, 0 to 1.
        fields: What is told; those without a text are left out.
        width: Characters at most.
        charset: What the bar is drawn with.

    Example:
        >>> fields = [Field(0, "12 of 60 jobs"), Field(2, "svd"), Field(1, "00:12 left")]
        >>> arranged(0.5, fields, 42, " #")
        '[####    ]  12 of 60 jobs  svd  00:12 left'
        >>> arranged(0.5, fields, 16)
        '12 of 60 jobs'
    """
    texts = [""] * len(fields)
    taken = -len(_GAP)
    important = sorted(range(len(fields)), key=lambda number: fields[number].place)
    for number in important:
        field = fields[number]
        needed = len(_GAP) + length(field.text)
        bar = len(_GAP) + len("[]") + _SHORTEST if field.place >= _BAR else 0
        if field.text and taken + needed + bar <= width:
            texts[number], taken = field.text, taken + needed
    room = width - taken - len(_GAP) - len("[]")
    for number in important:
        longer = fields[number].longer
        more = length(longer) - length(texts[number])
        if texts[number] and longer and room - more >= _SHORTEST:
            texts[number], room = longer, room - more
    parts = [text for text in texts if text]
    if room >= _SHORTEST:
        drawing = Drawing(min(max(done, 0.0), 1.0), min(room, _LONGEST), charset)
        parts.insert(0, f"[{drawing}]")
    return _GAP.join(parts)


def time_left(seconds: float | None, kind: str = "") -> str:
    """Text on the time that is left; nothing where it is not known.

    Args:
        seconds: The time.
        kind: ``≈`` for an estimate, ``≤`` for a bound.

    Example:
        >>> time_left(75.2), time_left(4000.0, "≤"), time_left(None)
        ('01:15 left', '≤ 1:06:40 left', '')
    """
    if seconds is None:
        return ""
    return " ".join(filter(None, [kind, tqdm.format_interval(seconds), "left"]))


class Bar(tqdm):  # type: ignore[misc]
    """A line of progress on standard error, drawn at most ten times a second, and not at all where that is no terminal.

    Args:
        told: The share that is done and the fields, asked for only when the line is drawn.
        hidden: Whether it is never drawn; None: unless standard error is a terminal, and this process is no worker of
            another, which would draw over the bars of its neighbors.
        delay: Seconds before it is drawn for the first time; None for a third of one.
    """

    _open: ClassVar["weakref.WeakSet[Bar]"] = weakref.WeakSet()

    def __init__(
        self,
        told: Callable[[], tuple[float, Sequence[Field]]],
        *,
        hidden: bool | None = None,
        delay: float | None = None,
    ) -> None:
        self._told, self._width = told, 0
        if hidden is None and multiprocessing.current_process().name != "MainProcess":
            hidden = True
        delay = _DELAY if delay is None else delay
        options: dict[str, Any] = {"leave": False, "dynamic_ncols": True, "miniters": 0, "delay": delay}
        super().__init__(file=sys.stderr, disable=hidden, **options)
        self._open.add(self)

    def move(self) -> None:
        """Draw the line if it is time, and with it the lines of the other bars, whose time passes too."""
        if self.update(1):
            for other in self._open - {self}:
                other.refresh()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the line, or another text in its place."""
        if msg is None:
            told = self.format_dict
            width, plain = (told["ncols"] or 80) - 1, bool(told["ascii"])
            if self._width not in (0, width):
                # What was drawn on a wider terminal now takes several lines.
                self.fp.write("\r\x1b[J")
                self.sp = self.status_printer(self.fp)
            self._width = width
            msg = arranged(*self._told(), width, Drawing.ASCII if plain else Drawing.UTF)
            msg = msg.translate(_IN_ASCII) if plain else msg
        shown: bool | None = super().display(msg, pos)
        return shown

    def close(self) -> None:
        """Take the line away."""
        self._open.discard(self)
        super().close()
