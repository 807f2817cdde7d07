"""A factorized linear layer that learns what a dense teacher layer does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowrank.checks import require_one_of
from lowrank.layers import LowRankLinear
from lowrank.linalg import truncated_svd
from lowrank.methods.base import OptimizerFactory
from lowrank.methods.probing import ProbingMethod
from lowrank.streams import stream


class FactorizedLinear(ProbingMethod):
    """A layer ``y = B A x + b`` in place of ``y = W x + b``, learned from inputs and outputs of the latter.

    The teacher's weight is the target, its bias is drawn from N(0, 1). The bias is read off once, as the mean of the
    outputs of x and -x; what is trained are the factors.

    Args:
        target: Weights W of the teachers, shape ``(J, m, n)``.
        ranks: Rank of each member.
        seeds: Seed of each member.
        optimizer: Makes the optimizer.
        dtype: Type that is trained in.
        initialization: ``random``, or ``svd``, the truncated SVD of W, which is optimal already.
        **common: As in :class:`ProbingMethod`.

    Raises:
        ValueError: For an unknown initialization, or as in :class:`ProbingMethod`.
    """

    teacher_bias: Tensor
    student_bias: Tensor

    def __init__(
        self,
        target: Tensor,
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: OptimizerFactory,
        dtype: torch.dtype = torch.float64,
        initialization: str = "random",
        **common: Any,
    ) -> None:
        super().__init__(target, ranks=ranks, seeds=seeds, optimizer=optimizer, dtype=dtype, **common)
        require_one_of("method.initialization", initialization, ("random", "svd"))
        stack, rows, cols = target.shape
        teacher_bias = torch.stack(
            [torch.randn(rows, generator=stream(seed, "teacher"), dtype=torch.float64) for seed in seeds]
        )
        self.register_buffer("teacher_bias", teacher_bias.to(dtype), persistent=False)
        self.student_left = nn.Parameter(torch.zeros(stack, rows, max(ranks), dtype=dtype))
        self.student_right = nn.Parameter(torch.zeros(stack, max(ranks), cols, dtype=dtype))
        self.register_buffer("student_bias", torch.zeros(stack, rows, dtype=dtype))
        for member, (rank, seed) in enumerate(zip(ranks, seeds, strict=True)):
            if initialization == "svd":
                u, s, vh = truncated_svd(target[member], rank)
                left, right = u * s.sqrt(), s.sqrt()[:, None] * vh
            else:
                generator = stream(seed, "factors")
                # The weights have then the variance 1/n of a dense layer's.
                deviation = (cols * rank) ** -0.25
                left = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * deviation
                right = torch.randn(cols, rank, generator=generator, dtype=torch.float64).T * deviation
            self.student_left.data[member, :, :rank] = left
            self.student_right.data[member, :rank] = right

    def on_train_start(self) -> None:
        """Take the bias that the outputs show: the factors alone are left to be trained."""
        x = self.batch(0)
        self.student_bias.copy_((self.teacher(x) + self.teacher(-x)).mean(1) / 2)
        super().on_train_start()

    def teacher(self, x: Tensor) -> Tensor:
        """Outputs of the teachers, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return torch.baddbmm(self.teacher_bias[:, None], x, self.target.mT)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the students, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return torch.baddbmm(self.student_bias[:, None], x @ self.student_right.mT, self.student_left.mT)

    def layer(self, member: int = 0) -> LowRankLinear:
        """The layer that a member learned."""
        rows, cols, rank = self.student_left.shape[1], self.student_right.shape[2], self.ranks[member]
        layer = LowRankLinear(cols, rows, rank, dtype=self.student_left.dtype)
        with torch.no_grad():
            layer.left.copy_(self.student_left[member, :, :rank])
            layer.right.copy_(self.student_right[member, :rank])
            layer.bias.copy_(self.student_bias[member])  # type: ignore[union-attr]
        return layer

    def factors(self) -> tuple[Tensor, Tensor]:
        """``B`` and ``A``."""
        return self.student_left, self.student_right

    @torch.no_grad()
    def assign(self, left: Tensor, right: Tensor) -> None:
        """Take over the factors."""
        self.student_left.copy_(left)
        self.student_right.copy_(right)

    def losses(self, step: int) -> Tensor:
        """Half the squared difference of the outputs, averaged over the batch."""
        x = self.batch(step)
        return (self(x) - self.teacher(x)).square().sum(2).mean(1) / 2

    def extra_errors(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """Largest difference of any output on the probes, in the units of the outputs."""
        x = self.batch(0)
        with torch.no_grad():
            difference = (self(x) - self.teacher(x)).abs().amax((1, 2))
        return {"largest_output_difference": difference.double()}
