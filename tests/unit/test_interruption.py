"""Signals: how a training is stopped, and that one module handles all of them."""

import ast
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import eckart
from eckart.runs import interruption
from eckart.runs.interruption import Interrupted, StopSignals, requeued_after_saving

PACKAGE = Path(str(eckart.__file__)).parent
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "hydra_plugins").glob("*.py")]


def names(path: Path) -> set[str]:
    """What a file imports, and what it asks of modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
    return found


def test_one_module_handles_signals_and_ends_the_process() -> None:
    asked = {"signal", "os._exit", "os.abort"}
    found = {path.relative_to(PACKAGE).as_posix() for path in SOURCES if names(path) & asked}
    # The benchmark ends processes that it started, and says which signal ended one.
    assert found - {"benchmarks/processes.py"} == {"runs/interruption.py"}


@pytest.fixture
def handlers() -> Iterator[list[object]]:
    """Handlers before the test, which must be those after it."""

    def installed() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR2)]

    before = installed()
    yield before
    assert installed() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.usefixtures("handlers")
def test_the_first_signal_is_noted_and_the_second_raises() -> None:
    noted: list[bool] = []
    signals = StopSignals()
    signals.install(lambda: noted.append(True))
    try:
        assert not signals.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert (signals.asked, noted) == (True, [True])
        with pytest.raises(Interrupted) as raised:
            os.kill(os.getpid(), signal.SIGINT)
        assert (raised.value.signal, raised.value.status, noted) == (signal.SIGTERM, 143, [True])
    finally:
        signals.restore()


@pytest.mark.usefixtures("handlers")
def test_a_step_that_lasts_long_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_STEP", 0.05)
    signals = StopSignals()
    signals.install(lambda: None)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            threading.Event().wait(10)
    finally:
        signals.restore()


@pytest.mark.usefixtures("handlers")
def test_another_thread_installs_no_handler() -> None:
    signals = StopSignals()
    thread = threading.Thread(target=signals.install, args=(lambda: None,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    signals.restore()


@pytest.mark.usefixtures("handlers")
def test_a_job_is_requeued_after_its_state_is_saved() -> None:
    done: list[str] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: done.append("requeued"))
    signals = StopSignals()
    try:
        with pytest.raises(Interrupted), requeued_after_saving():
            signals.install(lambda: done.append("saved"))
            os.kill(os.getpid(), signal.SIGUSR2)
            signals.restore()
            signals.end()
        assert done == ["saved", "requeued"]
        done.clear()
        with pytest.raises(Interrupted), requeued_after_saving():
            # The user ends it, and the cluster did not ask.
            raise Interrupted
        assert done == []
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_process_is_ended_from_another_thread() -> None:
    code = (
        "import threading, time\n"
        "from eckart.runs.interruption import end_process\n"
        "threading.Thread(target=end_process, args=(7, 'the last line')).start()\n"
        "time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "", "the last line\n")
