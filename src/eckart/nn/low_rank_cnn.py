"""A small convolutional net whose convolutions have low rank."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_count
from eckart.nn.low_rank_conv import LowRankConv2d


class LowRankCNN(nn.Module):
    """A residual net of low-rank convolutions for images of one channel, made for few parameters and a CPU.

    A convolution of 5×5 halves the sides of the image. Then stages follow, each of a convolution of 3×3 to the
    channels of the stage and of residual convolutions of 3×3; before all but the first, the maximum over 2×2 pixels
    halves the sides again. The logits are linear in the means over what is left of the image. Batch normalization and
    a rectified linear unit come after each convolution. The convolutions of 3×3 have the two-sided form: ``k`` filters
    of 1×3, then filters of 3×1.

    Args:
        channels: Channels of the first convolution and of each stage; at least two.
        blocks: Residual convolutions of each stage.
        rank: Rank k of the convolutions of 3×3; of the first one the rank is half of it.
        classes: Number of classes.
        mirrored: Whether the logits are, in evaluation mode, the mean of those of the image and of its mirror image.
            That takes twice the multiply-adds, and no parameters.

    Raises:
        ValueError: If the numbers of stages differ, a number is below 1 (blocks: below 0), or the rank is above what a
            convolution can have.

    Example:
        >>> net = LowRankCNN()
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> sum(parameter.numel() for parameter in net.parameters())
        28249

    References:
        He, Zhang, Ren & Sun, CVPR 2016 (residual nets); Tai et al., ICLR 2016 (the two-sided form).
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (1, 3),
        rank: int = 15,
        classes: int = 10,
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        self.mirrored = mirrored
        if len(blocks) != len(channels) - 1 or not len(blocks):
            raise ValueError(f"blocks must be one less than channels, {len(channels)}. Found {len(blocks)}.")
        for name, counts in (("channels", channels), ("rank", [rank]), ("blocks", [block + 1 for block in blocks])):
            for number in counts:
                require_count(name, number)
        first = LowRankConv2d(1, channels[0], 5, max(1, rank // 2), stride=2, padding=2, bias=False)
        layers: list[nn.Module] = [_Block(first)]
        for stage, (before, after) in enumerate(itertools.pairwise(channels)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            layers.append(_Block(_two_sided(before, after, rank)))
            layers += [_Block(_two_sided(after, after, rank), residual=True) for _ in range(blocks[stage])]
        self.features = nn.Sequential(*layers)
        self.logits = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, 1, height, width)`` to logits ``(batch, classes)``."""
        if self.mirrored and not self.training:
            return (self._logits_of(x) + self._logits_of(x.flip(-1))) / 2
        return self._logits_of(x)

    def _logits_of(self, x: Tensor) -> Tensor:
        # Convolutions of few channels take a third less time in this order of the memory.
        x = self.features(x.contiguous(memory_format=torch.channels_last))
        return self.logits(x.mean((2, 3)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, conv: LowRankConv2d, residual: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.residual = conv, nn.BatchNorm2d(conv.out_channels), residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return torch.relu(y + x if self.residual else y)


def _two_sided(before: int, after: int, rank: int) -> LowRankConv2d:
    return LowRankConv2d(before, after, 3, rank, first=(1,), padding=1, bias=False)
