"""The stacked launcher as Hydra sees it; the code that runs a sweep is imported when a sweep is launched.

Hydra imports this file in every Hydra application on the machine, so it imports nothing but Hydra.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from eckart.sweeps.sweep import Sweep

_MARK = "eckart_stackable"
_Task = TypeVar("_Task", bound=Callable[..., Any])


def stackable(task: _Task) -> _Task:
    """Mark a task function whose jobs may be trained in stacks; the jobs of any other are run one after another.

    Example:
        >>> @stackable
        ... def task(config): ...
    """
    setattr(task, _MARK, True)
    return task


@dataclass
class StackedLauncherConf:
    """Jobs that differ in rank, seed and the content of their targets are trained as one tensor program.

    Attributes:
        jobs: Largest number of jobs in a stack; null: any number.
        memory: Estimated GiB that a stack may use.
    """

    _target_: str = "hydra_plugins.eckart_stacked_launcher.StackedLauncher"
    jobs: int | None = None
    memory: float = 4.0


class StackedLauncher(Launcher):
    """Trains the jobs of an eckart sweep in stacks; any other application gets Hydra's basic launcher.

    Args:
        jobs: Largest number of jobs in a stack; None: any number.
        memory: Estimated GiB that a stack may use.
    """

    def __init__(self, jobs: int | None, memory: float) -> None:
        if jobs is not None and jobs < 1:
            raise ValueError(f"hydra.launcher.jobs must be at least 1, or null for any number. Found {jobs}.")
        if not 0 < memory < math.inf:
            raise ValueError(f"hydra.launcher.memory must be a positive number of GiB. Found {memory}.")
        self.jobs, self.memory = jobs, memory

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a launch needs, and let the sweeper, which composes each job as well, use the fast composer."""
        self._basic: Launcher | None = None
        self._given = hydra_context, task_function, config
        if getattr(task_function, _MARK, False):
            from eckart.sweeps.composing import SweepComposer

            hydra_context.config_loader = cast(ConfigLoader, SweepComposer(hydra_context.config_loader))
        else:
            self._basic = get_class(ConfigStore.instance().load("hydra/launcher/basic.yaml").node._target_)()
            self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; the others continue when one fails."""
        if self._basic is not None:
            return self._basic.launch(job_overrides, initial_job_idx)
        return self.sweep(*self._given).launch(job_overrides, initial_job_idx)

    def sweep(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> "Sweep":
        """Make the object that runs the jobs of a sweep."""
        from eckart.sweeps.sweep import Sweep

        return Sweep(context, task, config, jobs=self.jobs, memory=self.memory)


class StackedSlurmLauncher(StackedLauncher):
    """Sends the stacks of an eckart sweep to a SLURM cluster.

    Args:
        jobs: Largest number of jobs in a stack; None: any number.
        memory: Estimated GiB that a stack may use.
        cluster: ``slurm``, or ``local`` to run the stacks as processes of this machine.
        folder: Folder of the cluster jobs' scripts and logs.
        **parameters: Resources of each cluster job, in submitit's names.
    """

    def __init__(self, jobs: int | None, memory: float, cluster: str, folder: str, **parameters: Any) -> None:
        super().__init__(jobs, memory)
        self.cluster, self.folder = cluster, folder
        self.parameters = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in parameters.items()
        }

    def sweep(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> "Sweep":
        """Make the object that runs the jobs of a sweep."""
        from eckart.sweeps.cluster import ClusterSweep

        return ClusterSweep(
            context,
            task,
            config,
            jobs=self.jobs,
            memory=self.memory,
            cluster=self.cluster,
            folder=self.folder,
            parameters=self.parameters,
        )


ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=StackedLauncherConf, provider="eckart")
