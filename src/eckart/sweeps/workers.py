"""Processes of this machine that train a stack together with this one; they run until this process ends."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eckart import deferred
from eckart.config import plain
from eckart.environment import environment
from eckart.errors import wants_traceback
from eckart.runs.interruption import end_process
from eckart.runs.job import Job
from eckart.runs.stack import Stack

# Seconds that the training has to notice by itself that a worker has ended.
_PATIENCE = 10.0
_DONE = "done\n"
_idle: dict[int, "subprocess.Popen[str]"] = {}


@contextlib.contextmanager
def workers(stack: Stack) -> Iterator[None]:
    """Start the other processes of a training in ``trainer.devices`` processes, and tell them what to train.

    Lightning would run the command line again in each process, and for a job of a sweep that is the whole sweep. Here
    each process receives the jobs of the stack, and the environment variables that ``torchrun`` sets. Nothing is
    started if the trainer wants one process or another strategy, or if ``torchrun`` or SLURM started the processes.

    Args:
        stack: The jobs. Only this process writes results.
    """
    trainer = stack.jobs[0].config.trainer
    if not _wanted(trainer, os.environ):
        yield
        return
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    meeting["WORLD_SIZE"] = str(trainer.devices)
    threads = str(max(1, (os.cpu_count() or 1) // trainer.devices))
    ended = threading.Event()
    busy = {}
    try:
        for place in range(1, trainer.devices):
            worker = busy[place] = _idle.pop(place) if place in _idle else _start(threads)
            _tell(worker, stack, meeting | {"LOCAL_RANK": str(place)})
            threading.Thread(target=_watch, args=(worker, ended), daemon=True).start()
        with environment(meeting | {"LOCAL_RANK": "0", "OMP_NUM_THREADS": threads}):
            yield
        for place, worker in list(busy.items()):
            if worker.stdout is not None and worker.stdout.readline() == _DONE:
                _idle[place] = busy.pop(place)
    finally:
        ended.set()
        for worker in busy.values():
            worker.kill()
        _leave_group()


def main() -> None:
    """Train each stack that a line of standard input describes; the process ends when standard input is closed."""
    deferred.install()
    answers, sys.stdout = sys.stdout, sys.stderr
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    with deferred.kept():
        from eckart.runs.run import run
    while True:
        message = json.loads(lines.get())
        os.environ.update(message["environment"])
        run(Stack([_job(**job) for job in message["jobs"]], message["width"]))
        _leave_group()
        answers.write(_DONE)
        answers.flush()


def _wanted(trainer: DictConfig, variables: Mapping[str, str]) -> bool:
    several = isinstance(trainer.devices, int) and trainer.devices > 1
    return several and trainer.strategy in ("auto", "ddp") and not {"LOCAL_RANK", "SLURM_NTASKS"} & variables.keys()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(threads: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__],
        env=os.environ | {"OMP_NUM_THREADS": threads},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if wants_traceback() else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        # Ctrl-C on the terminal then interrupts only the first process.
        start_new_session=True,
    )


def _tell(worker: "subprocess.Popen[str]", stack: Stack, variables: Mapping[str, str]) -> None:
    jobs = [
        {
            "config": plain(job.config),
            "choices": job.choices,
            "folder": str(job.folder.absolute()),
            "sweep": job.sweep and str(job.sweep.absolute()),
        }
        for job in stack.jobs
    ]
    message = {"environment": dict(variables), "width": stack.width, "jobs": jobs}
    assert worker.stdin is not None
    # The thread that watches a worker notices that it has ended.
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(message) + "\n")
        worker.stdin.flush()


def _job(config: dict[str, Any], choices: dict[str, str], folder: str, sweep: str | None) -> Job:
    return Job(OmegaConf.create(config), choices, Path(folder), Path(sweep) if sweep else None)


def _watch(worker: "subprocess.Popen[str]", ended: threading.Event) -> None:
    while not ended.wait(1.0):
        if worker.poll() is not None and not ended.wait(_PATIENCE):
            # This process waits for the worker inside a library call, which nothing else can end.
            line = f"A process that shares the training ended with status {worker.returncode}"
            end_process(1, f"{line}; HYDRA_FULL_ERROR=1 shows why.")


def _read(lines: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    end_process(0)


def _leave_group() -> None:
    from torch import distributed

    # The next training makes a new group of processes.
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
