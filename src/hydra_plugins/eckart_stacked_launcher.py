"""Hydra's face of the stacked launcher; what it does is imported when a sweep is launched."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from eckart.sweeps.sweep import Sweep


@dataclass
class StackedLauncherConf:
    """Jobs that differ in rank, seed and the content of their targets are trained as one tensor program.

    Attributes:
        jobs: Jobs that a stack has at most; null: any number.
        memory: GiB that a stack may take by estimate.
    """

    _target_: str = "hydra_plugins.eckart_stacked_launcher.StackedLauncher"
    jobs: int | None = None
    memory: float = 4.0


class StackedLauncher(BasicLauncher):
    """Trains the jobs of a eckart sweep in stacks; launches those of any other application one after another.

    Args:
        jobs: Jobs that a stack has at most; None: any number.
        memory: GiB that a stack may take by estimate.
    """

    def __init__(self, jobs: int | None, memory: float) -> None:
        super().__init__()
        if jobs is not None and jobs < 1:
            raise ValueError(f"hydra.launcher.jobs must be at least 1, or null for any number. Found {jobs}.")
        if not 0 < memory < math.inf:
            raise ValueError(f"hydra.launcher.memory must be a positive number of GiB. Found {memory}.")
        self.jobs, self.memory = jobs, memory

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over what a launch needs; the sweeper composes each job as well, to see that it can be."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._stacks = getattr(task_function, "__module__", None) == "eckart.cli"
        if self._stacks:
            from eckart.sweeps.composing import SweepComposer

            hydra_context.config_loader = cast(ConfigLoader, SweepComposer(hydra_context.config_loader))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; a job that fails stops no other."""
        if not self._stacks:
            return super().launch(job_overrides, initial_job_idx)
        assert self.hydra_context is not None and self.config is not None and self.task_function is not None
        return self.sweep(self.hydra_context, self.task_function, self.config).launch(job_overrides, initial_job_idx)

    def sweep(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> "Sweep":
        """What runs the jobs of a sweep."""
        from eckart.sweeps.sweep import Sweep

        return Sweep(context, task, config, jobs=self.jobs, memory=self.memory)


class StackedSlurmLauncher(StackedLauncher):
    """Sends the stacks of a eckart sweep to a SLURM cluster.

    Args:
        jobs: Jobs that a stack has at most; None: any number.
        memory: GiB that a stack may take by estimate.
        cluster: ``slurm``; ``local`` runs the stacks as processes of this machine.
        folder: Where the scripts and logs of the cluster's jobs are kept.
        **parameters: What each of the cluster's jobs asks for, in the names of submitit.
    """

    def __init__(self, jobs: int | None, memory: float, cluster: str, folder: str, **parameters: Any) -> None:
        super().__init__(jobs, memory)
        self.cluster, self.folder = cluster, folder
        self.parameters = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in parameters.items()
        }

    def sweep(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> "Sweep":
        """What runs the jobs of a sweep."""
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
