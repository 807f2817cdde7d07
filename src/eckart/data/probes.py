"""Probes: random vectors x. A net learns a matrix A from their images Ax.

With probes of second moment ``C = E[x xᵀ]`` the expected loss of a net that represents ``W`` is
``‖(W - A) C^½‖²``, so the distribution of the probes decides which ``W`` is best.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.random import stream


def gaussian(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes with entries from N(0, 1): ``C = I``, but finite batches have noisy gradients. Shape ``(count, size)``."""
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def uniform(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes with entries from U(0, 1), as in the paper: ``C = I/12 + 11ᵀ/4``. Shape ``(count, size)``."""
    return torch.rand(count, size, generator=generator, dtype=torch.float64)


def orthogonal(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Probes that are orthogonal in sets of ``size``, each of norm ``√size``. Shape ``(count, size)``.

    A whole set has ``XᵀX = size · I`` exactly, so the gradient of one such batch is that of the expected loss, without
    noise. The gradient of a batch smaller than a set is noisy. Fewer than ``size`` are drawn without the rest of
    their set, in time and memory that grow with ``count · size``.

    Example:
        >>> x = orthogonal(4, 4, stream(0, "probes"))
        >>> torch.allclose(x.T @ x, 4 * torch.eye(4, dtype=x.dtype))
        True
    """
    if count < size:
        q, r = torch.linalg.qr(gaussian(count, size, generator).mT)
        return (q * r.diagonal().sign()).mT * size**0.5
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
    """The probes of a stack, in batches.

    The batch of a member depends only on its seed and on the step: a resumed run and a run of the member alone draw the
    same batches. Members with the same seed share one set of probes.

    Args:
        law: ``gaussian``, ``uniform`` or ``orthogonal``.
        size: Length n of a probe.
        vectors: Number of probes that are drawn once and used in epochs, in a new order in each; None draws new probes
            at each step, or, if they are orthogonal, one set of ``size``.
        batch_size: Probes in a step; None takes all, or 32 if they are new at each step.
        seeds: Seed of each of the J members.
        dtype: Type of the probes; they are drawn in float64 and rounded to it.

    Attributes:
        fixed: Whether the probes are drawn once.
        sets: Probes that are drawn once, one set for each different seed, shape ``(seeds, vectors, n)``.
        members: Index of the set of each member, shape ``(J,)``.

    Raises:
        ValueError: For an unknown law, or counts below 1.

    Example:
        >>> probes = Probes("uniform", size=3, vectors=4, batch_size=2, seeds=[7, 8, 7])
        >>> probes.batch(0).shape
        torch.Size([3, 2, 3])
        >>> epoch = torch.cat([probes.batch(0), probes.batch(1)], dim=1)
        >>> torch.allclose(epoch.sum(1), probes.all.sum(1))
        True
    """

    def __init__(
        self,
        law: str,
        size: int,
        *,
        vectors: int | None,
        batch_size: int | None,
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float64,
    ) -> None:
        require_one_of("probes", law, LAWS)
        for name, count in (("vectors", vectors), ("batch_size", batch_size)):
            if count is not None:
                require_count(name, count)
        self._draw, self.size, self._seeds = LAWS[law], size, list(dict.fromkeys(seeds))
        self.members = torch.tensor([self._seeds.index(seed) for seed in seeds])
        if vectors is None and law == "orthogonal":
            vectors = size
        self.fixed, self.count = vectors is not None, vectors or 0
        self.batch_size = min(batch_size or self.count, self.count) if self.fixed else batch_size or 32
        self.sets = torch.empty(len(self._seeds), self.count, size, dtype=dtype)
        if self.fixed:
            for own, seed in zip(self.sets, self._seeds, strict=True):
                own.copy_(self._draw(self.count, size, stream(seed, "probes")))
        self._epoch, self._order = -1, torch.empty(len(self._seeds), 0, dtype=torch.long)

    @property
    def all(self) -> Tensor:
        """All probes of each member, shape ``(J, vectors, n)``; ``vectors`` is 0 if they are new at each step."""
        return self._of_members(self.sets)

    def to(self, device: torch.device) -> None:
        """Move the probes to the device of the training."""
        self.sets, self.members, self._order = (part.to(device) for part in (self.sets, self.members, self._order))

    def places(self, step: int) -> Tensor | None:
        """Indices of the fixed probes of each member in a step, shape ``(J, batch)``; None if the step uses all."""
        if not self.fixed or self.batch_size == self.count:
            return None
        return self.order(step, 1)[self.members]

    def order(self, step: int, steps: int) -> Tensor:
        """Indices of the fixed probes of each set in some steps, as many of them as are left in the epoch.

        Shape ``(seeds, steps · batch)``, batch after batch; the last batch of an epoch can be smaller.

        Example:
            >>> probes = Probes("uniform", size=3, vectors=5, batch_size=2, seeds=[7])
            >>> [probes.order(0, steps).shape[1] for steps in (1, 2, 3, 4)]
            [2, 4, 5, 5]
        """
        epoch, place = divmod(step, -(-self.count // self.batch_size))
        if epoch != self._epoch:
            self._order, self._epoch = self._shuffled(epoch), epoch
        return self._order[:, place * self.batch_size : (place + steps) * self.batch_size]

    def batch(self, step: int, places: Tensor | None = None) -> Tensor:
        """The probes of a step, counted from 0, shape ``(J, batch, n)``; the last batch of an epoch can be smaller.

        Args:
            step: Number of the step.
            places: Indices of fixed probes, from :meth:`places`; None for those of the step.
        """
        if not self.fixed:
            streams = (stream(seed, "probes", step) for seed in self._seeds)
            fresh = torch.stack([self._draw(self.batch_size, self.size, generator) for generator in streams])
            return self._of_members(fresh.to(self.sets))
        places = self.places(step) if places is None else places
        if places is None:
            return self.all
        # One gather for the whole stack: a copy for each member takes longer than its training step.
        rows = places + self.members[:, None] * self.count
        return self.sets.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, self.size)

    def _shuffled(self, epoch: int) -> Tensor:
        orders = [torch.randperm(self.count, generator=stream(seed, "order", epoch)) for seed in self._seeds]
        return torch.stack(orders).to(self.sets.device)

    def _of_members(self, sets: Tensor) -> Tensor:
        return sets if len(self.members) == len(self._seeds) else sets[self.members]
