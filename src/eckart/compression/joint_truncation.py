"""The truncation of all low-rank layers of a model together, to a budget of parameters."""

from collections.abc import Sequence

from eckart.compression.allocation import allocate
from eckart.optim.rank_truncation import Spectrum


class JointTruncation:
    r"""Keep those singular values of all layers that the loss is most sensitive to, so that their factors fit a budget.

    What is lost is the sum of the sensitivities of those that are dropped. It is the least that the budget allows: see
    :func:`eckart.compression.allocation.allocate`. Each layer keeps at least one.

    Args:
        costs: Parameters of one column of ``left`` and one row of ``right``, of each layer.
        budget: Parameters that all factors may have together.

    Raises:
        BudgetTooSmall: If it does not allow rank 1 in each layer.

    Example:
        >>> import torch
        >>> truncation = JointTruncation([10, 20], budget=50)
        >>> values, sensitivities = torch.ones(3), torch.tensor([[0.1, 2.0, 1.0], [3.0, 0.1, 0.0]])
        >>> truncation([Spectrum(values, sensitivities[0]), Spectrum(values, sensitivities[1])])
        [[0, 1, 2], [0]]

    References:
        Molchanov, Mallya, Tyree, Frosio & Kautz, CVPR 2019 (the squared first-order change as an importance).
    """

    def __init__(self, costs: Sequence[int], budget: int) -> None:
        self.costs, self.budget = list(costs), budget
        allocate([[0.0]] * len(self.costs), [[cost] for cost in self.costs], budget)

    def __call__(self, spectra: Sequence[Spectrum]) -> list[list[int]]:
        """Places of the singular values that are kept, rising."""
        orders, losses, costs = [], [], []
        for (_, sensitivities), cost in zip(spectra, self.costs, strict=True):
            sorted_ones, order = sensitivities.double().sort(descending=True, stable=True)
            tails = sorted_ones.flip(0).cumsum(0).flip(0)
            orders.append(order.tolist())
            losses.append([*tails[1:].tolist(), 0.0])
            costs.append([cost * rank for rank in range(1, len(order) + 1)])
        chosen = allocate(losses, costs, self.budget).options
        return [sorted(order[: option + 1]) for order, option in zip(orders, chosen, strict=True)]
