"""Whole batches of labeled samples, each as one slice of the tensors."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from eckart.linalg.random import stream


class Index(NamedTuple):
    """Which samples a batch has, of which epoch, and the place of the first one in the order of the epoch."""

    epoch: int
    first: int
    samples: Tensor


class Labeled(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and labels, of which a batch is one slice, which is many times faster than single samples.

    Args:
        stored: Inputs as they are stored, shape ``(N, …)``.
        labels: Shape ``(N,)``.
        prepared: What is done to the inputs of a batch, given its epoch and the place of its first sample.
    """

    def __init__(self, stored: Tensor, labels: Tensor, prepared: Callable[[Tensor, int, int], Tensor]) -> None:
        self._stored, self._labels, self._prepared = stored, labels, prepared

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Index) -> tuple[Tensor, Tensor]:
        inputs = self._prepared(self._stored[index.samples], index.epoch, index.first)
        return inputs, self._labels[index.samples]


class Batches(DistributedSampler[Index]):
    """The batches of an epoch, in an order of its own.

    Every process gets all batches, and the method takes its share of each; Lightning would distribute the batches of
    any other sampler.

    Args:
        samples: What the batches are of.
        batch_size: Samples in each but the last.
        seed: Draws the order; None keeps that of the samples.

    Example:
        >>> samples = Labeled(torch.arange(5), torch.zeros(5), lambda stored, *_: stored)
        >>> [samples[index][0].tolist() for index in Batches(samples, 2, seed=None)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, samples: Labeled, batch_size: int, seed: int | None) -> None:
        super().__init__(samples, num_replicas=1, rank=0)
        self.samples, self._batch_size, self._seed = samples, batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.samples) // self._batch_size)

    def __iter__(self) -> Iterator[Index]:
        count = len(self.samples)
        order = torch.arange(count)
        if self._seed is not None:
            order = torch.randperm(count, generator=stream(self._seed, "order", self.epoch))
        for first in range(0, count, self._batch_size):
            yield Index(self.epoch, first, order[first : first + self._batch_size])
