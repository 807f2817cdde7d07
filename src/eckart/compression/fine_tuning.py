"""Fine-tuning of a model of low rank: groups of parameters, distillation, ranks that are lowered step by step."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from eckart.compression.factorize import factorize
from eckart.compression.factorized import Factorized
from eckart.optim.scaled_metric import factor_pairs


def parameter_groups(
    model: nn.Module, factors: Mapping[str, Any] | None = None, others: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Parameters of a model in two groups for any optimizer: factors of layers of low rank, and all others.

    With :class:`eckart.optim.scaled_metric.ScaledMetric` the factors want a learning rate of their own.

    Args:
        model: Any module.
        factors: Settings of the group of factors, such as ``{"lr": 0.02}``.
        others: Settings of the group of all other parameters.

    Returns:
        The groups that are not empty, factors first, left before right. Frozen parameters are in none.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> net = nn.Sequential(nn.Linear(3, 4), LowRankLinear(4, 5, rank=2))
        >>> groups = parameter_groups(net, {"lr": 0.02}, {"lr": 0.01, "weight_decay": 1e-4})
        >>> [(len(group["params"]), group["lr"]) for group in groups]
        [(2, 0.02), (3, 0.01)]
    """
    pairs = [factor for pair in factor_pairs(model).values() for factor in pair]
    known = {id(factor) for factor in pairs}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = []
    for parameters, settings in ((pairs, factors), (rest, others)):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            groups.append({"params": trained, **(settings or {})})
    return groups


def distillation_loss(
    logits: Tensor, teacher: Tensor, labels: Tensor | None = None, *, weight: float = 1.0, temperature: float = 1.0
) -> Tensor:
    r"""Loss of a model that imitates a teacher: ``weight T² KL(p_teacher ‖ p) + (1 - weight) cross-entropy``.

    The probabilities of the first term are those of the logits divided by T; its factor T² makes its gradient as large
    at every temperature.

    Args:
        logits: Of the model, shape ``(…, classes)``.
        teacher: Of the teacher, of the same shape; no gradient flows to it.
        labels: Classes, shape ``(…)``; needed for a weight below 1.
        weight: Weight of the teacher, from 0 to 1.
        temperature: T, positive.

    Returns:
        Mean over all rows, shape ``()``.

    Raises:
        ValueError: If a number is out of its range, labels are missing, or the shapes differ.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> distillation_loss(logits, logits, temperature=2.0)
        tensor(0.)

    References:
        Hinton, Vinyals & Dean, arXiv:1503.02531, 2015.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"The weight of the teacher must be from 0 to 1. Found {weight}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"The temperature must be positive and finite. Found {temperature}.")
    if logits.shape != teacher.shape:
        found = f"{tuple(logits.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"The model and its teacher must have logits of one shape. Found {found}.")
    if labels is None and weight < 1:
        raise ValueError(f"A weight of the teacher below 1 needs labels. Found {weight} and none.")
    classes = logits.shape[-1]
    loss = logits.new_zeros(())
    if weight > 0:
        ours, theirs = (F.log_softmax(x.reshape(-1, classes) / temperature, -1) for x in (logits, teacher.detach()))
        loss = weight * temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    if weight < 1:
        assert labels is not None
        loss = loss + (1 - weight) * F.cross_entropy(logits.reshape(-1, classes), labels.reshape(-1))
    return loss


def falling_budgets(first: float, last: float, stages: int) -> list[float]:
    """Budgets that fall by the same factor from stage to stage.

    Args:
        first: Of the first stage.
        last: Of the last, ``0 < last <= first``.
        stages: How many, at least 1; one stage has the last budget.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> falling_budgets(0.16, 0.01, 3)
        [0.16, 0.04, 0.01]
    """
    if not 0 < last <= first < math.inf:
        raise ValueError(f"Budgets must fall, from a finite one to a positive one. Found {first} and {last}.")
    if stages < 1:
        raise ValueError(f"There must be at least one stage. Found {stages}.")
    factor = (last / first) ** (1 / max(stages - 1, 1))
    return [*(first * factor**stage for stage in range(stages - 1)), last]


def lowered(
    model: nn.Module, budgets: Sequence[float], inputs: Iterable[Any] | None = None, **options: Any
) -> Iterator[Factorized]:
    """Lower the ranks of a model in stages: factorize it to each budget in turn, and train it in between.

    Each stage is factorized from the products of the factors that the training of the stage before has left, on the
    inputs as they are then, so ranks are given to the layers anew. A model that has been trained at a larger budget
    loses less at the next than the dense one would.

    Args:
        model: Dense model; it is not changed.
        budgets: Budget of each stage, falling; as of :func:`eckart.factorize`.
        inputs: As of :func:`eckart.factorize`; read anew in each stage.
        **options: Of :func:`eckart.factorize`.

    Returns:
        An iterator over the stages. Train ``stage.model`` before the next one is asked for; the last is the result.

    Raises:
        ValueError: If there is no budget, or one is larger than the one before.

    Example:
        >>> net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 10))
        >>> for stage in lowered(net, falling_budgets(0.8, 0.4, 3), keep_slower=True):
        ...     pass  # Train stage.model here, with an optimizer of its own.
        >>> stage.parameters <= 0.4 * stage.dense_parameters
        True
    """
    if not budgets or any(after > before for before, after in itertools.pairwise(budgets)):
        raise ValueError(f"Budgets must fall from stage to stage. Found {list(budgets)}.")

    def stages() -> Iterator[Factorized]:
        dense = model
        for budget in budgets:
            stage = factorize(dense, budget, inputs, **options)
            yield stage
            dense = stage.defactorize()

    return stages()
