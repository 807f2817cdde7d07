"""The table of a case on the terminal."""

from collections.abc import Iterator

from eckart.benchmarks import words
from eckart.benchmarks.lines import Line
from eckart.benchmarks.record import Record
from eckart.results.numbers import NONE
from eckart.results.screen import Screen, left, right

_HEADS = ("seconds", "spread", "peer/ours", "error", "memory", "runs")
_WIDTHS = (10, 8, 11, 10, 11, 9)


def table(record: Record, screen: Screen) -> str:
    """Lines of one case: ours, each peer with its ratio, and the goals.

    Args:
        record: The case.
        screen: What it is printed on.
    """
    return "\n".join(_lines(record, screen))


def _lines(record: Record, screen: Screen) -> Iterator[str]:
    name = max(26, min(40, max((len(line.name) for line in record.lines), default=0) + 2))
    yield screen.paint(f"{record.name}: {record.title}", "bold")
    yield screen.paint(left("", name) + "".join(map(right, _HEADS, _WIDTHS)), "dim")
    ours = record.lines[0]
    for line in record.lines:
        cells = _cells(line, None if line is ours else ours)
        yield left(line.name, name) + "".join(map(right, cells, _WIDTHS))
        for remark in words.remarks(line):
            yield from screen.wrap(f"    {remark}", "    ")
    if record.accuracy:
        yield from screen.wrap(f"  error: {record.accuracy}", "    ")
    for missing in record.left_out:
        yield f"  left out: {missing}"
    for verdict in record.verdicts:
        style = "green" if verdict.reached else "red"
        yield screen.paint(f"  goal: {verdict.text}: {words.verdict(verdict)}", style)
    yield ""


def _cells(line: Line, ours: Line | None) -> list[str]:
    if not line.seconds:
        return [NONE] * len(_HEADS)
    return [
        words.seconds(line.median),
        f"±{100 * line.spread:.0f} %",
        "" if ours is None else words.slower(line, ours),
        words.error(line),
        words.memory(line.memory),
        words.runs(line),
    ]
