"""Command lines: those of eckart as a user types them, and small programs of others."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def eckart(*arguments: str) -> list[str]:
    """The command ``eckart`` with arguments, by this interpreter."""
    script = Path(sys.executable).with_name("eckart")
    start = [str(script)] if script.is_file() else ["-c", "import sys; from eckart.cli import main; sys.exit(main())"]
    return [sys.executable, *start, *arguments]


def importing(*modules: str) -> list[str]:
    """An empty script that imports modules."""
    return [sys.executable, "-c", f"import {', '.join(modules)}"]


def trainer() -> list[str]:
    """A script that imports what a run of eckart imports, as its command does, and trains nothing."""
    code = (
        "from eckart import cli, deferred; deferred.install(); from eckart.sweeps.attempt import training; training()"
    )
    return [sys.executable, "-c", code]


def results(folder: Path) -> list[dict[str, Any]]:
    """Results of all runs below a folder.

    Raises:
        ValueError: If there is none, or one is not completed.
    """
    from eckart.results.result import read_results

    found = list(read_results(folder).values())
    if not found or any(result["status"] != "completed" for result in found):
        raise ValueError(f"Every run must be completed. Found {[result['error'] for result in found]}.")
    return found


def worst(results: Sequence[dict[str, Any]]) -> float:
    """The largest excess of all results, in either norm."""
    return max(float(result[f"excess_{norm}"]) for result in results for norm in ("2norm", "frobenius"))


def mean(results: Sequence[dict[str, Any]]) -> float:
    """The mean distance of the 2-norm error from the optimum."""
    return sum(abs(float(result["excess_2norm"])) for result in results) / len(results)
