import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eckart
from eckart.compression import evidence
from eckart.compression.factorized import Factorized
from eckart.compression.speed import Speed
from eckart.compression.timing import Comparison
from eckart.nn.low_rank_conv import LowRankConv2d
from eckart.nn.low_rank_embedding import LowRankEmbedding
from eckart.nn.low_rank_linear import LowRankLinear

RELATIVE: dict[str, Any] = {"sensitivity": "relative", "keep_slower": True}


class Small(nn.Module):
    """Convolutions and linear layers, with and without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, groups=2, bias=False)
        self.wide = nn.Linear(8 * 16, 30)
        self.head = nn.Linear(30, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(torch.relu(self.wide(x.flatten(1))))  # type: ignore[no-any-return]


class Language(nn.Module):
    """A small transformer whose head has the weight of its embedding."""

    def __init__(self, tokens: int = 20, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, tokens)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        return self.head(self.encoder(self.embed(tokens), src_key_padding_mask=padding))  # type: ignore[no-any-return]


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def language() -> Language:
    torch.manual_seed(0)
    model = Language()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def images(count: int = 12) -> Tensor:
    return gaussian(count, 2, 6, 6, dtype=torch.float32).cumsum(-1) + 1


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 20, (6, 7), generator=torch.Generator().manual_seed(seed))


def inputs_of_layers(model: nn.Module, x: Any) -> dict[str, Tensor]:
    """What reaches each module of a model."""
    found = {}
    handles = [
        module.register_forward_pre_hook(lambda _, args, path=path: found.update({path: args[0].detach()}))
        for path, module in model.named_modules()
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


def test_each_layer_is_the_best_of_its_rank_for_its_inputs(small: Small) -> None:
    x = images()
    found = eckart.factorize(small, rank=2, inputs=x.split(5), keep_slower=True)
    reached = inputs_of_layers(small.double(), x.double())
    for layer in found.layers:
        dense, low = small.get_submodule(layer.path), found.model.get_submodule(layer.path)
        y = dense(reached[layer.path]).detach().movedim(1, -1).flatten(0, -2)
        bias = getattr(dense, "bias", None)
        if isinstance(low, LowRankLinear):
            outputs = reached[layer.path] @ (low.left.double() @ low.right.double()).T
        else:
            assert isinstance(low, LowRankConv2d)
            outputs = low.double()(reached[layer.path]).detach().movedim(1, -1).flatten(0, -2)
            outputs = outputs if low.bias is None else outputs - low.bias.double()
        outputs = outputs.detach() + (0 if low.bias is None else low.bias.detach().double())
        energy = (y - y.mean(0) if bias is not None else y).square().sum()
        error = float(((outputs - y).square().sum() / energy).sqrt())
        assert layer.error == pytest.approx(error, rel=1e-6)
        # The optimum from the singular values of the outputs, of each group.
        parts = (y - y.mean(0) if bias is not None else y).reshape(len(y), getattr(dense, "groups", 1), -1)
        tail = sum((scipy.linalg.svdvals(parts[:, g].numpy())[2:] ** 2).sum() for g in range(parts.shape[1]))
        assert layer.optimum == pytest.approx(math.sqrt(tail / float(energy)), rel=1e-6)
        assert layer.excess is not None
        assert abs(layer.excess) < 1e-9


def test_few_inputs_are_told(small: Small) -> None:
    found = eckart.factorize(small, rank=2, inputs=[images(127)], keep_slower=True)
    assert (
        found.layers[2].why == "the rank that was asked for; fitted to 127 inputs of 128 entries, which may be too few"
    )
    enough = eckart.factorize(small, rank=2, inputs=[images(128)], keep_slower=True)
    assert {layer.why for layer in enough.layers} == {"the rank that was asked for"}


def test_a_bias_absorbs_the_mean(small: Small) -> None:
    x = images()
    found = eckart.factorize(small, rank=2, inputs=[x], layers="wide", keep_slower=True)
    reached = inputs_of_layers(small, x)["wide"]
    lost = found.model.wide(reached) - small.wide(reached)  # type: ignore[operator]
    np.testing.assert_allclose(lost.mean(0).detach(), 0, atol=1e-5)
    assert float(lost.detach().abs().max()) > 1e-3


@pytest.mark.parametrize("budget", [0.2, 0.45, 0.8])
@pytest.mark.parametrize("sensitivity", ["relative", "second_order", "measured"])
def test_the_budget_is_kept_and_used(small: Small, budget: float, sensitivity: str) -> None:
    state = torch.get_rng_state()
    found = eckart.factorize(small, budget, [images(100)], sensitivity=sensitivity, keep_slower=True)
    assert torch.equal(torch.get_rng_state(), state)
    total = sum(parameter.numel() for parameter in small.parameters())
    assert found.dense_parameters == total
    assert found.parameters == sum(parameter.numel() for parameter in found.model.parameters())
    assert 0.9 * budget < found.parameters / total <= budget
    assert all(layer.parameters < layer.dense_parameters for layer in found.layers if layer.rank is not None)
    assert type(small.wide) is nn.Linear


def test_a_budget_of_multiply_adds(small: Small) -> None:
    found = eckart.factorize(small, 0.4, [images()], of="multiply_adds", **RELATIVE)
    assert found.dense_multiply_adds == 8 * 18 * 36 + 8 * 36 * 16 + 128 * 30 + 30 * 6
    assert found.multiply_adds is not None
    assert 0.3 < found.multiply_adds / found.dense_multiply_adds <= 0.4
    assert sum(layer.dense_multiply_adds or 0 for layer in found.layers) == found.dense_multiply_adds
    assert sum(layer.multiply_adds or 0 for layer in found.layers) == found.multiply_adds


class Tagger(nn.Module):
    """An embedding and a GRU, which are not factorized, before a linear layer, which is."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.gru = nn.GRU(8, 16)
        self.head = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(x))[0])  # type: ignore[no-any-return]


def test_what_holds_a_budget_up_is_named() -> None:
    law = r"what the least ranks leave\. Found 0\.1\. Of what is not factorized, gru \(GRU\) has 67%; "
    law += r"embed \(Embedding\) has 22%, embeddings=True factorizes it\.$"
    with pytest.raises(ValueError, match=law):
        eckart.factorize(Tagger(), 0.1)


def test_how_to_call_a_model_whose_batches_are_mappings(small: Small) -> None:
    law = r"^A batch that is a mapping holds the arguments of Small by their names; else say how it is called: "
    law += r"forward=lambda model, batch: model\(batch\['x'\]\)\. Found x, y: got an unexpected keyword argument 'y'\.$"
    batch = {"x": images(), "y": torch.ones(1)}
    with pytest.raises(ValueError, match=law):
        eckart.factorize(small, 0.6, [batch], **RELATIVE)
    found = eckart.factorize(small, 0.6, [batch], forward=lambda model, batch: model(batch["x"]), **RELATIVE)
    assert found.parameters <= 0.6 * found.dense_parameters


def test_the_smallest_budget_is_said_and_is_possible(small: Small) -> None:
    law = r"^The budget must be at least (0\.\d+) of the parameters, what the least ranks leave\. Found 0\.01\.$"
    with pytest.raises(ValueError, match=law) as error:
        eckart.factorize(small, 0.01, [images()], **RELATIVE)
    least = float(str(error.value).split("least ")[1].split(" of")[0])
    found = eckart.factorize(small, least * 1.001, [images()], **RELATIVE)
    assert {layer.rank for layer in found.layers} == {1}


def test_ranks_that_are_given(small: Small) -> None:
    found = eckart.factorize(small, rank={"first": 2, "w*": "auto", "head": 5}, keep_slower=True)
    got = {layer.path: (layer.rank, layer.why) for layer in found.layers}
    assert got["first"] == (2, "the rank that was asked for")
    assert got["second"] == (None, "dense: no pattern of rank names it")
    assert got["wide"][1].startswith("best: ")
    assert got["head"] == (None, "dense: rank 5 has no fewer parameters than 6×30")
    # Without inputs the error is that of the weight, in the Frobenius norm.
    squares = scipy.linalg.svdvals(small.first.weight.detach().flatten(1).numpy()) ** 2
    assert found.layers[0].error == pytest.approx(math.sqrt(squares[2:].sum() / squares.sum()), rel=1e-5)


def test_tied_layers_keep_one_pair(language: Language, tmp_path: Path) -> None:
    x = tokens()
    found = eckart.factorize(language, rank=3, inputs=[x], embeddings=True, keep_slower=True)
    model: Any = found.model
    assert isinstance(model.embed, LowRankEmbedding)
    assert model.head.left is model.embed.left
    assert model.head.right is model.embed.right
    (report,) = (layer for layer in found.layers if layer.path == "embed")
    assert report.tied == ("head",)
    assert report.excess is not None
    assert abs(report.excess) < 1e-9
    found.save(tmp_path / "model.safetensors")
    loaded: Any = Factorized.load(tmp_path / "model.safetensors", language)
    assert loaded.model.head.left is loaded.model.embed.left
    dense: Any = loaded.defactorize()
    assert dense.head.weight is dense.embed.weight
    np.testing.assert_allclose(dense(x).detach(), model(x).detach(), atol=1e-5)
    # Embeddings are a choice; a layer that has the weight of one is left with it.
    left = eckart.factorize(language, rank=3, inputs=[x], keep_slower=True)
    assert left.refused == {"head": "shares its weight with embed, not factorized"}


def test_a_layer_at_two_places_stays_one_layer(tmp_path: Path) -> None:
    shared = nn.Linear(8, 8)
    other = nn.Linear(8, 8)
    other.weight = shared.weight
    model = nn.Sequential(shared, nn.ReLU(), shared, other)
    x = gaussian(9, 8, dtype=torch.float32)
    found = eckart.factorize(model, rank=2, inputs=[x], keep_slower=True)
    found.save(tmp_path / "model.safetensors")
    for low in (found.model, Factorized.load(tmp_path / "model.safetensors", model).model):
        assert isinstance(low, nn.Sequential)
        assert low[0] is low[2]
        assert low[3] is not low[0]
        assert low[3].left is low[0].left
        assert torch.equal(low(x), found.model(x))
    dense = found.defactorize()
    assert isinstance(dense, nn.Sequential)
    assert dense[0] is dense[2]
    assert dense[3].weight is dense[0].weight
    np.testing.assert_allclose(dense(x).detach(), found.model(x).detach(), atol=1e-5)


@pytest.mark.parametrize("kind", ["small", "language"])
def test_every_way_there_and_back(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model: nn.Module = request.getfixturevalue(kind).eval()
    x: Tensor = images() if kind == "small" else tokens()
    found = eckart.factorize(model, 0.6, [x], embeddings=True, **RELATIVE)
    outputs = found.model(x).detach()
    known = dict(found.model.named_modules())
    assert all(path in known for path, _ in model.named_modules())

    def same(other: nn.Module) -> None:
        np.testing.assert_allclose(other(x).detach(), outputs, atol=2e-5)

    found.save(tmp_path / "model.safetensors")
    loaded = Factorized.load(tmp_path / "model.safetensors", model)
    assert torch.equal(loaded.model(x), found.model(x))
    assert str(loaded) == str(found)
    assert loaded.layers == found.layers
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        places = json.loads(file.metadata()["eckart"])["places"]
    ranks = {layer.path: layer.rank for layer in found.layers if layer.rank is not None}
    assert ranks.items() <= {place["path"]: place["rank"] for place in places}.items()

    dense = found.defactorize()
    same(dense)
    assert list(dense.state_dict()) == list(model.state_dict())
    assert [type(module) for module in dense.modules()] == [type(module) for module in model.modules()]
    state = found.to_dense()
    assert list(state) == list(model.state_dict())
    dense.load_state_dict(state)
    same(dense)
    again = loaded.model
    again.load_state_dict(found.from_dense(state))
    same(again)


def test_states_of_other_models_are_refused(small: Small, tmp_path: Path) -> None:
    found = eckart.factorize(small, rank=2, layers="wide")
    state = found.model.state_dict()
    law = r"^The state must be of this model: wide\.left of shape \(30, 2\)\. Found "
    with pytest.raises(ValueError, match=law + r"no such key\.$"):
        found.to_dense({name: value for name, value in state.items() if name != "wide.left"})
    with pytest.raises(ValueError, match=law + r"shape \(30, 3\)\.$"):
        found.to_dense(state | {"wide.left": torch.ones(30, 3)})
    with pytest.raises(ValueError, match=r"^The state must be of this model\. Found the key more, which it does not"):
        found.from_dense(small.state_dict() | {"more": torch.ones(1)})
    found.save(tmp_path / "model.safetensors")
    other = Small()
    other.wide = nn.Linear(100, 30)
    with pytest.raises(ValueError, match=r"^The state must be of this model: wide\.right of shape \(2, 100\)\. Found "):
        Factorized.load(tmp_path / "model.safetensors", other)
    with pytest.raises(ValueError, match=r"^The model must have the layers of the file\. Found none at 'wide'\.$"):
        Factorized.load(tmp_path / "model.safetensors", nn.Linear(2, 2))
    from safetensors.torch import save_file

    save_file(small.state_dict(), tmp_path / "dense.safetensors")
    with pytest.raises(
        ValueError, match=r"^The file must be of a factorized model: ranks in its metadata\. Found none"
    ):
        Factorized.load(tmp_path / "dense.safetensors", small)
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match=r"^The file must be a safetensors file\. Found "):
        Factorized.load(tmp_path / "text", small)


@pytest.mark.parametrize("layers", ["*", "encoder.layers.*.linear?", "*out_proj"])
def test_encoders_do_not_take_the_path_that_reads_dense_weights(language: Language, layers: str) -> None:
    found = eckart.factorize(language, rank=2, layers=layers, keep_slower=True)
    model, x = found.model, tokens()
    padding = torch.zeros(6, 7, dtype=torch.bool)
    padding[:, 5:] = True
    expected = model.train()(x, padding).detach()
    with torch.no_grad():
        np.testing.assert_allclose(model.eval()(x, padding)[:, :5], expected[:, :5], atol=1e-5)
    before, after = (
        {name: value for module in net.modules() for name, value in vars(module).items() if name in SWITCHES}
        for net in (language, found.defactorize())
    )
    assert before == after


@pytest.mark.parametrize("layers", ["*", "encoder.layers.*.linear?"])
@pytest.mark.parametrize("sensitivity", ["relative", "second_order", "measured"])
def test_masks_of_padding(language: Language, layers: str, sensitivity: str) -> None:
    padding = torch.zeros(6, 7, dtype=torch.bool)
    padding[:, 5:] = True

    def forward(model: nn.Module, batch: Any) -> Tensor:
        return model(*batch)  # type: ignore[no-any-return]

    batches, settings = [(tokens(), padding)], {"layers": layers, "sensitivity": sensitivity, "keep_slower": True}
    found = eckart.factorize(language, 0.8, batches, forward=forward, **settings)  # type: ignore[arg-type]
    assert any(layer.rank for layer in found.layers)
    assert torch.backends.mha.get_fastpath_enabled()


SWITCHES = ("activation_relu_or_gelu", "use_nested_tensor", "_qkv_same_embed_dim")


def only_the_head(model: Any, x: Tensor) -> Any:
    return model.head(x)


def test_in_place_and_when_it_fails(language: Language) -> None:
    names = [name for name, _ in language.named_modules()]
    with pytest.raises(ValueError, match=r"^Inputs must reach .* Found no input at 'encoder.* and 9 more\.$"):
        eckart.factorize(language, 0.5, [torch.ones(2, 8)], inplace=True, forward=only_the_head)
    assert [name for name, _ in language.named_modules()] == names
    found = eckart.factorize(language, 0.6, [tokens()], inplace=True, **RELATIVE)
    assert found.model is language


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_double_and_rounded(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 16)).to(dtype), gaussian(40, 20).to(dtype)
    found = eckart.factorize(model, rank=4, inputs=[x], keep_slower=True)
    assert found.model(x).dtype == dtype
    assert found.layers[0].excess is not None
    assert 0 < found.layers[0].excess < torch.finfo(dtype).eps


def test_ranks_that_are_asked_for_stay_dense_where_they_are_slower(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(dense: nn.Module, low: nn.Module, inputs: Any) -> Comparison:
        slow = isinstance(dense, nn.Conv2d)
        return Comparison(1.0, 2.0, 2.0, 1.9, 2.1) if slow else Comparison(1.0, 0.5, 0.5, 0.4, 0.6)

    monkeypatch.setattr(evidence, "Speed", functools.partial(Speed, compare=compare))
    found = eckart.factorize(small, rank=2, inputs=[images()])
    assert [layer.rank for layer in found.layers] == [None, None, 2, 2]
    assert found.layers[0].why == "dense: rank 2 takes 2.00 times the dense layer's time at batch 1"
    assert found.layers[2].ratio == 0.5
    lines = str(found).splitlines()
    assert lines[0].split()[-1] == "time"
    assert lines[3].split()[-1] == "0.50"
    assert max(map(len, lines)) <= 80
    kept = eckart.factorize(small, rank=2, inputs=[images()], keep_slower=True)
    assert [layer.rank for layer in kept.layers] == [2, 2, 2, 2]


def test_a_loss_of_ones_own(small: Small) -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return model(batch)[:, 0].square().mean()  # type: ignore[no-any-return]

    def once() -> Iterator[Tensor]:
        yield from images().split(4)

    before = {name: value.clone() for name, value in small.state_dict().items()}
    found = eckart.factorize(small, 0.5, once(), sensitivity="measured", loss=loss, keep_slower=True, inplace=True)
    assert found.parameters <= 0.5 * found.dense_parameters
    # What stayed dense was measured too, and put back.
    for layer in found.layers:
        if layer.rank is None:
            assert torch.equal(small.get_submodule(layer.path).weight, before[f"{layer.path}.weight"])  # type: ignore[arg-type]


def test_all_ranks_are_measured_on_the_same_samples(small: Small) -> None:
    x = gaussian(2000, 2 * 36).float().view(-1, 2, 6, 6)
    shuffled = DataLoader(TensorDataset(x), batch_size=100, shuffle=True)
    seen: dict[float, set[bytes]] = {}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        seen.setdefault(len(seen), set()).add(batch[0].numpy().tobytes())
        return model(batch[0]).square().mean()  # type: ignore[no-any-return]

    eckart.factorize(small, 0.5, shuffled, layers=["wide", "head"], loss=loss, keep_slower=True)
    assert len(set().union(*seen.values())) == 10


def test_hooks_are_called_as_before(small: Small) -> None:
    called = list[str]()

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        called.append("after")

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        called.append("before")

    def backward(module: nn.Module, gradients: Any, _: Any) -> None:
        assert [None if gradient is None else gradient.shape for gradient in gradients] == [(4, 30)]
        called.append("backward")

    small.head.register_forward_hook(after, with_kwargs=True)
    small.head.register_forward_pre_hook(before, with_kwargs=True)
    small.head.register_full_backward_hook(backward)
    found = eckart.factorize(small, rank=2, layers="head")
    found.model(images(4)).sum().backward()
    assert isinstance(found.model.get_submodule("head"), LowRankLinear)
    assert called == ["before", "after", "backward"]


@pytest.mark.parametrize("layers", ["*", "*.linear1"])
def test_encoders_hand_plain_tensors_to_layers_that_are_measured(language: Language, layers: str) -> None:
    x, padding = tokens(), torch.zeros(6, 7, dtype=torch.bool)
    padding[:, 5:] = True
    found = eckart.factorize(
        language.eval(), rank=2, inputs=[{"tokens": x, "padding": padding}], layers=layers, keep_slower=True
    )
    assert any(layer.rank == 2 for layer in found.layers)
    with torch.no_grad():
        assert found.model(x, padding)[:, :5].isfinite().all()


def test_the_least_budget_that_is_told_is_enough() -> None:
    for width in (33, 37, 41):
        model = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 10))
        with pytest.raises(ValueError, match=r"^The budget must be at least 0\.\d+ ") as error:
            eckart.factorize(model, 1e-6)
        least = float(str(error.value).split()[6])
        assert all(layer.rank == 1 for layer in eckart.factorize(model, least).layers)


@pytest.mark.parametrize(
    "place",
    [
        {"rank": "2"},
        {"rank": 2.0},
        {"path": ""},
        {"path": 3},
        {"tied": "nowhere"},
        {"tied": "tail", "same": True},
        {"k": 1},
    ],
    ids=str,
)
def test_metadata_that_somebody_else_wrote(small: Small, place: dict[str, Any], tmp_path: Path) -> None:
    tensors, metadata = eckart.factorize(small, rank=2, layers=["wide", "head"]).stored()
    told = json.loads(metadata["eckart"])
    told["places"][0] |= place
    written = [metadata | {"eckart": json.dumps(told)}, *(metadata | {"eckart": text} for text in ("{", "[]", "{}"))]
    for each in [*written, metadata | {"eckart.same": "[]"}]:
        save_file(tensors, tmp_path / "model.safetensors", each)
        with pytest.raises(ValueError, match=r"^The metadata of the file must be of a factorized model like this one"):
            Factorized.load(tmp_path / "model.safetensors", small)


def test_the_table_fits_80_columns(language: Language) -> None:
    found = eckart.factorize(language, 0.6, [tokens()], embeddings=True, **RELATIVE)
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["layer", "weight", "rank", "parameters", "error", "excess"]
    assert f"→ {found.parameters:,} (" in str(found)


@pytest.mark.parametrize(
    ("settings", "law"),
    [
        ({}, r"One of budget and rank must be given\. Found budget=None, rank=None\."),
        ({"budget": 0.5, "rank": 2}, r"One of budget and rank must be given\. Found budget=0\.5, rank=2\."),
        ({"budget": 0.0}, r"The budget must be a share of the dense model, 0 < budget <= 1\. Found 0\.0\."),
        ({"budget": -1.0}, r"The budget must be a share of the dense model, 0 < budget <= 1\. Found -1\.0\."),
        ({"budget": 17.0}, r"The budget must be a share of the dense model, 0 < budget <= 1\. Found 17\.0\."),
        ({"rank": 0}, r"The rank must be at least 1, or auto\. Found 0\."),
        ({"rank": {"wide": "best"}}, r"The rank must be at least 1, or auto\. Found 'best' for 'wide'\."),
        ({"rank": {"tail": 2}}, r"Each pattern of rank must match a layer\. Found 'tail', which matches none\."),
        ({"budget": 0.5, "of": "flops"}, r"of must be one of: parameters, multiply_adds, latency\. Found 'flops'\."),
        ({"budget": 0.5, "of": "latency"}, r"A budget of latency needs inputs\. Found None\."),
        ({"budget": 0.5, "sensitivity": "hessian"}, r"sensitivity must be one of: second_order, measured, relative\. "),
        ({"rank": 2, "inputs": []}, r"inputs must give at least one batch\. Found none\."),
        (
            {"rank": 2, "inputs": [torch.zeros(0, 2, 6, 6)]},
            r"Inputs must reach every layer .* Found no input at 'first'",
        ),
        ({"rank": 2, "inputs": torch.zeros(3, 2)}, r"inputs must be batches, .*Found one tensor, of shape \(3, 2\)\."),
        ({"rank": 2, "layers": "tail*"}, r"Each pattern of layers must match a layer\. Found 'tail\*'"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_in_one_line(small: Small, settings: dict[str, Any], law: str) -> None:
    with pytest.raises(ValueError, match=f"^{law}") as error:
        eckart.factorize(small, **settings)
    assert "\n" not in str(error.value)


def test_layers_that_the_outputs_do_not_depend_on(small: Small) -> None:
    small.head.weight.data.zero_()
    found = eckart.factorize(small, 0.5, [images(100)], sensitivity="second_order", keep_slower=True)
    got = {layer.path: layer for layer in found.layers}
    # Their own outputs are still measured, and kept as far as the budget allows.
    assert got["wide"].rank is not None
    assert 1e-4 < got["wide"].error < 1
    assert abs(got["wide"].excess or 1) < 1e-9


def test_a_model_without_a_layer_is_refused() -> None:
    law = r"^The model must have a layer that can be factorized \(conv1d, conv2d, embedding, linear\)\. Found none in "
    with pytest.raises(ValueError, match=law + r"ReLU\.$"):
        eckart.factorize(nn.ReLU(), rank=1)
    with pytest.raises(ValueError, match=law + r"Sequential: 0 is lazy: call the model once\.$"):
        eckart.factorize(nn.Sequential(nn.LazyLinear(2)), rank=1)
    with pytest.raises(ValueError, match=law + r"Sequential: 0 has no values: it is on the device meta\.$"):
        eckart.factorize(nn.Sequential(nn.Linear(8, 8, device="meta")), rank=1)
