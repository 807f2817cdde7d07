"""Labeled samples: the data of a classifier, and as a matrix samples × pixels a target."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eckart.data.augmentation import KINDS, augmented
from eckart.data.batches import Batches, Labeled
from eckart.data.files.idx import find_idx, read_idx
from eckart.data.matrix import MatrixData, bound
from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream

HELD_OUT = 1 / 12
"""Share of the training samples that methods that train a net choose by: 5000 of 60000."""


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
    """MNIST, read from ``root/MNIST/raw`` or downloaded to it once by torchvision.

    Raises:
        FileNotFoundError: If it is not in ``root`` and cannot be downloaded.
        ValueError: If one of its files is no idx file, is truncated, or has another number of labels than of images.
    """
    return _of_idx_files(
        root,
        "MNIST",
        f"MNIST is not in root={root} and cannot be downloaded to it. "
        f"Set root to a folder that contains MNIST/raw, or use data=digits, which needs no download.",
    )


def fashion_mnist(root: str) -> Samples:
    """Fashion-MNIST: 28×28 pictures of ten kinds of clothing, read from ``root/FashionMNIST/raw`` or downloaded once.

    The four files may be compressed by gzip or not. A package of a distribution that has them, such as Debian's
    dataset-fashion-mnist, can be linked to that folder.

    Raises:
        FileNotFoundError: If it is not in ``root`` and cannot be downloaded.
        ValueError: If one of its files is no idx file, is truncated, or has another number of labels than of images.

    References:
        Xiao, Rasul & Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """
    return _of_idx_files(
        root,
        "FashionMNIST",
        f"Fashion-MNIST is not in root={root} and cannot be downloaded to it. Set root to a folder that contains "
        f"FashionMNIST/raw, link that to the files of Debian's package dataset-fashion-mnist, or use data=digits, "
        f"which needs no download.",
    )


def _of_idx_files(root: str, kind: str, missing: str) -> Samples:
    folder = Path(root, kind, "raw")
    names = [f"{part}-{content}-ubyte" for part in ("train", "t10k") for content in ("images-idx3", "labels-idx1")]
    if not all(find_idx(folder, name) for name in names):
        # It takes a second to import, and is needed for this alone.
        import torchvision.datasets

        try:
            getattr(torchvision.datasets, kind)(root, download=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(missing) from error
    found: list[Tensor] = []
    for name in names:
        path = find_idx(folder, name)
        assert path is not None
        found.append(read_idx(path, 3 if "images" in name else 1))
    for images, labels in (found[:2], found[2:]):
        if len(images) != len(labels):
            raise ValueError(f"{folder} must have a label for each image. Found {len(images)} and {len(labels)}.")
    train, train_labels, test, test_labels = found
    return Samples(train.flatten(1), train_labels.long(), test.flatten(1), test_labels.long(), 255.0, (28, 28))


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
        validation: Training samples that are held out to choose by, drawn by the seed: a number, or a share below 1.
            None: ``HELD_OUT`` of them from a method that trains a net, and none from others.
        augmentation: What is done to the images of each batch of the training set: a kind of
            :func:`eckart.data.augmentation.augmented`, by draws of the epoch and the batch.
        seed: Seed of the order of each epoch, of the samples held out, of the augmentation, and of the observed
            entries for completion.
        scale: As in :class:`eckart.data.matrix.MatrixData`, as ``observed`` and ``own_mask`` are.
        labeled: True: a classifier can be trained on them.
        **parameters: Parameters of ``source``.

    Attributes:
        at_once: Batches of the training set that are handed over as one tensor, which the method splits by
            ``batch_size``; for one whose steps take less time than Lightning needs to hand over a batch.
        coordinates: What the batches of the training set hold in place of its inputs, a row for each sample, shape
            ``(N, k)``; for a method that needs no more of them. None: the inputs.

    Raises:
        ValueError: For an unknown ``pixels`` or augmentation, a batch size below 1, a validation part that leaves
            nothing to train on, or an augmentation of samples that are no images.
    """

    def __init__(
        self,
        source: Callable[..., Samples],
        *,
        pixels: str = "raw",
        batch_size: int = 64,
        validation: float | None = None,
        augmentation: str = "none",
        seed: int = 0,
        scale: float = 1.0,
        observed: float | str | None = None,
        own_mask: Sequence[Sequence[int]] | None = None,
        labeled: bool = True,
        **parameters: Any,
    ) -> None:
        require_one_of("pixels", pixels, ("raw", "scaled"))
        require_one_of("data.augmentation", augmentation, KINDS)
        require_count("batch_size", batch_size)
        if validation is not None and not _is_part(validation):
            raise ValueError(f"data.validation must be a number of samples or a share below 1. Found {validation}.")
        matrix: dict[str, Any] = {"scale": scale, "observed": observed, "own_mask": own_mask}
        super().__init__(self._target, seed=seed, **matrix)
        self._load, self._pixels = bound(source, seed, parameters), pixels
        self.batch_size, self.at_once = batch_size, 1
        self.coordinates: Tensor | None = None
        self._validation, self._augmentation, self._draws = validation, augmentation, seed

    def setup(self, stage: str | None = None) -> None:
        """Load the samples once, and draw those that are held out."""
        if hasattr(self, "samples"):
            return
        self.samples = self._load()
        if self._augmentation != "none" and self.samples.image is None:
            raise ValueError(f"data.augmentation must be none: samples are no images. Found {self._augmentation}.")
        self._hold_out(0 if self._validation is None else self._validation)

    def _hold_out(self, part: float) -> None:
        count = len(self.samples.train_labels)
        held_out = int(part if part >= 1 else round(part * count))
        if held_out >= count:
            raise ValueError(f"data.validation must leave some of {count} training samples. Found {part}.")
        if not held_out:
            self._held_out, self._trained = torch.arange(0), torch.arange(count)
            return
        order = torch.randperm(count, generator=stream(self._draws, "held out"))
        # The parts keep the order of the set, so that nothing but the choice of samples depends on the draws.
        self._held_out, self._trained = order[:held_out].sort().values, order[held_out:].sort().values

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from.

        Args:
            needs: ``labels``: inputs ``(N, pixels)``, raw ones as they are stored, and labels of the whole training
                set; ``samples``: inputs and labels of the part that is not held out, and the shape of an image;
                otherwise the training inputs as a target.

        Raises:
            ValueError: If samples are held out from a method that is trained on the whole training set, or none from
                one that is not.
        """
        if needs == "labels":
            if len(self._held_out):
                raise ValueError(
                    f"data.validation must be 0: the method is trained on the whole training set. "
                    f"Found {self._validation}."
                )
            stored = self.samples.train_inputs
            # Pixels that are stored as bytes are not copied.
            inputs = stored if self._pixels == "raw" else self._inputs(stored)
            return {"inputs": inputs, "labels": self.samples.train_labels}
        if needs == "samples":
            if self._validation is None:
                self._hold_out(HELD_OUT)
            if not len(self._held_out):
                # The test set is read once, when nothing is left to be chosen.
                law = "data.validation must hold out some training samples, which a net is chosen by"
                raise ValueError(f"{law}. Found {self._validation}.")
            inputs, labels = self.part("train")
            return {"inputs": self._inputs(inputs), "labels": labels, "image": self.image}
        self._make_target()
        return super().supply(needs)

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Inputs as stored and labels of a part: ``train`` (without what is held out), ``validation`` or ``test``."""
        if name == "test":
            return self.samples.test_inputs, self.samples.test_labels
        if name == "train" and not len(self._held_out):
            return self.samples.train_inputs, self.samples.train_labels
        chosen = self._trained if name == "train" else self._held_out
        return self.samples.train_inputs[chosen], self.samples.train_labels[chosen]

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
        """Batches of the training set without what is held out, in a new order each epoch, augmented."""
        return self._loader("train", self.batch_size * self.at_once, self._draws)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of what is held out; of the test set where nothing is."""
        return self._loader("validation" if len(self._held_out) else "test", 1000, None)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of the test set."""
        return self._loader("test", 1000, None)

    @property
    def augments(self) -> bool:
        """Whether the images of a batch are changed by draws."""
        return self._augmentation != "none"

    def _loader(self, part: str, batch_size: int, seed: int | None) -> DataLoader[tuple[Tensor, ...]]:
        prepared = self._augmented if part == "train" and self.augments else lambda stored, *_: self._inputs(stored)
        inputs, labels = self.part(part)
        if part == "train" and self.coordinates is not None:
            inputs, prepared = self.coordinates, lambda stored, *_: stored
        batches = Batches(Labeled(inputs, labels, prepared), batch_size, seed)
        return DataLoader(batches.samples, sampler=batches, batch_size=None)

    def _augmented(self, stored: Tensor, epoch: int, first: int) -> Tensor:
        assert self.samples.image is not None
        inputs, changed = self._inputs(stored), []
        for place, images in enumerate(inputs.view(-1, *self.samples.image).split(self.batch_size)):
            generator = stream(self._draws, "augmentation", epoch, first + place * self.batch_size)
            changed.append(augmented(images, self._augmentation, generator))
        return torch.cat(changed).flatten(1)

    def _target(self) -> Tensor:
        stored = self.samples.train_inputs
        return stored.double() if self._pixels == "raw" else self._inputs(stored).double()

    def _inputs(self, stored: Tensor) -> Tensor:
        return stored.float() if self._pixels == "raw" else stored.float() / self.samples.largest


def _is_part(validation: object) -> bool:
    if isinstance(validation, bool) or not isinstance(validation, int | float):
        return False
    return 0 <= validation < 1 or (validation >= 1 and validation == int(validation))
