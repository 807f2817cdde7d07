import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eckart.data.samples import SampleData, Samples, digits


def test_digits_are_split_in_two_disjoint_parts() -> None:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]

    inputs, labels = load_digits(return_X_y=True)
    samples = digits()
    assert len(samples.train_inputs) + len(samples.test_inputs) == len(inputs) == 1797
    assert len(samples.test_inputs) == 1797 // 5
    for part, own in ((samples.train_inputs, samples.train_labels), (samples.test_inputs, samples.test_labels)):
        assert part.shape[1] == 64
        assert set(own.tolist()) == set(range(10))
    rows = sorted((*row, label) for row, label in zip(inputs.tolist(), labels.tolist(), strict=True))
    parts = torch.cat([samples.train_inputs, samples.test_inputs]).tolist()
    both = torch.cat([samples.train_labels, samples.test_labels]).tolist()
    assert sorted((*row, label) for row, label in zip(parts, both, strict=True)) == rows
    assert float(inputs.max()) == samples.largest


def samples() -> Samples:
    inputs = torch.arange(30, dtype=torch.uint8).view(10, 3) * 8
    return Samples(inputs, torch.arange(10) % 3, inputs[:4] + 1, torch.arange(4) % 3, 255.0)


def sample_data(**options: Any) -> SampleData:
    data = SampleData(samples, **options)
    data.setup()
    return data


@pytest.mark.parametrize(("pixels", "divisor"), [("raw", 1.0), ("scaled", 255.0)])
def test_samples_are_a_matrix_of_their_training_set(pixels: str, divisor: float) -> None:
    expected = np.arange(30.0).reshape(10, 3) * 8 / divisor
    data = sample_data(pixels=pixels)
    np.testing.assert_allclose(data.supply("target")["target"].dense()[0], expected, rtol=1e-6)
    supply = data.supply("labels")
    np.testing.assert_allclose(supply["inputs"], expected, rtol=1e-6)
    assert supply["labels"].tolist() == (np.arange(10) % 3).tolist()


def test_batches_visit_every_sample_once_and_labels_stay_with_them() -> None:
    loader = sample_data(batch_size=4, seed=3).train_dataloader()
    assert len(loader) == 3
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [4, 4, 2]
        inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        index = (inputs[:, 0] / 24).round().long()
        assert sorted(index.tolist()) == list(range(10))
        assert torch.equal(labels, index % 3)
        orders.append(index.tolist())
    assert orders[0] != orders[1]
    again = sample_data(batch_size=4, seed=3).train_dataloader()
    assert (torch.cat([inputs for inputs, _ in again])[:, 0] / 24).round().long().tolist() == orders[0]


def test_test_set_keeps_its_order() -> None:
    ((inputs, labels),) = sample_data(seed=3).val_dataloader()
    assert torch.equal(inputs, samples().test_inputs.float())
    assert torch.equal(labels, samples().test_labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": "white"}, "pixels must be one of: raw, scaled. Found 'white'."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1. Found 0."),
    ],
)
def test_errors_of_samples(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SampleData(samples, **options)


def test_mnist_that_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets  # type: ignore[import-untyped, unused-ignore]

    from eckart.data.samples import mnist

    def unreachable(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", unreachable)
    with pytest.raises(FileNotFoundError, match=rf"^MNIST is not in root={tmp_path} .* use data=digits"):
        mnist(str(tmp_path))


def many(count: int = 40) -> Samples:
    inputs = torch.arange(count * 6, dtype=torch.uint8).view(count, 6)
    return Samples(inputs, torch.arange(count) % 3, inputs[:4] + 1, torch.arange(4) % 3, 255.0, (2, 3))


def made(**options: Any) -> SampleData:
    data = SampleData(many, **options)
    data.setup()
    return data


def numbers(data: SampleData, part: str) -> set[int]:
    """Which samples a part has, by their first pixel."""
    inputs, labels = data.part(part)
    found = inputs[:, 0].long() // 6
    assert torch.equal(labels, found % 3)
    return set(found.tolist())


@pytest.mark.parametrize(("validation", "held_out"), [(7, 7), (0.25, 10), (7.0, 7)])
def test_held_out_samples_are_a_part_of_the_training_set(validation: float, held_out: int) -> None:
    data, again, other = (made(validation=validation, seed=seed) for seed in (3, 3, 4))
    trained, chosen_by = numbers(data, "train"), numbers(data, "validation")
    assert len(chosen_by) == held_out and trained | chosen_by == set(range(40)) and not trained & chosen_by
    assert numbers(again, "validation") == chosen_by != numbers(other, "validation")
    seen = torch.cat([inputs for inputs, _ in data.train_dataloader()])[:, 0].long() // 6
    assert sorted(seen.tolist()) == sorted(trained)
    ((inputs, labels),) = data.val_dataloader()
    assert set((inputs[:, 0].long() // 6).tolist()) == chosen_by and len(labels) == held_out
    ((inputs, _),) = data.test_dataloader()
    assert torch.equal(inputs, many().test_inputs.float())
    assert torch.equal(data.supply("samples")["inputs"], data.part("train")[0].float())


def test_a_classifier_is_trained_on_the_whole_training_set() -> None:
    assert len(made().supply("labels")["labels"]) == 40
    with pytest.raises(ValueError, match=r"^data\.validation must be 0: .* Found 7\.$"):
        made(validation=7).supply("labels")


def batches(data: SampleData, epoch: int) -> list[torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [inputs for inputs, _ in loader]


def test_each_batch_of_each_epoch_is_augmented_by_draws_of_its_own() -> None:
    data, plain = (made(augmentation=kind, batch_size=8) for kind in ("flip", "none"))
    first, again, later = batches(data, 0), batches(data, 0), batches(data, 1)
    assert all(map(torch.equal, first, again))
    flips = []
    for found, stored in zip([*first, *later], [*batches(plain, 0), *batches(plain, 1)], strict=True):
        mirrored = stored.view(-1, 2, 3).flip(-1).flatten(1)
        flipped = (found == mirrored).all(1)
        assert (flipped | (found == stored).all(1)).all()
        flips.append(tuple(flipped.tolist()))
    assert len(set(flips)) == len(flips)
    # What is not trained on stays as it is.
    assert torch.equal(next(iter(data.val_dataloader()))[0], next(iter(plain.val_dataloader()))[0])


def test_blocks_are_the_same_batches() -> None:
    single, blocks = (made(augmentation="flip", batch_size=6) for _ in range(2))
    blocks.at_once = 4
    together = batches(blocks, 2)
    assert [len(block) for block in together] == [24, 16]
    assert torch.equal(torch.cat(together), torch.cat(batches(single, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": "noise"}, "data.augmentation must be one of: none, shift, "),
        ({"validation": -1}, "data.validation must be a number of samples or a share below 1. Found -1."),
        ({"validation": 2.5}, "data.validation must be a number of samples or a share below 1. Found 2.5."),
        ({"validation": 40}, "data.validation must leave some of 40 training samples. Found 40."),
    ],
)
def test_errors_of_parts_and_augmentation(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        made(**options)


def test_augmentation_is_of_images() -> None:
    with pytest.raises(ValueError, match=r"^data\.augmentation must be none: samples are no images\. Found flip\.$"):
        sample_data(augmentation="flip")
