"""Learning-rate schedules: factors on the learning rate as functions of the share of the training that is done.

A schedule has no state, so a resumed run continues with the rates of the run without an interruption.
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer

Schedule = Callable[[float], float]


def cosine(progress: float, *, warmup: float = 0.0, final: float = 0.0) -> float:
    """Rise linearly over the first ``warmup`` of the training, then fall along half a cosine to ``final``.

    Example:
        >>> [round(cosine(progress, final=0.1), 3) for progress in (0.0, 0.5, 1.0)]
        [1.0, 0.55, 0.1]
    """
    if progress < warmup:
        return progress / warmup
    return final + (1 - final) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def exponential(progress: float, *, final: float = 0.01) -> float:
    """Decrease from 1 to ``final``, by the same ratio in equal parts of the training.

    Example:
        >>> round(exponential(0.5, final=0.01), 3)
        0.1
    """
    return float(final**progress)


def apply(schedule: Schedule | None, optimizer: Optimizer, progress: float) -> None:
    """Set the learning rate of every param group for a share of the training in [0, 1]."""
    if schedule is not None:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * schedule(progress)
