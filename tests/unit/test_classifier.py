"""The classifier in the coordinates of the components is the classifier of all inputs."""

import copy
import functools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import StochasticWeightAveraging
from torch import nn

from eckart.data.samples import SampleData, Samples
from eckart.methods import classifier
from eckart.methods.classifier import Classifier

SGD = functools.partial(torch.optim.SGD, lr=0.3, momentum=0.9, weight_decay=1e-2)
PLAIN = functools.partial(torch.optim.SGD, lr=0.3)
ADAM = functools.partial(torch.optim.Adam, lr=0.01)


def samples() -> Samples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(150, 12, generator=generator)
    labels = (inputs[:, 0] > inputs[:, 1]).long()
    return Samples(inputs[:130], labels[:130], inputs[130:], labels[130:], 1.0, (3, 4))


def trained(
    optimizer: Any, *, options: dict[str, Any] | None = None, augmentation: str = "none", **settings: Any
) -> Classifier:
    data = SampleData(samples, batch_size=20, augmentation=augmentation)
    data.setup()
    supply = data.supply("labels")
    with warnings.catch_warnings(action="ignore"):
        method = Classifier(
            supply["inputs"][None],
            supply["labels"][None],
            ranks=[3],
            seeds=[0],
            optimizer=optimizer,
            dtype=torch.float64,
            hidden=[6],
            epochs=3,
            schedule=lambda progress: 1 - progress / 2,
            **settings,
        )
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {
            "enable_model_summary": False,
            "accelerator": "cpu",
            "precision": "64-true",
            "max_epochs": 3,
            "num_sanity_val_steps": 0,
        }
        Trainer(**quiet, **(options or {})).fit(method, datamodule=data)
    return method


def check_same(found: Classifier, expected: Classifier, atol: float) -> None:
    sums = (found.train_loss_sum_per_epoch, expected.train_loss_sum_per_epoch)
    np.testing.assert_allclose(*sums, rtol=0, atol=atol)
    assert (found.accuracy, found.step_count) == (expected.accuracy, expected.step_count) == (found.accuracy, 21)
    weights = found.net.state_dict()
    assert weights.keys() == expected.net.state_dict().keys()
    for name, value in expected.net.state_dict().items():
        np.testing.assert_allclose(weights[name], value, rtol=0, atol=atol)


@pytest.mark.parametrize("augmentation", ["none", "flip"])
@pytest.mark.parametrize("optimizer", [SGD, PLAIN], ids=["momentum", "plain"])
def test_coordinates_train_the_same_net(optimizer: Any, augmentation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last block of an epoch is a short one.
    monkeypatch.setattr(classifier, "BLOCK", 3)
    found = trained(optimizer, augmentation=augmentation)
    expected = trained(optimizer, augmentation=augmentation, coordinates=False)
    assert (found._data.coordinates is None) == (augmentation != "none") and expected._data.coordinates is None
    assert found.trained_in_coordinates and found.in_blocks and not expected.trained_in_coordinates
    first = found.net.layers[0]
    assert isinstance(first, nn.Linear) and first.in_features == 12
    check_same(found, expected, atol=1e-9)
    np.testing.assert_allclose(
        found(samples().test_inputs).detach(), expected(samples().test_inputs).detach(), atol=1e-9
    )


AVERAGED = {"callbacks": [StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1, annealing_epochs=1)]}


@pytest.mark.parametrize("options", [{"gradient_clip_val": 0.05}, {"accumulate_grad_batches": 2}, AVERAGED], ids=str)
def test_options_of_single_steps_are_kept(options: dict[str, Any]) -> None:
    found, expected = (trained(SGD, options=copy.deepcopy(options), coordinates=how) for how in (True, False))
    assert found.trained_in_coordinates and not found.in_blocks
    check_same(found, expected, atol=1e-9)
    assert found.train_loss_sum_per_epoch != pytest.approx(trained(SGD).train_loss_sum_per_epoch, abs=1e-6)


def test_clipping_that_depends_on_the_basis_is_refused() -> None:
    options = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    with pytest.raises(ValueError, match=r"^Gradients are clipped entry by entry, .*: method\.coordinates=false\."):
        trained(SGD, options=options)
    assert not trained(SGD, options=options, coordinates=False).trained_in_coordinates


def test_other_optimizers_train_the_dense_layer() -> None:
    found, expected = trained(ADAM), trained(ADAM, coordinates=False)
    assert not found.trained_in_coordinates
    check_same(found, expected, atol=0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_loss_that_is_not_finite_gives_the_state_of_the_epoch_before_back(momentum: float) -> None:
    method = trained(functools.partial(torch.optim.SGD, lr=float("inf"), momentum=momentum))
    assert method.diverged and method.fields(0)["status"] == "diverged"
    assert method.step_count == 2
    assert all(value.isfinite().all() for value in method.net.state_dict().values())
