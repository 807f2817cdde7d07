"""The contenders of a case take turns, so that a ratio is of the same minutes."""

import importlib.util
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eckart.benchmarks.case import Case, Command, Contender
from eckart.benchmarks.lines import Line
from eckart.benchmarks.processes import CommandRunner, Failed, Runner, Worker, variables
from eckart.benchmarks.worker import AGAIN, FIRST, WARM_UP

_PAUSE = 0.05
_SHORTEST_WAIT = 10.0
_LONGEST = 1800.0
_MOST_RUNS = 25


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """How cases are measured.

    Attributes:
        rounds: Timed runs of a contender, if its budget allows them.
        threads: Threads of each process.
        quick: Whether the sizes are those of ``--quick``.
        patience: Factor on the budget of each case.
    """

    rounds: int = 5
    threads: int = field(default_factory=cores)
    quick: bool = False
    patience: float = 1.0


def measure(module: str, case: Case, settings: Settings, say: Callable[[str], None]) -> tuple[list[Line], list[str]]:
    """Measure one case: each contender warms up, then all take turns.

    A contender that dies, or that takes much longer than ours, is one line that says so; the others go on.

    Args:
        module: Name of the module of the case.
        case: The case.
        settings: How it is measured.
        say: Is told what runs now.

    Returns:
        A line for each contender, in order, ours first, and the names of those that are left out, with the reason.
    """
    here = [(number, found) for number, found in enumerate(case.contenders) if not missing(found)]
    left_out = [
        f"{found.name} ({', '.join(missing(found))} not installed)" for found in case.contenders if missing(found)
    ]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        turns = [_Turn(found, _runner(module, case, number, settings, Path(folder))) for number, found in here]
        try:
            _take_turns(turns, case, settings, say)
        finally:
            for turn in turns:
                turn.runner.close()
    return [turn.line() for turn in turns], left_out


def missing(contender: Contender | Command) -> list[str]:
    """Packages that a contender needs and that are not installed."""
    return [name for name in contender.needs if importlib.util.find_spec(name) is None]


def runs(warm_up: float, rounds: int, budget: float) -> int:
    """Timed runs of a contender whose warm-up took so many seconds; 0 if the warm-up must stand for them.

    Short tasks, whose times differ most, run more often than the rounds say. The first run of a task may take longer
    than all others, so that one of up to twice the budget is followed by another.

    Example:
        >>> runs(0.5, 5, 8.0), runs(3.0, 5, 8.0), runs(9.0, 5, 8.0), runs(17.0, 5, 8.0), runs(0.001, 5, 8.0)
        (5, 2, 1, 0, 25)
    """
    wished = min(max(rounds, int(1 / max(warm_up, 1e-3))), _MOST_RUNS)
    return min(wished, max(int(budget / max(warm_up, 1e-6)), int(warm_up <= 2 * budget)))


class _Turn:
    """A contender and what was measured of it."""

    def __init__(self, contender: Contender | Command, runner: Runner) -> None:
        self.contender, self.runner = contender, runner
        self.seconds: list[float] = []
        self.found: dict[str, Any] = {}
        self.failed: str | None = None
        self.warmed_up, self.left = True, 0

    def attempt(self, work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """What the work found; nothing, and a reason, if it failed."""
        try:
            return work() or {}
        except (Failed, OSError) as error:
            self.failed, self.left = str(error), 0
            self.runner.close()
            return {}

    def warm_up(self, rounds: int, budget: float, limit: float) -> None:
        """Run once without the clock; if that took longer than the budget, it is the only run."""
        found = self.attempt(lambda: self.runner.run(WARM_UP, limit))
        if self.failed is not None:
            return
        self.found |= found
        # A shorter warm-up says nothing of the time of the task, which then runs once at least.
        seconds = found.get("seconds")
        self.left = 1 if seconds is None else runs(seconds, rounds, budget)
        if not self.left:
            self.seconds, self.warmed_up = [found["seconds"]], False

    def run(self, rounds: int, budget: float, limit: float) -> None:
        """One timed run; it says how many more there is time for."""
        first = not self.seconds
        found = self.attempt(lambda: self.runner.run(FIRST if first else AGAIN, limit))
        if self.failed is None:
            self.seconds.append(found["seconds"])
            self.found |= found if first else {}
            self.left = runs(statistics.median(self.seconds), rounds, budget) - len(self.seconds)

    def line(self) -> Line:
        """The line of the table."""
        error, said = self.found.get("error"), self.found.get("said", "")
        if error is not None and not math.isfinite(error):
            error, said = None, "its result is not finite"
        seconds = [self.contender.times * value for value in self.seconds]
        memory, note = self.found.get("memory"), self.contender.note
        return Line(self.contender.name, seconds, self.warmed_up, memory, error, said, note, self.failed)


def _runner(module: str, case: Case, number: int, settings: Settings, folder: Path) -> Runner:
    contender = case.contenders[number]
    if isinstance(contender, Command):
        return CommandRunner(contender, variables(settings.threads, folder), folder)
    arguments = [module, case.name, str(number), "quick" if settings.quick else "full"]
    return Worker(arguments, variables(contender.threads or settings.threads, folder), folder)


def _take_turns(turns: Sequence[_Turn], case: Case, settings: Settings, say: Callable[[str], None]) -> None:
    budget, ours = case.budget * settings.patience, turns[0]
    if case.gpu:
        _prepare_together(turns, say)
    for turn in turns:
        if not case.gpu:
            say(f"{turn.contender.name}: prepares")
            turn.attempt(turn.runner.start)
        if turn.failed is None:
            say(f"{turn.contender.name}: warms up")
            turn.warm_up(settings.rounds, budget, _limit(turn, ours, case))
    done = 0
    while going := [turn for turn in turns if turn.left > 0]:
        done += 1
        for turn in going:
            say(f"{turn.contender.name}: run {done}")
            # The threads of some libraries wait actively for a moment after a task.
            time.sleep(_PAUSE)
            turn.run(settings.rounds, budget, _limit(turn, ours, case))


def _prepare_together(turns: Sequence[_Turn], say: Callable[[str], None]) -> None:
    say("all prepare")
    # What they share is made by the first.
    turns[0].attempt(turns[0].runner.start)
    for turn in turns[1:]:
        turn.attempt(turn.runner.launch)
    for turn in turns[1:]:
        if turn.failed is None:
            turn.attempt(turn.runner.start)


def _limit(turn: _Turn, ours: _Turn, case: Case) -> float:
    known = ours.seconds or [ours.found["seconds"]] if ours.seconds or "seconds" in ours.found else []
    if turn is ours or not known:
        return _LONGEST
    return min(max(case.patience * max(known), _SHORTEST_WAIT), _LONGEST)
