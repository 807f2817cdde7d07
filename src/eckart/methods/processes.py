"""The processes that share one training: each does its part, and all take the same decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Processes:
    """How many processes share a training, and which of them this is.

    One process alone is the default; nothing is then communicated. Several of them must have joined the default
    group of ``torch.distributed``, and each must make the same calls in the same order.

    Args:
        count: Number of processes.
        place: This one's, counted from 0.

    Example:
        >>> Processes(count=2, place=1).share(torch.arange(5))
        tensor([3, 4])
    """

    count: int = 1
    place: int = 0

    def share(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's share of what all have; the shares differ by one at most, and can be empty."""
        return whole if self.count == 1 else whole.tensor_split(self.count, dim)[self.place]

    def sum(self, parts: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their sums over all processes, in one exchange."""
        if self.count > 1:
            flat = torch.cat([part.flatten() for part in parts])
            distributed.all_reduce(flat)
            for part, total in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
                part.copy_(total.view_as(part))

    def follow_first(self, parts: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.count > 1:
            for part in parts:
                distributed.broadcast(part, 0)

    def gather(self, part: Tensor) -> Tensor:
        """Tensors of all processes, of one shape, along a new first dimension."""
        if self.count == 1:
            return part[None]
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.stack(parts)
