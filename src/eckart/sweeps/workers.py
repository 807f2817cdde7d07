"""Processes on one machine that help this one to train; they live as long as it does."""

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

from eckart.config import plain
from eckart.errors import wants_traceback
from eckart.runs.job import Job
from eckart.runs.stack import Stack

# Seconds that the training has to notice by itself that a worker is gone.
_PATIENCE = 10.0
_DONE = "done\n"
_idle: dict[int, "subprocess.Popen[str]"] = {}


@contextlib.contextmanager
def workers(stack: Stack) -> Iterator[None]:
    """Have ``trainer.devices`` processes train a stack: this one, and others that are told to.

    Lightning would run the command line again in each, which for a job of a sweep is the whole sweep. Here they are
    told what to train, and the training finds itself started from outside, as by ``torchrun``. Nothing is done where
    it was indeed, where SLURM starts the processes, or where the trainer asks for one process or a strategy of its own.

    Args:
        stack: What all of them train. This process alone writes anything.
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
        with _environment(meeting | {"LOCAL_RANK": "0", "OMP_NUM_THREADS": threads}):
            yield
        for place, worker in list(busy.items()):
            if worker.stdout is not None and worker.stdout.readline() == _DONE:
                _idle[place] = busy.pop(place)
    finally:
        ended.set()
        for worker in busy.values():
            worker.kill()
        _part()


def main() -> None:
    """Help to train what standard input says, line by line, and end when it does."""
    answers, sys.stdout = sys.stdout, sys.stderr
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    from eckart.runs.run import run

    while True:
        message = json.loads(lines.get())
        os.environ.update(message["environment"])
        run(Stack([_job(**job) for job in message["jobs"]], message["width"]))
        _part()
        answers.write(_DONE)
        answers.flush()


def _wanted(trainer: DictConfig, environment: Mapping[str, str]) -> bool:
    several = isinstance(trainer.devices, int) and trainer.devices > 1
    return several and trainer.strategy in ("auto", "ddp") and not {"LOCAL_RANK", "SLURM_NTASKS"} & environment.keys()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(threads: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "eckart.sweeps.workers"],
        env=os.environ | {"OMP_NUM_THREADS": threads},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if wants_traceback() else subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        # So that an interrupt from the terminal reaches the first process alone.
        start_new_session=True,
    )


def _tell(worker: "subprocess.Popen[str]", stack: Stack, environment: Mapping[str, str]) -> None:
    jobs = [
        {
            "config": plain(job.config),
            "choices": job.choices,
            "folder": str(job.folder.absolute()),
            "sweep": job.sweep and str(job.sweep.absolute()),
        }
        for job in stack.jobs
    ]
    message = {"environment": dict(environment), "width": stack.width, "jobs": jobs}
    assert worker.stdin is not None
    # One that has ended is noticed by who watches it.
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(message) + "\n")
        worker.stdin.flush()


def _job(config: dict[str, Any], choices: dict[str, str], folder: str, sweep: str | None) -> Job:
    return Job(OmegaConf.create(config), choices, Path(folder), Path(sweep) if sweep else None)


def _watch(worker: "subprocess.Popen[str]", ended: threading.Event) -> None:
    while not ended.wait(1.0):
        if worker.poll() is not None and not ended.wait(_PATIENCE):
            # Nothing else brings back a process that waits for one that never came.
            line = f"A process that shares the training ended with status {worker.returncode}"
            print(f"{line}; HYDRA_FULL_ERROR=1 shows why.", file=sys.stderr, flush=True)
            os._exit(1)


def _read(lines: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _part() -> None:
    from torch import distributed

    # The next training is one of others.
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
