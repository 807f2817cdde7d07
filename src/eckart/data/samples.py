"""Labeled samples: the data of a classifier, and as a matrix samples × pixels a target."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from eckart.data.matrix import MatrixData, bound
from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream


class Samples(NamedTuple):
    """Training and test set: inputs ``(N, pixels)`` as stored, labels ``(N,)``, and the largest value of a pixel.

    Where a sample is an image, ``image`` has its rows and columns, so that pictures can show it.
    """

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    largest: float
    image: tuple[int, int] | None = None


def mnist(root: str) -> Samples:
    """MNIST from torchvision, read from ``root/MNIST/raw`` or downloaded to it once.

    Raises:
        FileNotFoundError: If it is not in ``root`` and cannot be downloaded.
    """
    from torchvision.datasets import MNIST

    try:
        train, test = (MNIST(root, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"MNIST is not in root={root} and cannot be downloaded to it. "
            f"Set root to a folder that contains MNIST/raw, or use data=digits, which needs no download."
        ) from error
    return Samples(train.data.flatten(1), train.targets, test.data.flatten(1), test.targets, 255.0, (28, 28))


def digits() -> Samples:
    """scikit-learn's 1797 handwritten digits of 8×8 pixels in 0..16; every fifth is in the test set."""
    from sklearn.datasets import load_digits

    inputs, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    test = torch.arange(len(labels)) % 5 == 4
    return Samples(inputs[~test], labels[~test], inputs[test], labels[test], 16.0, (8, 8))


class SampleData(MatrixData):
    """A set of labeled samples in batches, or its training inputs as a target.

    Args:
        source: Loads the samples, from its own parameters.
        pixels: ``raw``, the stored values, or ``scaled`` to [0, 1].
        batch_size: Samples in a batch.
        seed: Seed of the order of each epoch, and of the observed entries for completion.
        scale: As in :class:`eckart.data.matrix.MatrixData`, as ``observed`` and ``own_mask`` are.
        labeled: True: a classifier can be trained on them.
        **parameters: Parameters of ``source``.

    Raises:
        ValueError: For an unknown ``pixels``, or a batch size below 1.
    """

    def __init__(
        self,
        source: Callable[..., Samples],
        *,
        pixels: str = "raw",
        batch_size: int = 64,
        seed: int = 0,
        scale: float = 1.0,
        observed: float | str | None = None,
        own_mask: Sequence[Sequence[int]] | None = None,
        labeled: bool = True,
        **parameters: Any,
    ) -> None:
        require_one_of("pixels", pixels, ("raw", "scaled"))
        require_count("batch_size", batch_size)
        matrix: dict[str, Any] = {"scale": scale, "observed": observed, "own_mask": own_mask}
        super().__init__(lambda: self._inputs(self.samples.train_inputs).double(), seed=seed, **matrix)
        self._load, self._pixels, self._batch_size = bound(source, seed, parameters), pixels, batch_size
        self._order_seed = seed

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

    @property
    def image(self) -> tuple[int, int] | None:
        """Rows and columns of the image that a sample is; None where it is none."""
        return self.samples.image

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
    # A whole batch is one slice of the tensors, which is many times faster than single samples. Every process gets all
    # batches, and the method takes its share of each; Lightning would distribute the batches of any other sampler.
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
