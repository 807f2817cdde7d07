"""Probes: random vectors whose images a net learns a matrix from.

With probes of second moment ``C = E[x xᵀ]`` the expected loss of a net that stands for ``W`` is
``‖(W - A) C^½‖²``, so the law of the probes decides what "best" means.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lowrank.checks import require_count, require_one_of
from lowrank.streams import stream


def gaussian(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes with entries from N(0, 1): ``C = I``, but a finite batch has gradient noise. Shape ``(count, size)``."""
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def uniform(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes with entries from U(0, 1), as in the paper: ``C = I/12 + 11ᵀ/4``. Shape ``(count, size)``."""
    return torch.rand(count, size, generator=generator, dtype=torch.float64)


def orthogonal(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes that are orthogonal in sets of ``size``, each of norm ``√size``. Shape ``(count, size)``.

    A whole set has ``XᵀX = size · I`` exactly, so one batch gives the exact gradient of the population loss: no noise
    is left. A batch smaller than a set does not.

    Example:
        >>> x = orthogonal(4, 4, stream(0, "probes"))
        >>> torch.allclose(x.T @ x, 4 * torch.eye(4, dtype=x.dtype))
        True
    """
    sets = -(-count // size)
    q, r = torch.linalg.qr(gaussian(sets * size, size, generator).view(sets, size, size))
    # The signs make Q uniform over the orthogonal group (Mezzadri, Notices AMS 54, 2007).
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    return q.reshape(sets * size, size)[:count] * size**0.5


LAWS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "uniform": uniform,
    "orthogonal": orthogonal,
}


class Probes:
    """The probes of one run, batch by batch.

    A batch follows from the seed and the step alone, so a resumed run and a member of a stack see the same ones.

    Args:
        law: ``gaussian``, ``uniform`` or ``orthogonal``.
        size: Length n of a probe.
        vectors: How many are drawn once and passed over in epochs, newly shuffled for each; None draws fresh ones at
            each step. Orthogonal probes are one set of ``size`` unless told otherwise.
        batch_size: Probes a step; None takes all, or 32 of fresh ones.
        seed: The run's seed.

    Raises:
        ValueError: For an unknown law, or counts below 1.

    Example:
        >>> probes = Probes("uniform", size=3, vectors=4, batch_size=2, seed=0)
        >>> epoch = torch.cat([probes.batch(0), probes.batch(1)])
        >>> torch.equal(epoch.sum(0), probes.all.sum(0))
        True
    """

    def __init__(self, law: str, size: int, *, vectors: int | None, batch_size: int | None, seed: int) -> None:
        require_one_of("method.probes", law, LAWS)
        for name, count in (("vectors", vectors), ("batch_size", batch_size)):
            if count is not None:
                require_count(f"method.{name}", count)
        self._draw, self.size, self.seed = LAWS[law], size, seed
        if vectors is None and law == "orthogonal":
            vectors = size
        self.fixed = vectors is not None
        self.all = self._draw(vectors, size, stream(seed, "probes")) if vectors is not None else torch.empty(0, size)
        self.batch_size = min(batch_size or len(self.all), len(self.all)) if self.fixed else batch_size or 32
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def batch(self, step: int) -> Tensor:
        """The probes of one step, counted from 0, shape ``(batch, size)``; the last of an epoch can be smaller."""
        if not self.fixed:
            return self._draw(self.batch_size, self.size, stream(self.seed, "probes", step))
        if self.batch_size == len(self.all):
            return self.all
        epoch, place = divmod(step, -(-len(self.all) // self.batch_size))
        if epoch != self._epoch:
            self._order = torch.randperm(len(self.all), generator=stream(self.seed, "order", epoch))
            self._epoch = epoch
        return self.all[self._order[place * self.batch_size : (place + 1) * self.batch_size]]
