"""Linear bottleneck nets that learn a matrix from random vectors and their images."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream
from eckart.methods.probing import ProbingMethod
from eckart.nn.bottleneck import Bottleneck


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
        operator: Targets, asked for images alone.
        hidden: Widths before the bottleneck; ``paper`` for n, as in its n-n-k-n; ``powers_of_two`` for its funnel of
            powers of two down to the rank and up again, in which all members of a stack must have the same rank.
        initialization: Law of the initial weights, with Keras's meaning of the name.
        **common: As in :class:`ProbingMethod`.

    Raises:
        ValueError: For an unknown name, widths below the rank, or a stack that its hidden layers do not allow.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        hidden: str | Sequence[int] = "paper",
        initialization: str = "he_normal",
        **common: Any,
    ) -> None:
        super().__init__(operator, **common)
        require_one_of("initialization", initialization, INITIALIZATIONS)
        self._hidden = hidden
        stack, (rows, cols) = operator.stack, operator.shape
        if hidden == "powers_of_two" and {*self.ranks, self.width} != {self.width}:
            raise ValueError(f"hidden=powers_of_two stacks nets of one rank alone. Found ranks {self.ranks}.")
        widths, place = layer_widths(hidden, max(self.ranks), rows, cols)
        widths[place] = self.width
        self.net = Bottleneck(widths, bottleneck=place, stack=stack, dtype=self.trained_dtype)
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            generator = stream(seed, "weights")
            own = [rank if layer == place else width for layer, width in enumerate(widths)]
            for layer, weight in enumerate(self.net.weights):
                drawn = torch.empty(own[layer + 1], own[layer], dtype=torch.float64)
                INITIALIZATIONS[initialization](drawn, generator)
                weight.data[member, : own[layer + 1], : own[layer]] = drawn

    @classmethod
    def stack_key(cls, rank: int, optimizer: object | None, settings: Mapping[str, Any]) -> Hashable | None:
        """The rank where the layers around the bottleneck depend on it."""
        key = super().stack_key(rank, optimizer, settings)
        return rank if key is not None and settings.get("hidden") == "powers_of_two" else key

    @property
    def largest_rank(self) -> int | None:
        """The number of probes that are drawn once, or the least width of the hidden layers."""
        widths = [] if isinstance(self._hidden, str) else [int(width) for width in self._hidden]
        probes = super().largest_rank
        return min([*widths, *([] if probes is None else [probes])], default=None)

    def forward(self, x: Tensor) -> Tensor:
        """Images of a batch of vectors for each member, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return self.net(x)  # type: ignore[no-any-return]


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
        raise ValueError(f"hidden must be paper, powers_of_two or a list of widths. Found {hidden!r}.")
    for width in hidden:
        require_count("A width of hidden", width)
        if int(width) < rank:
            raise ValueError(f"The widths of hidden must be at least the rank, {rank}. Found {width}.")
    return [cols, *hidden, rank, rows], len(hidden) + 1
