"""Commands of ``eckart`` besides training: ``eckart report FOLDER``, and others."""

from collections.abc import Callable, Mapping, Sequence

# Each imports what it needs when it is called: to train needs none of it.


def report(program: str, arguments: Sequence[str]) -> None:
    """Write one HTML page about runs."""
    from eckart.reports.command import main

    main(program, arguments)


def dashboard(program: str, arguments: Sequence[str]) -> None:
    """Make or update the W&B workspace of a project."""
    from eckart.tracking.dashboard import main

    main(program, arguments)


def predict(program: str, arguments: Sequence[str]) -> None:
    """Predictions of a run."""
    from eckart.api.predict_command import main

    main(program, arguments)


def benchmark(program: str, arguments: Sequence[str]) -> None:
    """Measure eckart beside what people use."""
    from eckart.benchmarks.command import main

    main(program, arguments)


COMMANDS: Mapping[str, Callable[[str, Sequence[str]], None]] = {
    "report": report,
    "dashboard": dashboard,
    "predict": predict,
    "benchmark": benchmark,
}
"""What the first word after ``eckart`` calls, with the text of the command so far and the arguments after it."""


def asked(typed: Sequence[str]) -> bool:
    """Whether a command line asks for one of the commands, and not for a training.

    Args:
        typed: The name of the program and its arguments.

    Example:
        >>> asked(["eckart", "report", "multirun"]), asked(["eckart", "rank=2"]), asked(["eckart"])
        (True, False, False)
    """
    # No override is a single word, so Hydra has no use for it.
    return len(typed) > 1 and typed[1] in COMMANDS


def run(typed: Sequence[str]) -> None:
    """Run the command that a command line asks for; an error of its ends the process with one line and status 1.

    Args:
        typed: The name of the program, the name of the command, and its arguments.
    """
    COMMANDS[typed[1]](f"eckart {typed[1]}", typed[2:])
