"""An embedding of low rank."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import truncated_factors


class LowRankEmbedding(nn.Module):
    """Embedding ``B[i] A`` with ``k (m + n)`` weights instead of ``m n``.

    Args:
        num_embeddings: Number m of tokens.
        embedding_dim: Length n of a token's vector.
        rank: Width k between them, ``1 <= rank <= min(m, n)``.
        padding_idx: Token whose row of ``left`` is zero at first and gets no gradient, or None.
        device: Device of the weights.
        dtype: Type of the weights.

    Attributes:
        left: ``B``, shape ``(m, k)``.
        right: ``A``, shape ``(k, n)``.

    Raises:
        ValueError: If ``rank`` is outside ``[1, min(m, n)]``.

    Example:
        >>> layer = LowRankEmbedding(1000, 64, rank=8)
        >>> layer(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 64])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rank: int,
        padding_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_rank(rank, (num_embeddings, embedding_dim))
        self.num_embeddings, self.embedding_dim, self.rank = num_embeddings, embedding_dim, rank
        self.padding_idx = padding_idx
        self.left = nn.Parameter(torch.empty(num_embeddings, rank, device=device, dtype=dtype))
        self.right = nn.Parameter(torch.empty(rank, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    @property
    def weight(self) -> Tensor:
        """The dense table ``B A``, computed from the factors."""
        return self.left @ self.right

    def reset_parameters(self) -> None:
        """Draw the weights so that vectors have entries of variance 1, as those of a new ``nn.Embedding``."""
        if self.left.is_meta:
            # There is nothing to draw, and torch would import its compiler for it.
            return
        nn.init.normal_(self.left, std=self.rank**-0.25)
        nn.init.normal_(self.right, std=self.rank**-0.25)
        if self.padding_idx is not None:
            with torch.no_grad():
                self.left[self.padding_idx] = 0

    @classmethod
    def from_embedding(cls, embedding: nn.Embedding, rank: int) -> "LowRankEmbedding":
        """The best table of a given rank: the truncated SVD of the dense one, in balanced factors.

        Example:
            >>> table = nn.Embedding(6, 4)
            >>> layer = LowRankEmbedding.from_embedding(table, rank=4)
            >>> torch.allclose(layer(torch.arange(6)), table.weight, atol=1e-5)
            True
        """
        weight = embedding.weight.detach()
        layer = cls(weight.shape[0], weight.shape[1], rank, embedding.padding_idx, weight.device, weight.dtype)
        left, right = truncated_factors(weight, rank)
        with torch.no_grad():
            layer.left.copy_(left)
            layer.right.copy_(right)
        return layer

    def to_embedding(self) -> nn.Embedding:
        """Dense embedding with the same vectors."""
        weight = self.weight.detach()
        embedding = nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx, _weight=weight)
        return embedding.requires_grad_()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(…)`` to vectors ``(…, n)``."""
        return F.embedding(tokens, self.left, self.padding_idx) @ self.right

    def extra_repr(self) -> str:
        """Describe the layer in the format of ``nn.Embedding``."""
        text = f"{self.num_embeddings}, {self.embedding_dim}, rank={self.rank}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
