"""Cases of no use but to the tests of the benchmark: their contenders note when they run."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from eckart.benchmarks.case import Case, Command, Contender, Prepared, Score
from eckart.benchmarks.goals import faster_than

BLOCK = 64 * 2**20


def cases(quick: bool) -> Iterable[Case]:
    """A case for each law of the harness."""
    yield Case("turns", "take turns", [_noting("ours"), _noting("peer")], goals=[faster_than("peer", 0.001)])
    yield Case("on_gpu", "take turns on a GPU", [_noting("ours"), _noting("peer")], gpu=True)
    yield Case("judged", "judged once", [Contender("ours", _judged), Contender("peer", _judged, times=10.0)])
    yield Case("missing", "a peer is missing", [_noting("ours"), Contender("gone", _judged, ["no_such_package"])])
    yield Case(
        "failing",
        "peers that fail",
        [
            _noting("ours"),
            Contender("raises", lambda: Prepared(lambda: [][0])),
            Contender("raises late", _prepared_badly),
            Contender("dies", lambda: Prepared(lambda: os._exit(3))),
            Contender("sleeps", lambda: Prepared(lambda: time.sleep(30))),
            _noting("peer"),
        ],
        patience=0.1,
    )
    yield Case("memory", "peak memory", [Contender("ours", _large)], budget=60)
    yield Case("cold", "longer than the budget", [_noting("ours")], budget=0.0)
    yield Case("warmed", "a shorter warm-up", [Contender("ours", _warmed)], budget=0.0)
    yield Case("commands", "whole processes", [_command(0, 0), _command(1, 1), _command(1, 0)])


def note(text: str) -> None:
    """Add a line to the file that the test reads."""
    with Path(os.environ["NOTED"]).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _noting(name: str) -> Contender:
    def task() -> None:
        print("what a library prints")
        note(name)

    return Contender(name, lambda: Prepared(task))


def _judged() -> Prepared:
    def score(outcome: float) -> Score:
        note("judged")
        return Score(outcome, os.environ["OMP_NUM_THREADS"])

    return Prepared(lambda: 0.25, score)


def _prepared_badly() -> Prepared:
    raise ValueError("a law\nand more")


def _large() -> Prepared:
    return Prepared(lambda: bytearray(b"1") * BLOCK)


def _warmed() -> Prepared:
    return Prepared(lambda: note("task"), warm_up=lambda: note("warm-up"))


def _command(status: int, expected: int) -> Command:
    def arguments(folder: Path) -> list[str]:
        code = f"import pathlib, sys; pathlib.Path('left').write_text('0.5'); sys.exit({status})"
        return [sys.executable, "-S", "-c", code]

    read: Callable[[Path], float] = lambda folder: float((folder / "left").read_text())  # noqa: E731
    return Command(f"ends with {status}, not {expected}", arguments, read, status=expected)
