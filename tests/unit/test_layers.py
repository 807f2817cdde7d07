import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from eckart.compression.layers import Form, find
from eckart.compression.replacing import low_rank_like, open_attention


def net() -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3), "head": nn.Linear(8, 4), "table": nn.Embedding(9, 4)})


def paths(model: nn.Module, *args: Any, **kwargs: Any) -> list[list[str]]:
    return [layer.paths for layer in find(model, *args, **kwargs).layers]


def test_layers_by_patterns() -> None:
    assert paths(net()) == [["conv"], ["head"]]
    assert paths(net(), embeddings=True) == [["conv"], ["head"], ["table"]]
    assert paths(net(), "h*") == [["head"]]
    assert paths(net(), "*", ["conv", "t*"], embeddings=True) == [["head"]]
    for name, wrong in (("layers", {"layers": ["head", "tail*"]}), ("exclude", {"exclude": "tail*"})):
        match = rf"^Each pattern of {name} must match a layer\. Found 'tail\*', which matches none\.$"
        with pytest.raises(ValueError, match=match):
            find(net(), **wrong)  # type: ignore[arg-type]


def test_tied_layers_are_one() -> None:
    model = net()
    model["head"] = nn.Linear(4, 9)
    model["head"].weight = model["table"].weight  # type: ignore[assignment]
    model["again"] = model["conv"]
    assert paths(model, embeddings=True) == [["conv", "again"], ["head", "table"]]
    found = find(model)
    assert [layer.paths for layer in found.layers] == [["conv", "again"]]
    assert found.refused == {"head": "shares its weight with table, not factorized"}
    model["head"].other = model["head"].weight
    assert "shares its weight with head.other" in find(model, embeddings=True).refused["head"]


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)), {nn.Linear})
    return model[0]  # type: ignore[no-any-return]


class Own(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.LazyLinear(3), "is lazy: call the model once"),
        (parametrizations.weight_norm(nn.Linear(3, 3)), "has a parametrized weight: remove the parametrization"),
        (parametrizations.spectral_norm(nn.Conv2d(3, 3, 3)), "has a parametrized weight: remove the parametrization"),
        (Own(3, 3), "has a forward pass of its own: Own"),
        (nn.Linear(3, 3).to(torch.float8_e4m3fn), "has weights of torch.float8_e4m3fn, not of 16 bits or more"),
        (nn.LSTM(3, 3), "is of a kind that is not factorized: LSTM"),
        (nn.ConvTranspose2d(3, 3, 3), "is of a kind that is not factorized: ConvTranspose2d"),
        (quantized(), "is quantized to integers: factorize the model before"),
        (nn.Embedding(3, 3, max_norm=1.0), "has max_norm, sparse or scale_grad_by_freq"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_factorized_is_left_or_refused_by_name(layer: nn.Module, why: str) -> None:
    model = nn.ModuleDict({"odd": layer, "plain": nn.Linear(3, 3)})
    found = find(model, embeddings=True)
    assert [other.path for other in found.layers] == ["plain"]
    assert why in found.refused["odd"]
    with pytest.raises(ValueError, match=rf"^A layer must be one that can be factorized\. Found 'odd': {why}"):
        find(model, ["odd"], embeddings=True)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(3, 3)})
    model["fc"].weight.data[0, 0] = torch.nan  # type: ignore[operator, union-attr, index]
    assert find(model).refused == {"fc": "has weights that are not finite"}


@pytest.mark.parametrize(
    ("layer", "forms"),
    [
        (nn.Linear(3, 4), [None]),
        (nn.Conv1d(3, 4, 5), [(0,), ()]),
        (nn.Conv2d(3, 4, 5), [(0, 1), (1,), (0,), ()]),
        (nn.Conv2d(3, 4, (5, 1)), [(0, 1), ()]),
        (nn.Conv2d(3, 4, 1), [(0, 1)]),
    ],
    ids=str,
)
def test_forms_with_their_sides_and_parameters(layer: nn.Module, forms: list[Form]) -> None:
    (found,) = find(nn.Sequential(layer)).layers
    assert found.forms() == forms
    for form in forms:
        assert found.matrix(form).shape == found.sides(form)
        low = low_rank_like(layer, 2, form)
        assert found.parameters(2, form) == low.left.numel() + low.right.numel()
    assert found.parameters(None) == layer.weight.numel()  # type: ignore[operator, union-attr]


def test_a_replacement_keeps_mode_hooks_and_what_is_frozen_and_draws_no_random_numbers() -> None:
    layer = nn.Linear(3, 4).eval()
    layer.weight.requires_grad_(False)
    layer.register_forward_hook(lambda *_: torch.zeros(1))
    state = torch.get_rng_state()
    low = low_rank_like(layer, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert not low.training
    assert torch.equal(low(torch.ones(1, 3)), torch.zeros(1))
    assert [parameter.requires_grad for parameter in low.parameters()] == [False, False, True]


def test_attention_is_opened_in_place() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16)
    open_attention(model, ["self_attn"])
    expected = [["self_attn.out_proj"], *([f"self_attn.{x}_proj"] for x in "qkv"), ["linear1"], ["linear2"]]
    assert sorted(paths(model)) == sorted(expected)
