"""One counter: against torch's own counter of operations, and against closed forms."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eckart.compression.counting import count, count_parameters
from eckart.nn.low_rank_linear import LowRankLinear


class Attending(nn.Module):
    """Attention written by hand, with a product outside of any layer and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("offset", torch.zeros(99))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.encoder(self.embedding(tokens))
        weights = torch.softmax(x @ x.mT, dim=-1)
        return self.head(nn.functional.scaled_dot_product_attention(x, x, weights @ x))


MODELS = {
    "linear": (nn.Sequential(nn.Linear(7, 5), nn.ReLU(), LowRankLinear(5, 6, rank=2)), torch.ones(3, 4, 7)),
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2),
            nn.BatchNorm2d(6),
            nn.ConvTranspose2d(6, 5, 3, stride=2),
            nn.Flatten(2),
            nn.Conv1d(5, 3, 4, dilation=2),
        ),
        torch.ones(2, 4, 9, 8),
    ),
    "attention": (Attending(), torch.tensor([[1, 2, 3, 4, 5]])),
    "recurrent, one step": (nn.GRUCell(4, 3), torch.ones(2, 4)),
}


@pytest.mark.compression  # torch's counter imports its compiler, which takes seconds.
@pytest.mark.parametrize("name", MODELS)
def test_as_torch_counts(name: str) -> None:
    model, inputs = MODELS[name]
    found = count(model.train(), inputs)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    # Its table of operations lacks the kernel that attention is on a CPU.
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as flops,
    ):
        model(inputs)
    assert 2 * found.multiply_adds == flops.get_total_flops() > 0
    assert found.multiply_adds == sum(layer.multiply_adds for layer in found.layers.values())
    assert found.parameters == sum(layer.parameters for layer in found.layers.values())


def test_convolutions_in_groups_strided_and_transposed() -> None:
    found = count(*MODELS["convolutions"]).layers
    # (9 + 2 - 3) // 2 + 1 by (8 + 2 - 2) // 2 + 1 places, each of 6 outputs from 2 of the 4 channels.
    assert found["0"].multiply_adds == 2 * (5 * 5) * 6 * 2 * (3 * 2)
    # Of each of the inputs 5×5 a patch of 3×3 is made.
    assert found["2"].multiply_adds == 2 * (5 * 5) * 6 * 5 * (3 * 3)
    # Of 11·11 places, every second of 4: 11·11 - 2·3.
    assert found["4"].multiply_adds == 2 * (11 * 11 - 6) * 5 * 3 * 4


def test_a_recurrent_layer_is_no_single_kernel() -> None:
    batch, length, inputs, hidden = 2, 5, 4, 3
    found = count(nn.LSTM(inputs, hidden, num_layers=2, batch_first=True), torch.ones(batch, length, inputs))
    gates = 4 * hidden
    assert found.multiply_adds == batch * length * gates * ((inputs + hidden) + (hidden + hidden))
    assert torch.backends.mkldnn.enabled and torch.backends.mha.get_fastpath_enabled()


def test_each_path_has_its_own() -> None:
    length, width, hidden, words = 5, 8, 12, 11
    found = count(*MODELS["attention"]).layers
    assert found["embedding"].parameters == words * width
    # Tied: the weights are counted once, the products where they are computed.
    assert (found["head"].parameters, found["head"].multiply_adds) == (0, length * width * words)
    assert found["encoder.linear1"].multiply_adds == length * width * hidden
    assert found["encoder.self_attn"].multiply_adds == length * width * 4 * width + 2 * length**2 * width
    assert found[""].multiply_adds == 2 * length**2 * width + 2 * length**2 * width
    assert "encoder.norm1" in found and "encoder.dropout" not in found


def test_both_factors_and_the_bias() -> None:
    for rank in (1, 3):
        layer = LowRankLinear(7, 5, rank=rank)
        assert count_parameters(layer) == rank * (7 + 5) + 5
        assert count(layer, torch.ones(1, 7)).multiply_adds == rank * (7 + 5)


def test_arguments_by_place_and_by_name() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.ones(1, 3, 8)
    named = count(attention, {"query": x, "key": x, "value": x})
    assert named == count(attention, (x, x, x))
    assert named.multiply_adds == 3 * 8 * 4 * 8 + 2 * 3 * 3 * 8


def test_a_module_that_fails_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)).train()
    with pytest.raises(RuntimeError):
        count(model, torch.ones(1, 3))
    assert model.training and model[1].training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_shapes_that_are_not_known() -> None:
    with pytest.raises(ValueError, match=r"known shapes.*Found weight"):
        count_parameters(nn.LazyLinear(3))
