"""A sweep whose stacks are jobs of a cluster."""

import getpass
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from tqdm import tqdm

from eckart import deferred
from eckart.results import terminal
from eckart.results.result import read_result
from eckart.results.screen import Screen
from eckart.runs.interruption import requeued_after_saving
from eckart.sweeps.progress import Board
from eckart.sweeps.sweep import Entry, Group, Sweep

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_POLL = 2.0
# Parameters that submitit has for every cluster; all others get the prefix slurm_.
_GENERAL = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")


class ClusterSweep(Sweep):
    """The jobs of one command, run by a cluster; each stack is one job of the cluster.

    Args:
        *args: As in :class:`Sweep`.
        cluster: ``slurm``, or ``local`` to run the stacks as processes of this machine.
        folder: Folder of the cluster jobs' scripts and logs.
        parameters: Resources of each cluster job, in submitit's names; one that is None is left to the cluster.
        **common: As in :class:`Sweep`.
    """

    def __init__(self, *args: Any, cluster: str, folder: str, parameters: Mapping[str, Any], **common: Any) -> None:
        super().__init__(*args, **common)
        self.cluster, self.folder, self.parameters = cluster, folder, dict(parameters)

    def run(self, groups: Sequence[Group], board: Board) -> Iterator[Group]:
        """Submit the groups as one job array, and yield each group when its job has ended."""
        if not groups:
            return
        from submitit import AutoExecutor

        asked = {name: value for name, value in self.parameters.items() if value is not None}
        requeued = asked.pop("max_num_timeout", 3)
        executor = AutoExecutor(folder=self.folder, cluster=self.cluster, slurm_max_num_timeout=requeued)
        executor.update_parameters(
            **{name if name in _GENERAL else f"slurm_{name}": value for name, value in asked.items()}
        )
        waiting = dict(zip(executor.map_array(_Remote(self), groups), groups, strict=True))
        absent: Counter[str] = Counter()
        try:
            while waiting:
                board.note(f"{len(waiting)} of {len(groups)} stacks at the cluster")
                queued = _queued() if self.cluster == "slurm" else {job.job_id for job in waiting if not job.done()}
                for job in list(waiting):
                    absent[job.job_id] = 0 if queued is None or job.job_id in queued else absent[job.job_id] + 1
                    # Absent twice: a job that was killed can be requeued by hand, and is absent only for a moment.
                    if not job.paths.result_pickle.exists() and absent[job.job_id] < 2:
                        continue
                    group = waiting.pop(job)
                    try:
                        if not job.paths.result_pickle.exists():
                            # job.result() would wait for a file that never comes.
                            raise RuntimeError(f"it was killed or cancelled; its log: {job.paths.stderr}")
                        returned = job.result()
                    except Exception as error:
                        line = f"job {job.job_id} of the cluster ended without a result: {_last_line(error)}"
                        returned = [_lost(entry, line) for entry in group.entries]
                    for entry, value in zip(group.entries, returned, strict=True):
                        entry.returned = value
                        _report(entry)
                    yield group
                time.sleep(_POLL if waiting else 0)
        finally:
            for job in waiting:
                job.cancel(check=False)


class _Remote:
    """Runs a group on a machine of the cluster; when it is started again, it runs the jobs that are not completed."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._singletons = sweep, Singleton.get_state()

    def __call__(self, group: Group) -> list[JobReturn]:
        deferred.install()
        Singleton.set_state(self._singletons)
        setup_globals()
        with requeued_after_saving():
            return self._run(group)

    def _run(self, group: Group) -> list[JobReturn]:
        left = []
        for entry in group.entries:
            result = entry.job.completed()
            if result is None:
                left.append(entry)
            else:
                entry.returned.return_value = entry.job.objective(result)
        if left:
            self._sweep.run_group(Group(left, group.width))
        return [entry.returned for entry in group.entries]

    def checkpoint(self, group: Group) -> "DelayedSubmission":
        """Submit the group again when the cluster stops the job before it has ended."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, group)


def _queued() -> set[str] | None:
    # squeue and not sacct, since many clusters keep no accounts. None: the controller did not answer.
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return set(listed.stdout.split()) if listed.returncode == 0 else None


def _lost(entry: Entry, line: str) -> JobReturn:
    entry.returned.return_value = entry.job.objective(entry.job.completed() or entry.job.fail(line))
    return entry.returned


def _last_line(error: Exception) -> str:
    # submitit's error contains the traceback of the other process, between two lines of dashes.
    text = str(error).split("-" * 22)
    return (text[len(text) > 1].strip().splitlines() or [type(error).__name__])[-1].strip()


def _report(entry: Entry) -> None:
    if entry.job.completed() is None:
        # The other machine printed the failure only into its log.
        result = read_result(entry.job.folder)
        text = terminal.failure(result, entry.job.title, entry.job.folder, Screen.of(sys.stderr))
        tqdm.write(text, file=sys.stderr)
