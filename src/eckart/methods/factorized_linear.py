"""A factorized linear layer that learns what a dense teacher layer does."""

from typing import Any

import torch
from torch import Tensor

from eckart.linalg.checks import require_one_of
from eckart.linalg.random import stream
from eckart.linalg.svd import truncated_svd
from eckart.methods.probing import ProbingMethod
from eckart.nn.bottleneck import Bottleneck
from eckart.nn.low_rank_linear import LowRankLinear


class FactorizedLinear(ProbingMethod):
    """A layer ``y = B A x + b`` in place of ``y = W x + b``, learned from inputs and outputs of the latter.

    The teacher's weight is the target, its bias is drawn from N(0, 1). The bias is read off once, as the mean of the
    outputs of x and -x; what is trained are the factors.

    Args:
        target: Weights W of the teachers, shape ``(J, m, n)``.
        initialization: ``random``, or ``svd``, the truncated SVD of W, which is optimal already.
        **common: As in :class:`ProbingMethod`.

    Raises:
        ValueError: For an unknown initialization, or as in :class:`ProbingMethod`.
    """

    teacher_bias: Tensor
    student_bias: Tensor

    def __init__(self, target: Tensor, *, initialization: str = "random", **common: Any) -> None:
        super().__init__(target, **common)
        require_one_of("method.initialization", initialization, ("random", "svd"))
        (stack, rows, cols), dtype = target.shape, self.target.dtype
        teacher_bias = torch.stack(
            [torch.randn(rows, generator=stream(seed, "teacher"), dtype=torch.float64) for seed in self.seeds]
        )
        self.register_buffer("teacher_bias", teacher_bias.to(dtype), persistent=False)
        self.register_buffer("student_bias", torch.zeros(stack, rows, dtype=dtype))
        self.net = Bottleneck([cols, self.width, rows], bottleneck=1, stack=stack, dtype=dtype)
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            if initialization == "svd":
                u, s, vh = truncated_svd(target[member], rank)
                left, right = u * s.sqrt(), s.sqrt()[:, None] * vh
            else:
                generator = stream(seed, "factors")
                # The weights have then the variance 1/n of a dense layer's.
                deviation = (cols * rank) ** -0.25
                left = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * deviation
                right = torch.randn(cols, rank, generator=generator, dtype=torch.float64).T * deviation
            self.net.weights[0].data[member, :rank] = right
            self.net.weights[1].data[member, :, :rank] = left

    def on_train_start(self) -> None:
        """Take the bias that the outputs show: the factors alone are left to be trained."""
        x = self.probes.batch(0)
        self.student_bias.copy_((self.teacher(x) + self.teacher(-x)).mean(1) / 2)
        super().on_train_start()

    def teacher(self, x: Tensor) -> Tensor:
        """Outputs of the teachers, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return torch.baddbmm(self.teacher_bias[:, None], x, self.target.mT)

    def images(self, x: Tensor) -> Tensor:
        """Outputs of the teachers without the bias that the students have."""
        return self.teacher(x) - self.student_bias[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the students, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return self.net(x) + self.student_bias[:, None]  # type: ignore[no-any-return]

    def layer(self, member: int = 0) -> LowRankLinear:
        """The layer that a member learned."""
        rank, (left, right) = self.ranks[member], self.factors()
        layer = LowRankLinear(right.shape[2], left.shape[1], rank, dtype=left.dtype)
        assert layer.bias is not None
        with torch.no_grad():
            layer.left.copy_(left[member, :, :rank])
            layer.right.copy_(right[member, :rank])
            layer.bias.copy_(self.student_bias[member])
        return layer

    def extra_errors(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        """Largest difference of any output on the probes, in the units of the outputs."""
        x = self.probes.batch(0)
        with torch.no_grad():
            difference = (self(x) - self.teacher(x)).abs().amax((1, 2))
        return {"largest_output_difference": difference.double()}
