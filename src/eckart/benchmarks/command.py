"""``eckart benchmark``, which is ``python scripts/benchmark.py``: the command line."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eckart.benchmarks import device, table
from eckart.benchmarks import record as records
from eckart.benchmarks.case import Case
from eckart.benchmarks.finding import Group, chosen, groups
from eckart.benchmarks.measuring import Settings, cores, measure
from eckart.benchmarks.record import Record
from eckart.errors import one_line
from eckart.results.screen import Screen

_DESCRIPTION = "Measure eckart beside what people use for the same task, in turns, and write benchmarks.md."


def main(program: str, arguments: Sequence[str]) -> None:
    """Measure the cases that are asked for, print the table of each, and write the page.

    Args:
        program: What the user typed before the arguments.
        arguments: Options.
    """
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTION)
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cases, or groups of cases, alone")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds: minutes in all")
    parser.add_argument("--rounds", type=int, metavar="N", help="timed runs of each contender; 5, and 2 with --quick")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="of each process (%(default)s)")
    parser.add_argument("--page", action="store_true", help="write the page anew from benchmarks.json; measure nothing")
    parser.add_argument("--add", type=Path, metavar="FOLDER", help="take over the records of a folder; measure nothing")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/benchmark"), metavar="FOLDER", help="of page and numbers: %(default)s"
    )
    asked = parser.parse_args(arguments)
    for name, value in (("--rounds", asked.rounds), ("--threads", asked.threads)):
        if value is not None and value < 1:
            sys.exit(f"{name} must be at least 1. Found {value}.")
    found = groups(quick=asked.quick)
    try:
        cases = chosen(found, asked.only)
        if asked.list:
            _list(chosen(found, asked.only or [group.name for group in found]))
            return
        typed = shlex.join(["eckart", "benchmark", *arguments])
        if asked.add is not None:
            _add(asked.out, asked.add)
        elif not asked.page:
            cases = _possible(cases)
            settings = Settings(asked.rounds or (2 if asked.quick else 5), asked.threads, asked.quick)
            _measure(cases, settings, asked.out, typed)
        print(write(asked.out, found))
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))


def write(folder: Path, found: Sequence[Group]) -> Path:
    """Write the page and its pictures from the records of a folder.

    Args:
        folder: Where ``benchmarks.json`` is.
        found: All groups, whose order is that of the page.

    Returns:
        Path of the page.
    """
    from eckart.benchmarks import document, plots

    kept, cases = records.read(folder), {case.name: case for group in found for case in group.cases}
    order = list(cases)
    kept = {name: kept[name] for name in sorted(kept, key=lambda name: order.index(name) if name in order else -1)}
    # What bounds a case is often understood after it was measured.
    kept = {name: replace(one, note=cases[name].note) if name in cases else one for name, one in kept.items()}
    titles = {group.name: group.title for group in found}
    return document.write(folder, kept, titles, plots.draw(folder, kept.values()))


def _list(cases: Sequence[tuple[Group, Case]]) -> None:
    before = None
    for group, case in cases:
        if group != before:
            print(f"{group.name}: {group.title}")
        before = group
        print(f"  {case.name:<28} {case.title}{_when(case)}")


def _when(case: Case) -> str:
    return "; only where it is asked for" if case.asked_only else "; only where there is a GPU" if case.gpu else ""


def _possible(cases: list[tuple[Group, Case]]) -> list[tuple[Group, Case]]:
    """Those that this machine can run, after a line on the others."""
    left_out = dict.fromkeys(group.name for group, case in cases if case.gpu)
    if not left_out or device.present():
        return cases
    law = f"Cases of the group {', '.join(left_out)} need a GPU that torch can use. Found none"
    kept = [(group, case) for group, case in cases if not case.gpu]
    if not kept:
        raise ValueError(f"{law}.")
    print(f"{law}: they are left out.")
    return kept


def _add(folder: Path, other: Path) -> None:
    """Take over the records of another folder."""
    found = records.read(other)
    if not found:
        raise ValueError(f"--add must name a folder with a {records.FILE}. Found none in {other}.")
    records.write(folder, records.read(folder) | found)


def _measure(cases: Sequence[tuple[Group, Case]], settings: Settings, folder: Path, typed: str) -> None:
    from eckart.benchmarks.machine import machine, today, versions

    measured: dict[str, Any] = {"date": today(), "machine": machine(), "versions": versions(), "command": typed}
    measured |= {"threads": settings.threads, "quick": settings.quick}
    with_gpu = measured
    if any(case.gpu for _, case in cases):
        with_gpu = measured | {"machine": f"{measured['machine']}, {device.described()}"}
    screen, began = Screen.of(sys.stdout), time.perf_counter()
    for number, (group, case) in enumerate(cases, 1):
        status = _Status(f"{number} of {len(cases)} cases, {case.name}")
        try:
            lines, left_out = measure(group.module, case, settings, status.say)
        finally:
            status.clear()
        found = records.recorded(group.name, case, lines, left_out, with_gpu if case.gpu else measured)
        _keep(folder, found)
        print(table.table(found, screen), flush=True)
    print(f"{len(cases)} case{'s' * (len(cases) != 1)} in {time.perf_counter() - began:.0f} s")


def _keep(folder: Path, found: Record) -> None:
    # Read each time: another process may measure other cases.
    records.write(folder, records.read(folder) | {found.name: found})


class _Status:
    """A line on a terminal that says what runs now."""

    def __init__(self, title: str) -> None:
        self._title, self._shown = title, sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show a text in place of the last one."""
        if self._shown:
            print(
                f"\r\x1b[K{self._title}: {text}"[: Screen.of(sys.stderr).width + 4], end="", file=sys.stderr, flush=True
            )

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
