import itertools
from typing import Any

import numpy as np
import pytest
import torch
from matrices import gaussian
from torch import Tensor, nn

from eckart.nn.low_rank_attention import ProjectedAttention

KINDS: list[dict[str, Any]] = [
    {"batch_first": True},
    {"bias": False},
    {"kdim": 6, "vdim": 5, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True},
]
MASKS = [(None, None), ("bool", "bool"), ("float", "float"), ("heads", None), (None, "bool")]


def attention(**settings: Any) -> nn.MultiheadAttention:
    dense = nn.MultiheadAttention(8, 2, dtype=torch.float64, **settings).eval()
    for seed, parameter in enumerate(dense.parameters()):
        parameter.data = gaussian(*parameter.shape, seed=seed)
    return dense


def mask(kind: str | None, *shape: int) -> Tensor | None:
    if kind is None:
        return None
    drawn = gaussian(*shape, seed=7)
    if kind != "bool":
        return drawn
    hidden = drawn > 0
    hidden[..., 0] = False
    return hidden


@pytest.mark.parametrize(("settings", "masks"), list(itertools.product(KINDS, MASKS)), ids=str)
def test_it_is_the_dense_attention(settings: dict[str, Any], masks: tuple[str | None, str | None]) -> None:
    dense = attention(**settings)
    ours = ProjectedAttention(dense)
    query, key, value = (gaussian(3, length, d, seed=d) for length, d in ((4, 8), (5, dense.kdim), (5, dense.vdim)))
    if not dense.batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    shape = (6, 4, 5) if masks[0] == "heads" else (4, 5)
    given = {"attn_mask": mask(masks[0], *shape), "key_padding_mask": mask(masks[1], 3, 5)}
    for weights, average in ((True, True), (True, False), (False, True)):
        given |= {"need_weights": weights, "average_attn_weights": average}  # type: ignore[dict-item]
        expected = dense(query, key, value, **given)
        for found in (ours(query, key, value, **given), ours.to_dense()(query, key, value, **given)):
            np.testing.assert_allclose(found[0].detach(), expected[0].detach(), atol=1e-12)
            assert (found[1] is None) == (not weights)
            if weights:
                np.testing.assert_allclose(found[1].detach(), expected[1].detach(), atol=1e-12)


def test_without_a_batch_and_back() -> None:
    dense = attention()
    ours, x = ProjectedAttention(dense), gaussian(4, 8)
    np.testing.assert_allclose(ours(x, x, x)[0].detach(), dense(x, x, x)[0].detach(), atol=1e-12)
    back = ours.to_dense()
    assert type(back) is nn.MultiheadAttention
    for (name, found), (expected_name, expected) in zip(
        back.state_dict().items(), dense.state_dict().items(), strict=True
    ):
        assert name == expected_name
        assert torch.equal(found, expected)


def test_dropout_only_in_training() -> None:
    ours, x = ProjectedAttention(attention(dropout=0.5)), gaussian(4, 1, 8)
    assert torch.equal(ours(x, x, x)[0], ours(x, x, x)[0])
    assert not torch.equal(ours.train()(x, x, x)[0], ours(x, x, x)[0])
    with pytest.raises(RuntimeError, match=r"^is_causal needs attn_mask, as in nn\.MultiheadAttention\. Found None\.$"):
        ours(x, x, x, is_causal=True)
