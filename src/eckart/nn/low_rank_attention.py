"""Multi-head attention whose projections are modules, each of which can be of low rank."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectedAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` with a module for each projection, so that each can be a :class:`LowRankLinear`.

    It takes the place of a dense attention: same arguments, same outputs to roundoff, and no fast path that reads
    weights which are not there.

    Args:
        attention: The dense attention. The projections of queries, keys and values are copies; ``out_proj`` is its own.

    Attributes:
        q_proj: Projection of queries, ``embed_dim`` to ``embed_dim``.
        k_proj: Projection of keys, ``kdim`` to ``embed_dim``.
        v_proj: Projection of values, ``vdim`` to ``embed_dim``.
        out_proj: Projection of the outputs.

    Example:
        >>> dense = nn.MultiheadAttention(8, 2, batch_first=True).eval()
        >>> attention = ProjectedAttention(dense).eval()
        >>> x = torch.ones(1, 3, 8)
        >>> torch.allclose(attention(x, x, x)[0], dense(x, x, x)[0], atol=1e-6)
        True
    """

    q_proj: Any
    k_proj: Any
    v_proj: Any

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        nn.Module.__init__(self)
        self.embed_dim, self.kdim, self.vdim = attention.embed_dim, attention.kdim, attention.vdim
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        self.dropout, self.batch_first, self.add_zero_attn = (
            attention.dropout,
            attention.batch_first,
            attention.add_zero_attn,
        )
        self.packed = attention._qkv_same_embed_dim
        # What torch's encoder layers ask before they take their fast path, which would read packed weights.
        self._qkv_same_embed_dim = False
        for name in ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            self.register_parameter(name, None)
        weights, biases = projections(attention)
        for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
            setattr(self, name, _linear(weight, bias))
        self.out_proj: Any = attention.out_proj
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, getattr(attention, name))
        self.train(attention.training)

    def to_dense(self) -> nn.MultiheadAttention:
        """Dense attention with the same outputs."""
        like = self.out_proj.weight
        dense: Any = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            self.q_proj.bias is not None,
            self.bias_k is not None,
            self.add_zero_attn,
            self.kdim,
            self.vdim,
            self.batch_first,
            device="meta",
        )
        into = [self.q_proj, self.k_proj, self.v_proj]
        weights = [layer.weight.detach() for layer in into]
        if dense.in_proj_bias is not None:
            dense.in_proj_bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in into]))
        if self.packed:
            dense.in_proj_weight = nn.Parameter(torch.cat(weights))
        else:
            for name, weight in zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), weights, strict=True):
                setattr(dense, name, nn.Parameter(weight.clone()))
        bias = self.out_proj.bias
        dense.out_proj.weight = nn.Parameter(like.detach().clone())
        dense.out_proj.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        dense.bias_k, dense.bias_v = self.bias_k, self.bias_v
        return dense.train(self.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Arguments and outputs as of ``nn.MultiheadAttention``."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal needs attn_mask, as in nn.MultiheadAttention. Found None.")
        single, ours = query.dim() == 2, self.batch_first
        if single:
            query, key, value = query[None], key[None], value[None]
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not ours:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), 1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(len(v), 1, -1)], dim=1)
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        if mask is not None and k.shape[1] > mask.shape[-1]:
            mask = F.pad(mask, (0, k.shape[1] - mask.shape[-1]))
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.mT / math.sqrt(self.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = F.dropout(weights, dropout) if dropout else weights
            x = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            x = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        x = self.out_proj(x.transpose(1, 2).flatten(-2))
        if single:
            return x[0], None if weights is None else weights[0]
        return x if ours else x.transpose(0, 1), weights

    def _mask(self, q: Tensor, k: Tensor, attn: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to scores ``(batch, heads, L, S)``."""
        mask = None
        if attn is not None:
            mask = _added(attn, q.dtype)
            mask = mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask
        if padding is not None:
            hidden = _added(padding, q.dtype)[:, None, None, :]
            mask = hidden if mask is None else mask + hidden
        return None if mask is None else mask.expand(*mask.shape[:-2], q.shape[1], k.shape[1])


def projections(attention: nn.MultiheadAttention) -> tuple[list[Tensor], list[Tensor | None]]:
    """Weights and biases of the projections of queries, keys and values of a dense attention."""
    if attention._qkv_same_embed_dim:
        weights = list(attention.in_proj_weight.chunk(3))
    else:
        weights = [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
    bias = attention.in_proj_bias
    return weights, [None] * 3 if bias is None else list(bias.chunk(3))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    return layer


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as numbers that are added: what is masked by True becomes -inf."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -torch.inf)
