"""docs/benchmarks.md: what was measured, on which machine, and which goals are reached."""

import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from eckart.benchmarks import words
from eckart.benchmarks.lines import Line
from eckart.benchmarks.record import Record
from eckart.results.atomic import replacing
from eckart.results.numbers import NONE

FILE = "benchmarks.md"
# Letters of a line of a command.
_LINE = 78
_HEAD = """# Benchmarks

What eckart costs beside what people use for the same task. This page is written by

```
{command}
```

The contenders of a case take turns on the same machine, each in a process of its own, after a warm-up; each ratio is
the median over the rounds. *peer/ours* is how many times as long the peer takes. *Memory* is the peak beyond what the
process holds before the task, with its imports and its data; for a whole process, all of it. Errors are computed in
float64, against references that are not computed by eckart. *Runs* is how many runs the medians are of; *cold* stands
where one run was so long that no warm-up came before it.
"""


def write(folder: Path, records: Mapping[str, Record], titles: Mapping[str, str], plots: Mapping[str, str]) -> Path:
    """Write the page and return its path.

    Args:
        folder: Where it is written.
        records: All that was measured, in the order of the page.
        titles: Title of each group, by its name.
        plots: What there is to see in a plot, by the path of its picture from the folder.
    """
    path = folder / FILE
    with replacing(path) as partial:
        partial.write_text("\n".join(_page(list(records.values()), titles, plots)) + "\n", encoding="utf-8")
    return path


def _page(records: Sequence[Record], titles: Mapping[str, str], plots: Mapping[str, str]) -> Iterator[str]:
    commands = dict.fromkeys(str(record.measured["command"]) for record in records)
    yield _HEAD.format(command="\n".join(map(_broken, commands)))
    yield from _measured(records)
    yield from _goals(records)
    usual = statistics.mode(record.measured["machine"] for record in records) if records else ""
    for group in dict.fromkeys(record.group for record in records):
        yield from ("", f"## {titles.get(group, group)}", "")
        machines = dict.fromkeys(record.measured["machine"] for record in records if record.group == group)
        if {*machines} != {usual}:
            yield from (f"On {' and '.join(machines)}.", "")
        yield from _group([record for record in records if record.group == group])
    if plots:
        yield from ("", "## Growth", "")
        for path, title in plots.items():
            yield from (f"![{title}]({path})", "")


def _broken(command: str) -> str:
    """A command in lines of a page."""
    return " \\\n".join(textwrap.wrap(command, _LINE, subsequent_indent="    ", break_on_hyphens=False))


def _measured(records: Sequence[Record]) -> Iterator[str]:
    places: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        found = record.measured
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        size = "small sizes (--quick); " if found["quick"] else ""
        key = (size, found["date"], found["machine"], str(found["threads"]), versions)
        places.setdefault(key, []).append(record.name)
    groups: dict[str, list[str]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record.name)
    for (size, date, machine, threads, versions), names in places.items():
        # A group that was measured as a whole is named in place of its cases.
        whole = {name: group for group, own in groups.items() if {*own} <= {*names} for name in own}
        shown = dict.fromkeys(whole.get(name, name) for name in names)
        which = "" if len(places) == 1 else f" ({', '.join(f'`{name}`' for name in shown)})"
        yield f"- {size}{date}, {machine}, {threads} threads{which}: {versions}"
    yield ""


def _goals(records: Iterable[Record]) -> Iterator[str]:
    yield from ("## Goals", "", "| case | found | goal |", "| --- | --- | --- |")
    for record in records:
        # Once for all goals of a case.
        case = f"{_cell(record.title)} (`{record.name}`)"
        for verdict in record.verdicts:
            found = words.verdict(verdict)
            shown = f"**{found}**" if verdict.reached is False else found
            yield f"| {case} | {shown} | {_cell(verdict.text)} |"
            case = ""


def _group(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        yield from (f"**{record.title}** (`{record.name}`)", "")
        error = record.accuracy or "error"
        yield f"| | time | spread | peer/ours | {_cell(error)} | memory | runs |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        ours = record.lines[0]
        for line in record.lines:
            yield _row(line, None if line is ours else ours)
        yield ""
        for line in record.lines:
            if remarks := words.remarks(line):
                yield f"- {line.name}: {'; '.join(remarks)}"
        if record.left_out:
            yield f"- left out: {', '.join(record.left_out)}"
        yield from (["", record.note] if record.note else [])
        yield ""


def _row(line: Line, ours: Line | None) -> str:
    name = f"**{_cell(line.name)}**" if ours is None else _cell(line.name)
    if not line.seconds:
        return f"| {name} | {' | '.join([NONE] * 6)} |"
    factor = "" if ours is None else words.slower(line, ours)
    numbers = [words.seconds(line.median), f"±{100 * line.spread:.0f} %", factor, words.error(line)]
    return f"| {name} | {' | '.join([*numbers, words.memory(line.memory), words.runs(line)])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
