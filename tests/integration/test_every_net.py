import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import Train, choices, history, result
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torch import Tensor

from eckart import config
from eckart.compression.counting import count_parameters
from eckart.compression.factorized import Factorized
from eckart.data import samples
from eckart.nn.mlp import MLP
from eckart.tracking.metrics import METRICS

WIDTHS = [64, 24, 16, 10]
DIGITS = ("data=digits", "model=mlp", f"model.widths={WIDTHS}".replace(" ", ""), "optimizer.lr=0.01")
QUIET = ("logger=csv", "figures=false")


def nets() -> list[str]:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return [name for name in choices("method") if compose("train", [f"method={name}"]).method.needs == config.NETS]


def short(method: str) -> list[str]:
    if method == "compression":
        # What is measured on a machine differs from run to run.
        return ["method.epochs=2", "method.fine_tuning=1", "method.keep_slower=true"]
    return ["method.epochs=4"]


@pytest.mark.parametrize("method", nets())
def test_a_net_leaves_all_that_it_promises(method: str, train: Train) -> None:
    ended = train(f"method={method}", *DIGITS, "budget=0.5", "seed=3", "logger=csv", *short(method))
    assert (ended.code, ended.stderr) == (0, "")
    found = ended.result
    assert (found["status"], found["error"], found["method"], found["budget"]) == ("completed", None, method, 0.5)
    assert found["rank"] is None and found["shape"] is None
    dense = sum(a * b + b for a, b in itertools.pairwise(WIDTHS))
    weights = load_file(ended.folder / "model.safetensors")
    assert found["dense_parameters"] == dense == count_parameters(MLP(WIDTHS))
    # Both factors and all biases: what is on the disk is what is counted.
    assert found["parameters"] == sum(tensor.numel() for tensor in weights.values()) <= 0.5 * dense
    assert found["multiply_adds"] <= found["dense_multiply_adds"] == dense - sum(WIDTHS[1:])
    # The file rebuilds the net, with no pickle and no config: its accuracy is that of the result.
    net = Factorized.load(ended.folder / "model.safetensors", MLP(WIDTHS, "relu")).model
    digits = samples.digits()
    x = (digits.test_inputs.float() - found["input_mean"]) / found["input_deviation"]
    right = (net(x).argmax(1) == digits.test_labels).double().mean()
    assert float(right) == pytest.approx(found["accuracy"], abs=1 / 359)
    ranks = {layer["path"]: layer["rank"] for layer in found["layers"]}
    assert ranks.keys() == {"layers.0", "layers.1", "layers.2"} and any(ranks.values())
    for path, rank in ranks.items():
        assert rank is None or weights[f"{path}.right"].shape[0] == rank
    rows = history(ended.folder)
    assert [float(row["epoch"]) for row in rows] == [*range(1, 1 + len(found["train_loss_sum_per_epoch"]))]
    numbers = {name for name in rows[0] if name not in ("step", "epoch") and not name.startswith("rank/")}
    assert {"train/loss", "train/loss_sum", "validation_accuracy"} <= numbers <= {*METRICS, "parameters"}
    assert float(rows[-1]["validation_accuracy"]) == pytest.approx(found["validation_accuracy"])
    assert 0.2 < found["accuracy"] <= 1 and f"{found['accuracy']:.4f}" in ended.stdout
    assert sum(map(sum, found["confusion"])) == 359
    assert {path.name for path in (ended.folder / "figures").iterdir()} == {"accuracy.png", "confusion.png"}
    if method == "compression":
        assert 0 <= found["accuracy_factorized"] <= 1 and 0 <= found["accuracy_dense"] <= 1
        assert all(layer["excess"] == pytest.approx(0, abs=1e-6) for layer in found["layers"])
        assert found["latency"]["dense"].keys() == found["latency"]["factorized"].keys() == {"1", "256"}


@pytest.mark.parametrize("method", nets())
def test_nothing_is_chosen_by_the_test_set_which_is_read_once(
    method: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    own = samples.SampleData.test_dataloader

    def counted(self: Any) -> Any:
        reads.append("test")
        return own(self)

    monkeypatch.setattr(samples.SampleData, "test_dataloader", counted)
    whole, digits = {}, samples.digits
    for poisoned in (False, True):
        if poisoned:
            nan = digits()._replace(test_inputs=torch.full((359, 64), math.nan))
            monkeypatch.setattr(samples, "digits", lambda nan=nan: nan)
        ended = train(f"method={method}", *DIGITS, "budget=0.5", *QUIET, *short(method))
        assert reads == ["test"] * (1 + poisoned)
        whole[poisoned] = load_file(ended.folder / "model.safetensors"), ended.result["accuracy"]
    _assert_equal(whole[False][0], whole[True][0])
    assert whole[True][1] < 0.2 < whole[False][1]


@pytest.mark.processes
def test_validation_samples_are_not_trained_on(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    own = samples.SampleData.part

    def poisoned(self: Any, name: str) -> tuple[Tensor, Tensor]:
        inputs, labels = own(self, name)
        return (torch.full_like(inputs.float(), math.nan) if name == "validation" else inputs), labels

    clean = train("method=compression", *DIGITS, "budget=0.5", *QUIET, *short("compression"))
    monkeypatch.setattr(samples.SampleData, "part", poisoned)
    ended = train("method=compression", *DIGITS, "budget=0.5", *QUIET, *short("compression"))
    _assert_equal(*(load_file(run.folder / "model.safetensors") for run in (clean, ended)))
    assert ended.result["validation_accuracy"] < 0.2


@pytest.mark.processes
def test_jobs_of_a_sweep_share_the_dense_net_and_are_what_they_are_alone(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eckart.methods.compression import Compression

    trained: list[int] = []
    own = Compression.on_train_epoch_start

    def counted(self: Any) -> None:
        trained.append(self.current_epoch)
        own(self)

    monkeypatch.setattr(Compression, "on_train_epoch_start", counted)
    ended = train("-m", "method=compression", *DIGITS, "budget=0.6,0.4", *QUIET, *short("compression"))
    # Two epochs of the dense net once, and one of each small net.
    assert trained == [0, 1, 2, 2] and len(ended.folders) == 2
    alone = train("method=compression", *DIGITS, "budget=0.4", *QUIET, *short("compression"))
    second = next(folder for folder in ended.folders if "0.4" in folder.name)
    _assert_equal(*(load_file(folder / "model.safetensors") for folder in (second, alone.folder)))
    assert history(second) == history(alone.folder)
    assert list(second.parent.rglob("*common*")) == []


@pytest.mark.processes
def test_a_net_continues_with_the_layers_that_its_checkpoint_has(train: Train) -> None:
    settings = (
        *("method=compression", *DIGITS, "budget=0.4", *QUIET),
        *("method.keep_slower=true", "schedule=constant", "method.epochs=1"),
    )
    first = train(*settings, "method.fine_tuning=1")
    longer = train(*settings, "method.fine_tuning=2", f"ckpt={first.folder / 'last.ckpt'}")
    whole = train(*settings, "method.fine_tuning=2")
    assert (longer.code, longer.stderr) == (0, "")
    _assert_equal(*(load_file(run.folder / "model.safetensors") for run in (longer, whole)))
    for name in ("accuracy", "accuracy_dense", "accuracy_factorized", "parameters", "layers"):
        assert longer.result[name] == whole.result[name]
    other = train(*settings, "model.widths=[64,20,10]", f"ckpt={first.folder / 'last.ckpt'}")
    assert other.code == 1 and "its state_dict must hold" in other.line


@pytest.mark.processes
def test_a_rule_chooses_a_rank_for_each_layer(train: Train) -> None:
    settings = ("method=compression", *DIGITS, *QUIET, *short("compression"), "rank=auto")
    found = train(*settings, "selection=energy", "selection.share=0.5").result
    ranks = [layer["rank"] for layer in found["layers"]]
    assert found["budget"] is None and all(layer["why"].startswith("energy: ") for layer in found["layers"])
    more = train(*settings, "selection=energy", "selection.share=0.8").result
    assert all(a < b["rank"] for a, b in zip(ranks, more["layers"], strict=True) if a and b["rank"])
    assert "rank=auto" in train("method=low_rank_training", *DIGITS, *QUIET, "rank=auto").line


@pytest.mark.processes
def test_any_callable_makes_a_model(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("method=compression", "data=digits", *QUIET, *short("compression"), "model=callable", "budget=0.5")
    made = ("model._target_=eckart.nn.mlp.MLP", "model.arguments.widths=[64,16,10]")
    assert train(*settings, *made).result["dense_parameters"] == 64 * 16 + 16 + 160 + 10
    other = ("model._target_=torch.nn.Linear", "model.arguments.in_features=8", "model.arguments.out_features=3")
    assert "must be a model of eckart.nn" in train(*settings, *other).line
    monkeypatch.setenv("ECKART_ALLOW", "torch.nn")
    assert "The model must return 10 logits for each sample. Found (1, 8, 3)." in train(*settings, *other).line


def test_a_model_that_was_trained_is_not_trained_anew(train: Train, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = MLP(WIDTHS)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    settings = ("method=compression", *DIGITS, "model.activation=sigmoid", "budget=1", *QUIET, "method.fine_tuning=0")
    ended = train(*settings, f"model.checkpoint={tmp_path / 'net.pt'}")
    assert (ended.code, ended.result["steps"]) == (0, 0)
    assert ended.result["accuracy"] == ended.result["accuracy_dense"]
    torch.save(MLP([64, 20, 16, 10]).state_dict(), tmp_path / "other.pt")
    ended = train(*settings, f"model.checkpoint={tmp_path / 'other.pt'}")
    law = "model.checkpoint must hold the weights of a MLP: layers.0.weight of shape (24, 64). Found (20, 64)."
    assert (ended.code, ended.line.endswith(law)) == (1, True), ended.line


def _assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        (["budget=0"], "above 0, and at most 1. Found budget=0."),
        (["budget=-0.1"], "above 0, and at most 1. Found budget=-0.1."),
        (["budget=1.5"], "above 0, and at most 1. Found budget=1.5."),
        (["budget=small"], "budget must be a number. Found 'small'."),
        (["budget=0.1", "rank=3"], "or a rank. Found budget=0.1 and rank=3."),
        (["budget=0.01"], "The budget must be at least"),
        (["budget=0.5", "method.layers=[conv*]"], "Each pattern of layers must match a layer. Found 'conv*'"),
        (["budget=0.5", "method.of=watts"], "of must be one of: parameters, multiply_adds, latency. Found 'watts'."),
        (["budget=0.5", "method.sensitivity=low"], "sensitivity must be one of"),
        (["budget=0.5", "method.lowering=[0.4]"], "lowering must be budgets that fall, all above budget=0.5. Found"),
        (["budget=0.5", "method.distillation=2"], "distillation must be a share of the loss, from 0 to 1. Found 2."),
        (["budget=0.5", "data=photo"], "needs labeled samples"),
        (["budget=0.5", "model.widths=[32,10]"], "The model must take samples of shape (1, 8, 8). Found: "),
        (["budget=0.5", "model.widths=[64,5]"], "The model must return 10 logits for each sample. Found (5,)."),
        (["budget=0.5", "model.widths=[64]"], "model.widths must be at least two"),
        (["budget=0.5", "data.validation=0"], "data.validation must hold out some training samples"),
        (["budget=0.5", "model.checkpoint=none.pt"], "There is no file of weights at model.checkpoint=none.pt."),
        (["budget=0.5", "optimizer=scaled_gd"], "A net needs an optimizer like optimizer=adam. Found ScaledGD."),
        (["budget=0.0001", "method.of=latency"], "The budget must be at least"),
        (["budget=0.5", "callbacks=early_stopping"], "callbacks.early_stopping.monitor=validation_accuracy. Found"),
        (["budget=0.5", "trainer=ddp"], "is for one process: trainer.devices=1. Found trainer.devices=2."),
        (["budget=0.5", "model._target_=os.system"], "model._target_ must be a model of eckart.nn"),
    ],
)
def test_one_line_says_what_is_wrong_before_any_training(
    arguments: list[str], law: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eckart.methods.network import Network

    monkeypatch.delattr(Network, "training_step")
    ended = train("method=compression", *DIGITS[:3], *QUIET, *arguments)
    assert ended.code == 1 and law in ended.line, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        (["method=svd", "budget=0.1"], "budget= is for methods that train a net. Found method=svd."),
        (["method=svd", "model=lenet5"], "model= is for methods that train a net. Found method=svd."),
        (["method=svd", "rank=null"], "rank must be an integer or auto. Found null."),
    ],
)
def test_matrices_have_no_budget(arguments: list[str], law: str, train: Train) -> None:
    assert train(*arguments).line == law


def test_a_diverging_net_says_so(train: Train) -> None:
    ended = train("method=compression", *DIGITS, "budget=0.5", *QUIET, *short("compression"), "optimizer.lr=1e30")
    assert ended.code == 1 and result(ended.folder)["status"] == "diverged"
