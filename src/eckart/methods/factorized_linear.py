"""A factorized linear layer that learns what a dense teacher layer does."""

from typing import Any

import torch
from torch import Tensor

from eckart.linalg.checks import require_one_of
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream
from eckart.linalg.svd import truncated_svd
from eckart.methods.probing import ProbingMethod
from eckart.nn.bottleneck import Bottleneck
from eckart.nn.low_rank_linear import LowRankLinear


class FactorizedLinear(ProbingMethod):
    """A layer ``y = B A x + b`` in place of ``y = W x + b``, learned from inputs and outputs of the latter.

    The teacher is a layer whose weight is the target and whose bias is drawn from N(0, 1); it is asked for outputs
    alone. The bias is its output of x = 0; what is trained are the factors, on the outputs of the probes. An output
    minus the bias has the rounding of the bias: the smaller the weight is beside it, the fewer of its digits are seen.

    Args:
        operator: Weights W of the teachers, asked for images alone.
        initialization: ``random``, or ``svd``, the truncated SVD of what the images show, whose loss is the least.
        **common: As in :class:`ProbingMethod`.

    Raises:
        ValueError: For an unknown initialization, or as in :class:`ProbingMethod`.
    """

    teacher_bias: Tensor
    student_bias: Tensor

    def __init__(self, operator: Operator, *, initialization: str = "random", **common: Any) -> None:
        super().__init__(operator, **common)
        require_one_of("initialization", initialization, ("random", "svd"))
        (rows, cols), stack, dtype = operator.shape, self.stack, self.trained_dtype
        teacher_bias = torch.stack(
            [torch.randn(rows, generator=stream(seed, "teacher"), dtype=torch.float64) for seed in self.seeds]
        )
        self.register_buffer("teacher_bias", teacher_bias.to(dtype), persistent=False)
        self.register_buffer("student_bias", torch.zeros(stack, rows, dtype=dtype))
        self.net = Bottleneck([cols, self.width, rows], bottleneck=1, stack=stack, dtype=dtype)
        self._initialization = initialization
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            generator = stream(seed, "factors")
            # The weights have then the variance 1/n of a dense layer's.
            deviation = (cols * rank) ** -0.25
            left = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * deviation
            right = torch.randn(cols, rank, generator=generator, dtype=torch.float64).T * deviation
            self.net.weights[0].data[member, :rank] = right
            self.net.weights[1].data[member, :, :rank] = left

    def on_train_start(self) -> None:
        """Start from the truncated SVD of what the probes show, where the config says so."""
        if self._initialization == "svd" and self.driver.step_count == 0:
            self._start_from_svd()
        super().on_train_start()

    def take_over(self, other: ProbingMethod) -> None:
        """Take over the outputs of the teacher, and the bias that one of them showed."""
        super().take_over(other)
        assert isinstance(other, FactorizedLinear)
        self.student_bias.copy_(other.student_bias)
        self._has_bias = other._has_bias

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs of the teachers without the bias that the students have, ``(J, batch, n)`` to ``(J, batch, m)``."""
        if not self._has_bias:
            self.student_bias.copy_(self.teacher(x.new_zeros(len(x), 1, x.shape[2]))[:, 0])
            self._has_bias = True
        return self.teacher(x) - self.student_bias[:, None]

    _has_bias = False

    def teacher(self, x: Tensor) -> Tensor:
        """Outputs of the teachers, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return self.images.of(x) + self.teacher_bias[:, None]

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

    def own_figures(self) -> dict[str, Tensor]:
        """Largest difference of any output on the probes of the first step, in the units of the outputs."""
        self._take_along()
        x, outputs = self._batch(0)
        # Of the factors: the layers follow a solver only where somebody can look at them.
        left, right = self.factors()
        with torch.no_grad():
            difference = (x @ right.mT @ left.mT - outputs).abs().amax((1, 2))
        return {"largest_output_difference": difference.double()}

    def _start_from_svd(self) -> None:
        if not self.probes.fixed:
            raise ValueError("initialization=svd needs probes that are drawn once: vectors=NUMBER. Found fresh ones.")
        seen = self._look()
        u, s, vh = truncated_svd(seen.matrix, self.width)
        kept = torch.arange(self.width, device=s.device) < torch.tensor(self.ranks, device=s.device)[:, None]
        root = s.sqrt() * kept
        self.net.assign(*seen.lifted(u * root[:, None, :], root[:, :, None] * vh))
