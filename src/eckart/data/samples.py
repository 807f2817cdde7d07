"""Labeled samples: what a classifier trains on, and as a matrix samples × pixels."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from eckart.data.matrix import MatrixData
from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream


class Samples(NamedTuple):
    """Training and test set: inputs ``(N, pixels)`` as stored, labels ``(N,)``, and the largest value of a pixel."""

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    largest: float


def mnist(root: str) -> Samples:
    """MNIST by torchvision, read from ``root/MNIST/raw`` or downloaded there once.

    Raises:
        FileNotFoundError: If it is not there and cannot be downloaded.
    """
    from torchvision.datasets import MNIST

    try:
        train, test = (MNIST(root, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"MNIST is not under data.root={root} and cannot be downloaded there. "
            f"Give data.root=FOLDER that holds MNIST/raw, or take data=digits, which needs no download."
        ) from error
    return Samples(train.data.flatten(1), train.targets, test.data.flatten(1), test.targets, 255.0)


def digits() -> Samples:
    """scikit-learn's 1797 handwritten digits of 8×8 pixels in 0..16; each fifth is held out for testing."""
    from sklearn.datasets import load_digits

    inputs, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    test = torch.arange(len(labels)) % 5 == 4
    return Samples(inputs[~test], labels[~test], inputs[test], labels[test], 16.0)


class SampleData(MatrixData):
    """A set of labeled samples in batches, or its training inputs as a target.

    Args:
        source: Loads the samples.
        pixels: ``raw``, as they are stored, or ``scaled`` to [0, 1].
        batch_size: Samples a batch.
        seed: Draws the order of each epoch, and the observed entries for completion.
        **common: As in :class:`eckart.data.matrix.MatrixData`.

    Raises:
        ValueError: For an unknown ``pixels``, or a batch size below 1.
    """

    def __init__(
        self,
        source: Callable[[], Samples],
        *,
        pixels: str = "raw",
        batch_size: int = 64,
        seed: int = 0,
        **common: Any,
    ) -> None:
        require_one_of("data.pixels", pixels, ("raw", "scaled"))
        require_count("data.batch_size", batch_size)
        super().__init__(lambda: self._inputs(self.samples.train_inputs).double(), seed=seed, **common)
        self._load, self._pixels, self._batch_size, self._order_seed = source, pixels, batch_size, seed

    def setup(self, stage: str | None = None) -> None:
        """Load the samples once."""
        if not hasattr(self, "samples"):
            self.samples = self._load()

    def supply(self, needs: str) -> dict[str, Any]:
        """Training inputs and labels under ``needs="labels"``, else the training inputs as a target."""
        if needs == "labels":
            return {"inputs": self._inputs(self.samples.train_inputs), "labels": self.samples.train_labels}
        self._make_target()
        return super().supply(needs)

    def operator(self) -> Operator:
        """The training inputs, samples × pixels."""
        self._make_target()
        return super().operator()

    def _make_target(self) -> None:
        if not self.target.numel():
            super().setup()

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the training set, in a new order each epoch."""
        samples = self.samples
        dataset = TensorDataset(self._inputs(samples.train_inputs), samples.train_labels)
        return DataLoader(dataset, sampler=_Batches(dataset, self._batch_size, self._order_seed), batch_size=None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the test set."""
        dataset = TensorDataset(self._inputs(self.samples.test_inputs), self.samples.test_labels)
        return DataLoader(dataset, sampler=_Batches(dataset, 1000, None), batch_size=None)

    def _inputs(self, stored: Tensor) -> Tensor:
        return stored.float() / (self.samples.largest if self._pixels == "scaled" else 1.0)


class _Batches(DistributedSampler[Tensor]):
    # Whole batches are sliced from the tensors at once, many times faster than sample by sample. Every process sees all
    # of them, and the method takes its share of each; Lightning deals out the batches of samplers of any other kind.
    def __init__(self, dataset: TensorDataset, batch_size: int, seed: int | None) -> None:
        super().__init__(dataset, num_replicas=1, rank=0)
        self._count, self._batch_size, self._seed = len(dataset), batch_size, seed

    def __len__(self) -> int:
        return -(-self._count // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self._count)
        if self._seed is not None:
            order = torch.randperm(self._count, generator=stream(self._seed, "order", self.epoch))
        yield from order.split(self._batch_size)
