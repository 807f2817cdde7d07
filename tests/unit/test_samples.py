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
    np.testing.assert_allclose(data.supply("target")["target"], expected, rtol=1e-6)
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
