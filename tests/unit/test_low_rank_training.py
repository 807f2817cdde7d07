import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

from eckart.compression.counting import count_parameters
from eckart.methods.low_rank_training import LowRankTraining
from eckart.nn.mlp import MLP
from eckart.optim.low_rank_integrator import LowRankIntegrator, low_rank_layers

WIDTHS = (16, 41, 37, 3)
DENSE = 16 * 41 + 41 * 37 + 37 * 3 + 41 + 37 + 3


def samples(count: int = 96) -> tuple[Tensor, Tensor]:
    """Points near three centers, on which a small net learns quickly."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    centers = torch.randn(3, 16, generator=generator)
    return centers[labels] + 0.5 * torch.randn(count, 16, generator=generator), labels


INTEGRATOR = functools.partial(LowRankIntegrator, lr=0.05)


def method(optimizer: Any = INTEGRATOR, **settings: Any) -> LowRankTraining:
    inputs, labels = samples()
    settings = {"epochs": 4, "every": 2, "model": lambda: MLP(WIDTHS, "relu"), "ranks": [None], **settings}
    return LowRankTraining(inputs, labels, None, seeds=[0], optimizer=optimizer, **settings)


def trained(made: LowRankTraining, folder: Path | None = None, epochs: int | None = None) -> LowRankTraining:
    loader = DataLoader(TensorDataset(*samples()), batch_size=16, shuffle=False)
    quiet: dict[str, Any] = {
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    trainer = Trainer(max_epochs=epochs or made.max_epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    resumed = folder / "last.ckpt" if folder is not None and (folder / "last.ckpt").exists() else None
    if resumed is not None:
        made.take_shape(torch.load(resumed, weights_only=True))
    trainer.fit(made, loader, loader, ckpt_path=resumed)
    if folder is not None and resumed is None:
        trainer.save_checkpoint(folder / "last.ckpt")
    return made


def ranks(made: LowRankTraining) -> list[int]:
    return [layer.rank for layer in low_rank_layers(made.net).values()]


def test_a_budget_is_kept_and_used() -> None:
    made = method(budget=0.4)
    limit = int(0.4 * DENSE)
    assert count_parameters(made.net) > limit
    trained(made)
    fields = made.fields(0)
    assert fields["parameters"] == count_parameters(made.net) <= limit
    # No layer has room for one more rank.
    assert fields["parameters"] > limit - (16 + 41) and fields["dense_parameters"] == DENSE
    assert fields["multiply_adds"] == fields["parameters"] - 81 and fields["dense_multiply_adds"] == DENSE - 81
    assert [layer["rank"] for layer in fields["layers"]] == [*ranks(made), None]
    assert [layer["shape"] for layer in fields["layers"]] == [[41, 16], [37, 41], [3, 37]]
    assert made.recorded()["rank/layers.0"] == ranks(made)[0]
    assert made.validation_accuracy is not None and made.validation_accuracy > 0.9


def test_a_tolerance_truncates() -> None:
    assert sum(ranks(trained(method(tolerance=0.6)))) < sum(ranks(trained(method(tolerance=0.05))))


@pytest.mark.parametrize("optimizer", [INTEGRATOR, torch.optim.Adam])
def test_a_rank_stays(optimizer: Any) -> None:
    made = trained(method(optimizer, ranks=[3], initialization="normal"))
    assert ranks(made) == [3, 3]
    # Where factors of rank 99 would have more parameters than the dense layer, they get as many as save some.
    assert ranks(method(optimizer, ranks=[99])) == [11, 19]


def test_the_start_follows_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = method(ranks=[3])
    torch.manual_seed(2)
    second = method(ranks=[3])
    for name, value in first.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name])


class Largest(TorchDispatchMode):
    """The largest number of entries of a tensor with memory that an operation gives."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and not leaf.is_meta]
        self.entries = max(self.entries, *sizes, 0)
        return out


def test_no_dense_weight_is_ever_held() -> None:
    with Largest() as watch:
        made = method(model=lambda: MLP((16, 211, 199, 3), "relu"), budget=0.05, start=0.05, epochs=1)
        trained(made).fields(0)
    # The largest: a batch of the widest layer.
    assert 0 < watch.entries <= 32 * 211 < 211 * 199


def test_multiply_adds_of_a_model_that_reads_values_are_not_known() -> None:
    class Reading(MLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if float(x.sum()) < 1e9 else x

    fields = trained(method(model=lambda: Reading(WIDTHS, "relu"), ranks=[2], epochs=1)).fields(0)
    assert fields["dense_multiply_adds"] is None and fields["multiply_adds"] > 0


def test_a_run_that_diverges_goes_back_to_the_ranks_of_its_last_state() -> None:
    made = method(functools.partial(LowRankIntegrator, lr=1e6), budget=0.4)
    trained(made)
    fields = made.fields(0)
    assert fields["status"] == "diverged" and fields["error"] == "diverged: its loss is no longer finite"
    assert all(parameter.isfinite().all() for parameter in made.net.parameters())


def test_the_net_is_within_the_budget_also_where_the_training_was_cut_short() -> None:
    made = method(budget=0.4, epochs=40)
    kept: list[int] = []
    made.on_validation_epoch_start = lambda: kept.append(count_parameters(made.net))  # type: ignore[method-assign]
    made.validation_step = made.on_validation_epoch_end = lambda *_: None  # type: ignore[assignment,method-assign]
    trained(made, epochs=1)
    assert count_parameters(made.net) <= 0.4 * DENSE < kept[0]


def test_a_resumed_run_continues_with_its_ranks(tmp_path: Path) -> None:
    whole = trained(method(budget=0.4))
    trained(method(budget=0.4), tmp_path, epochs=3)
    other = method(budget=0.4)
    before = ranks(other)
    trained(other, tmp_path)
    assert ranks(other) == ranks(whole) != before
    for name, value in other.net.state_dict().items():
        torch.testing.assert_close(value, whole.net.state_dict()[name])


def test_frobenius_decay_is_that_of_the_products() -> None:
    plain, decayed = (method(torch.optim.SGD, ranks=[3], frobenius_decay=value) for value in (0.0, 0.5))
    x, labels = samples()
    x = plain.prepared(x)
    products = [(layer.left @ layer.right).square().sum() for layer in low_rank_layers(plain.net).values()]
    last: Any = plain.net.get_submodule("layers.2")
    expected = 0.25 * (sum(products) + last.weight.square().sum())
    assert (decayed.loss(x, labels) - plain.loss(x, labels)).item() == pytest.approx(float(expected), rel=1e-4)
    integrated = method(ranks=[3], frobenius_decay=0.5)
    assert integrated.configure_optimizers().param_groups[0]["decay"] == 0.5
    assert integrated.loss(x, labels).item() == pytest.approx(plain.loss(x, labels).item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Ranks follow from one of budget=, method.tolerance= and rank=. Found none."),
        ({"budget": 0.1, "tolerance": 0.1}, "Found budget=0.1 and method.tolerance=0.1."),
        ({"tolerance": 1.0}, "tolerance must satisfy 0 < tolerance < 1. Found 1.0."),
        ({"tolerance": 0.0}, "tolerance must satisfy 0 < tolerance < 1. Found 0.0."),
        ({"tolerance": math.nan}, "tolerance must satisfy 0 < tolerance < 1. Found nan."),
        ({"budget": 0.1, "start": 1.5}, "start must satisfy 0 < start <= 1. Found 1.5."),
        ({"budget": 0.1, "adapting": 0.0}, "adapting must satisfy 0 < adapting <= 1. Found 0.0."),
        ({"budget": 0.1, "epochs": 0}, "epochs must be an integer of at least 1. Found 0."),
        ({"budget": 0.1, "smoothing": 1.0}, "smoothing must satisfy 0 <= smoothing < 1. Found 1.0."),
        ({"budget": 0.1, "gain": -1.0}, "gain must not be negative. Found -1.0."),
        ({"budget": 0.1, "initialization": "flat"}, "initialization must be one of: spectral, normal. Found 'flat'."),
        ({"budget": 0.1, "weights": {}}, "A net that is trained from the start has no model.checkpoint. Found one."),
        (
            {"budget": 0.1},
            "The budget must be at least 0.1383 of the dense net's 2,365 parameters: rank 1 in each layer has 327. "
            "Found budget=0.1, which is 236.",
        ),
        ({"ranks": [2], "model": lambda: nn.Linear(16, 3)}, "The model must have a layer that can have low rank. Fou"),
        ({"tolerance": 0.1, "optimizer": torch.optim.Adam}, "Ranks that adapt need optimizer=low_rank_integrator; ano"),
    ],
)
def test_bad_input_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        method(**settings)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_dropout_draws_follows_from_the_epoch(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(16, 41), nn.ReLU(), nn.Dropout(0.5), nn.Linear(41, 3))

    def made() -> LowRankTraining:
        return method(functools.partial(torch.optim.Adam, lr=0.01), ranks=[3], epochs=2, model=net)

    whole = trained(made())
    # Whatever was drawn before in the process, and with an interruption between the epochs.
    torch.rand(7)
    trained(made(), tmp_path, epochs=1)
    resumed = trained(made(), tmp_path)
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(one, other)


def test_labels_are_smoothed_in_the_loss() -> None:
    made = method(ranks=[3], smoothing=0.3)
    x, labels = made.prepared(made.samples[0]), made.samples[1]
    spread = torch.full((len(labels), 3), 0.3 / 3).scatter_(1, labels[:, None], 1 - 0.3 + 0.3 / 3)
    expected = -(spread * made.net(x).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(made.loss(x, labels), expected)


def test_factors_start_at_a_share_of_the_weight_and_with_the_gain() -> None:
    budget = 0.3
    assert ranks(method(budget=budget)) == [round(2.5 * budget * a * b / (a + b)) for a, b in ((16, 41), (41, 37))]
    assert ranks(method(tolerance=0.1)) == [round(0.5 * a * b / (a + b)) for a, b in ((16, 41), (41, 37))]
    small, large = (low_rank_layers(method(ranks=[3], gain=gain).net)["layers.0"].weight for gain in (1.0, 9.0))
    torch.testing.assert_close(large, 3 * small)
