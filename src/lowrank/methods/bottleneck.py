"""Linear bottleneck nets that learn a matrix from random vectors and their images."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowrank.checks import require_count, require_one_of
from lowrank.layers import Bottleneck
from lowrank.methods.base import OptimizerFactory
from lowrank.methods.probing import ProbingMethod
from lowrank.scaled_gd import ScaledGD
from lowrank.streams import stream


def _keras_normal(gain: float, mean_fan: bool) -> Callable[[Tensor, torch.Generator], Tensor]:
    def draw(weight: Tensor, generator: torch.Generator) -> Tensor:
        fan = sum(weight.shape) / 2 if mean_fan else weight.shape[1]
        # Cut off at two deviations as Keras does, and widened to have the deviation it states.
        deviation = math.sqrt(gain / fan) / 0.87962566103423978
        return nn.init.trunc_normal_(weight, 0, deviation, -2 * deviation, 2 * deviation, generator)

    return draw


INITIALIZATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "he_normal": _keras_normal(2.0, mean_fan=False),
    "glorot_normal": _keras_normal(1.0, mean_fan=True),
    "he_uniform": lambda weight, generator: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator),
    "glorot_uniform": lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "orthogonal": lambda weight, generator: nn.init.orthogonal_(weight, generator=generator),
}


class BottleneckNet(ProbingMethod):
    """Linear net n → hidden → k → m without biases, trained on the mean squared error of its images of probes.

    A :class:`PairSolver` trains the first and the last layer in the scaled metric; layers between stay as they were
    drawn, since training them as well changes nothing that the net can stand for.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.
        ranks: Rank of each member.
        seeds: Seed of each member.
        optimizer: Makes the optimizer.
        dtype: Type that is trained in.
        hidden: Widths before the bottleneck; ``paper`` for n, as in its n-n-k-n; ``powers_of_two`` for its funnel of
            powers of two down to the rank and up again.
        initialization: Law of the initial weights, with Keras's meaning of the name.
        **common: As in :class:`ProbingMethod`.

    Raises:
        ValueError: For an unknown name, or widths below the rank.
    """

    def __init__(
        self,
        target: Tensor,
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: OptimizerFactory,
        dtype: torch.dtype = torch.float64,
        hidden: str | Sequence[int] = "paper",
        initialization: str = "he_normal",
        **common: Any,
    ) -> None:
        super().__init__(target, ranks=ranks, seeds=seeds, optimizer=optimizer, dtype=dtype, **common)
        require_one_of("method.initialization", initialization, INITIALIZATIONS)
        stack, rows, cols = target.shape
        widths, place = layer_widths(hidden, max(ranks), rows, cols)
        self.net = Bottleneck(widths, bottleneck=place, stack=stack, dtype=dtype)
        for member, (rank, seed) in enumerate(zip(ranks, seeds, strict=True)):
            generator = stream(seed, "weights")
            own = [rank if layer == place else width for layer, width in enumerate(widths)]
            for layer, weight in enumerate(self.net.weights):
                drawn = torch.empty(own[layer + 1], own[layer], dtype=torch.float64)
                INITIALIZATIONS[initialization](drawn, generator)
                weight.data[member, : own[layer + 1], : own[layer]] = drawn

    def forward(self, x: Tensor) -> Tensor:
        """Images of a batch of vectors for each member, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return self.net(x)  # type: ignore[no-any-return]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Product of the layers up to the bottleneck, and of those after it."""
        return self.net.factors()

    def assign(self, left: Tensor, right: Tensor) -> None:
        """Change the first and the last layer as little as possible."""
        self.net.assign(left, right)

    def losses(self, step: int) -> Tensor:
        """Half the squared error of the images, averaged over the batch."""
        x = self.batch(step)
        return (self.net(x) - x @ self.target.mT).square().sum(2).mean(1) / 2

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer; one for factor pairs needs a net that is one."""
        made = self.make_optimizer
        if made is not None and getattr(made, "func", made) is ScaledGD:
            layers = len(self.net.weights)
            if layers != 2:
                raise ValueError(f"optimizer=scaled_gd trains a pair of layers: method.hidden=[]. Found {layers}.")
            return made([tuple(reversed(list(self.net.weights)))])
        return super().configure_optimizers()


def layer_widths(hidden: str | Sequence[int], rank: int, rows: int, cols: int) -> tuple[list[int], int]:
    """Widths of a bottleneck net from the input to the output, and the place of the bottleneck among them.

    Example:
        >>> layer_widths("paper", rank=3, rows=5, cols=8)
        ([8, 8, 3, 5], 2)
        >>> layer_widths("powers_of_two", rank=3, rows=10, cols=20)
        ([20, 16, 8, 4, 3, 4, 8, 10], 4)
        >>> layer_widths([6], rank=3, rows=5, cols=8)
        ([8, 6, 3, 5], 2)
    """
    if hidden == "paper":
        hidden = [cols]
    if hidden == "powers_of_two":
        powers = [2**power for power in range(max(rows, cols).bit_length()) if 2**power > rank]
        down = [width for width in reversed(powers) if width < cols]
        up = [width for width in powers if width < rows]
        return [cols, *down, rank, *up, rows], len(down) + 1
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ValueError(f"method.hidden must be paper, powers_of_two or a list of widths. Found {hidden!r}.")
    for width in hidden:
        require_count("A width of method.hidden", width)
        if int(width) < rank:
            raise ValueError(f"The widths of method.hidden must be at least the rank, {rank}. Found {width}.")
    return [cols, *hidden, rank, rows], len(hidden) + 1
