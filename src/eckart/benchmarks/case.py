"""A case of the benchmark: one task, several contenders for it, ours first, and the goals that must hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eckart.benchmarks.goals import Goal


@dataclass(frozen=True)
class Score:
    """How good an outcome is.

    Attributes:
        error: Smaller is better; which error it is, the case says.
        said: What is worth saying of the outcome besides, such as the solver that was chosen.
    """

    error: float
    said: str = ""


@dataclass(frozen=True)
class Prepared:
    """A contender that is ready to run, in a process of its own.

    Attributes:
        task: What is timed. It is called once a round, and does all of its work each time.
        score: Judges what the task returned, untimed; in float64, against a reference that is none of ours.
        warm_up: Called once before the first round; None: the task. A shorter one is for tasks of minutes.
    """

    task: Callable[[], Any]
    score: Callable[[Any], Score | float] | None = None
    warm_up: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Contender:
    """A library or a way to write the task, run in a process of its own.

    Attributes:
        name: What the table calls it.
        prepare: Imports what it needs, brings the data into memory, and gives the task.
        needs: Packages that must be importable; where one is missing, the contender is named and left out.
        threads: Threads of the process; None: those of the whole benchmark.
        times: What the seconds are multiplied by, where the task is one part of several equal ones.
        note: What the table must say of it.
    """

    name: str
    prepare: Callable[[], Prepared]
    needs: Sequence[str] = ()
    threads: int | None = None
    times: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Command:
    """A whole process, timed from its start to its end.

    Attributes:
        name: What the table calls it.
        arguments: The command line, from an empty folder that it runs in.
        score: Judges what the process left in the folder, untimed; None: there is nothing to judge.
        needs: Packages that must be importable.
        status: Exit status that is expected; an error of the command line has 1.
        times: What the seconds are multiplied by.
        note: What the table must say of it.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    score: Callable[[Path], Score | float] | None = None
    needs: Sequence[str] = ()
    status: int = 0
    times: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Point:
    """The place of a case in a plot of costs.

    Attributes:
        plot: Name of the plot; cases with the same name are its points.
        x: Where the case stands.
        label: Text of the axis.
        title: What there is to see.
    """

    plot: str
    x: float
    label: str
    title: str


@dataclass(frozen=True)
class Case:
    """One task and its contenders.

    Attributes:
        name: Short, for ``--only``.
        title: One line: the task and its size.
        contenders: Ours first, then the peers.
        accuracy: Which error is compared, such as ``excess of the Frobenius error``; empty if there is none.
        level: Errors up to this one are equal.
        goals: What must hold.
        budget: Seconds of timed runs that a contender gets; a slower one runs fewer rounds, a fast one all. Where the
            first run took more than twice as long, it is the only one.
        patience: A peer is stopped when one run takes so many times as long as ours, and longer than 10 s.
        asked_only: Whether the case runs only where ``--only`` names it.
        gpu: Whether it runs on a GPU, and is left out where there is none. Its contenders prepare at the same time,
            since they share the GPU anyway, and most of a minute of one would be imports.
        point: Its place in a plot.
        note: What bounds the result, or how the case was scaled, for the page.
    """

    name: str
    title: str
    contenders: Sequence[Contender | Command]
    accuracy: str = ""
    level: float = 0.0
    goals: Sequence[Goal] = field(default_factory=tuple)
    budget: float = 8.0
    patience: float = 20.0
    asked_only: bool = False
    gpu: bool = False
    point: Point | None = None
    note: str = ""
