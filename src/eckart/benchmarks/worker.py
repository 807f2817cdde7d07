"""The process of one contender: it prepares, and runs its task once for each line that it is sent."""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

WARM_UP, FIRST, AGAIN = "warm-up", "first", "again"
"""What a line asks for: a run that is not timed where the contender has a shorter one, the first timed run, others."""


def main(arguments: Sequence[str]) -> None:
    """Serve one contender until the input ends.

    Args:
        arguments: Module of the case, name of the case, number of the contender, and ``quick`` or ``full``.
    """
    asked, answers = _own_channels()
    try:
        # Not at the top, where an error of an import would not be answered.
        from eckart.benchmarks.finding import group

        module, name, number, size = arguments
        (case,) = (case for case in group(module, quick=size == "quick").cases if case.name == name)
        contender: Any = case.contenders[int(number)]
        if int(number):
            # What eckart sets for itself must not change a peer.
            os.environ.pop("MKL_CBWR", None)
        server = _Server(contender.prepare())
        _answer(answers, {})
        for line in asked:
            _answer(answers, server.serve(line.strip()))
    except BaseException as error:
        lines = str(error).strip().splitlines()
        _answer(answers, {"failed": f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__})
        raise


class _Server:
    """Runs a contender that is prepared, and judges its first outcome.

    Args:
        prepared: The contender.
    """

    def __init__(self, prepared: Any) -> None:
        self._prepared, self._judged = prepared, prepared.score is None

    def serve(self, asked: str) -> dict[str, Any]:
        """One run: its seconds, and in the first ones the memory and the score."""
        from eckart.benchmarks.memory import PeakMemory

        if asked == WARM_UP and self._prepared.warm_up is not None:
            self._prepared.warm_up()
            return {}
        # Not in each run, because memory that was given back must be asked for again, which takes time.
        peak = None if asked == AGAIN else PeakMemory()
        began = time.perf_counter()
        outcome = self._prepared.task()
        found: dict[str, Any] = {"seconds": time.perf_counter() - began}
        if peak is not None:
            found["memory"] = peak.beyond()
        if not self._judged:
            self._judged = True
            found |= scored(self._prepared.score(outcome))
        return found


def scored(score: Any) -> dict[str, Any]:
    """A score, or a number in its place, as an answer."""
    return {"error": float(getattr(score, "error", score)), "said": getattr(score, "said", "")}


def _own_channels() -> tuple[TextIO, TextIO]:
    """The pipes to the parent; what libraries print goes to standard error."""
    asked, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return os.fdopen(asked, encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8")


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
