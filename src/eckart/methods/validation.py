"""A rank by short trainings: its loss on a part of the training set that they do not see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.linalg.gram import gram_svd
from eckart.linalg.random import stream
from eckart.nn.mlp import MLP
from eckart.optim import schedules
from eckart.optim.schedules import Schedule

SAMPLES = 10_000
"""Samples at most that a choice looks at; a fifth of them is held out."""
PASSES = 30_000
"""Samples at most that each short training is fed, over all its epochs, but for a first whole epoch."""
_BATCH = 64


@dataclass(frozen=True)
class Validated:
    """Ranks that were tried, and the one that was chosen.

    Attributes:
        rank: The least rank whose loss is within one standard error of the least loss.
        ranks: Those that were tried.
        losses: Error of each on what is held out: of classifiers the mean cross-entropy, of ratings the RMSE.
        reason: Why, in one line.
    """

    rank: int
    ranks: list[int]
    losses: list[float]
    reason: str


def doubling(limit: int) -> list[int]:
    """Ranks that are tried: powers of two below the limit, and the limit.

    Example:
        >>> doubling(20), doubling(1)
        ([1, 2, 4, 8, 16, 20], [1])
    """
    return [*(2**power for power in range(limit.bit_length()) if 2**power < limit), limit]


def validated(
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    hidden: Sequence[int],
    epochs: int,
    optimizer: Callable[..., Optimizer],
    schedule: Schedule | None,
    dtype: torch.dtype,
) -> Validated:
    """Train shortly at each rank of :func:`doubling`, and choose by the loss on held-out training samples.

    The reduction is fitted on the samples that are trained on, and the nets are trained in its coordinates, which costs
    little for small ranks. Of two ranks whose losses differ by less than a standard
    error, taken over the samples, the smaller is chosen (the one-standard-error rule of Breiman et al. 1984).

    Args:
        inputs: Training inputs, shape ``(N, pixels)``; the test set is not asked for.
        labels: Training labels, shape ``(N,)``.
        seed: Draws the samples that are held out, the initial weights and the order of the samples.
        hidden: Widths of the layers of the net.
        epochs: Epochs at most.
        optimizer: Makes the optimizer from parameters.
        schedule: Factor on the learning rate by the share of the steps that is done, or None.
        dtype: Type that is trained in.

    Raises:
        ValueError: If there are fewer than ten samples.
    """
    if len(inputs) < 10:
        raise ValueError(f"rank=auto needs at least 10 training samples, some to hold out. Found {len(inputs)}.")
    order = torch.randperm(len(inputs), generator=stream(seed, "validation"))[:SAMPLES]
    held_out, seen = order[: len(order) // 5], order[len(order) // 5 :]
    epochs = max(1, min(epochs, PASSES // len(seen)))
    ranks = doubling(min(len(seen), inputs.shape[1]))
    vh = gram_svd(inputs[seen], ranks[-1], dtype=torch.float64)[2].to(dtype)
    classes = int(labels.max()) + 1

    reduced = inputs[order].to(dtype) @ vh.mT

    def losses(rank: int) -> Tensor:
        x, net = reduced[:, :rank], _reduced_net(vh[:rank], [*hidden, classes], seed)
        _train(net, x[len(held_out) :], labels[seen], epochs, optimizer(net.parameters()), schedule, seed)
        with torch.no_grad():
            own = nn.functional.cross_entropy(net(x[: len(held_out)]), labels[held_out], reduction="none")
        return own.double().nan_to_num(torch.inf)

    by_rank = torch.stack([losses(rank) for rank in ranks])
    how = f"{epochs} epoch{'s' * (epochs > 1)} on {len(seen):,} training samples, {len(held_out):,} others held out"
    return least_within_error("validation loss", ranks, by_rank, by_rank.mean(1).tolist(), how)


def least_within_error(what: str, ranks: list[int], by_rank: Tensor, shown: list[float], how: str) -> Validated:
    """The least rank whose mean loss is within a standard error of the least mean loss.

    Args:
        what: What the losses are.
        ranks: Ranks that were tried.
        by_rank: Loss of each on each of the samples held out, shape ``(ranks, N)``.
        shown: A number of each rank to be shown, that rises with the mean loss.
        how: How they were trained and held out.

    Example:
        >>> losses = torch.tensor([[5.0, 6.0, 5.5], [1.0, 2.2, 3.0], [1.1, 2.0, 2.9]])
        >>> print(least_within_error("loss", [1, 2, 4], losses, losses.mean(1).tolist(), "in a test").reason)
        loss 2.067 at rank 2, within a standard error of the least, 2.000 at rank 4; tried 1, 2, 4: in a test
    """
    best = int(by_rank.mean(1).argmin())
    # The ranks are compared on the same samples, so the differences decide, which vary less than the losses.
    above = by_rank - by_rank[best]
    error = above.std(1) / by_rank.shape[1] ** 0.5
    place = next(place for place in range(len(ranks)) if place == best or bool(above[place].mean() <= error[place]))
    reason = f"{what} {shown[place]:.3f} at rank {ranks[place]}"
    if place != best:
        reason += f", within a standard error of the least, {shown[best]:.3f} at rank {ranks[best]}"
    reason += f"; tried {', '.join(map(str, ranks))}: {how}"
    return Validated(ranks[place], ranks, shown, reason)


def _reduced_net(components: Tensor, widths: Sequence[int], seed: int) -> MLP:
    """The net that the seed draws, as a net of coordinates: its first layer sees ``x Vᵀ`` in place of ``x Vᵀ V``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MLP([components.shape[1], *widths]).to(components.dtype)
    first = net.layers[0]
    assert isinstance(first, nn.Linear)
    first.weight = nn.Parameter(first.weight.detach() @ components.mT)
    return net


def _train(
    net: MLP, x: Tensor, labels: Tensor, epochs: int, optimizer: Optimizer, schedule: Schedule | None, seed: int
) -> None:
    batches = -(-len(x) // _BATCH)
    for step in range(epochs * batches):
        epoch, place = divmod(step, batches)
        if place == 0:
            order = torch.randperm(len(x), generator=stream(seed, "order", epoch))
        chosen = order[place * _BATCH : (place + 1) * _BATCH]
        schedules.apply(schedule, optimizer, step / (epochs * batches))

        def closure(chosen: Tensor = chosen) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[chosen]), labels[chosen])
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
