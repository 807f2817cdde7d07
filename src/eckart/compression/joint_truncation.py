"""The truncation of all low-rank layers of a model together, to a budget of parameters."""

from collections.abc import Sequence

from torch import Tensor

from eckart.compression.allocation import allocate


class JointTruncation:
    r"""Keep the leading singular values of each layer so that their factors fit a budget.

    What a layer loses is the energy that is dropped, relative to its own: :math:`\sum_{i > k} s_i^2 / \sum_i s_i^2`.
    The sum over the layers is the least that the budget allows: see :func:`eckart.compression.allocation.allocate`.

    Args:
        costs: Parameters of one column of ``left`` and one row of ``right``, of each layer.
        budget: Parameters that all factors may have together.

    Raises:
        BudgetTooSmall: If it does not allow rank 1 in each layer.

    Example:
        >>> import torch
        >>> truncation = JointTruncation([10, 20], budget=50)
        >>> truncation([torch.tensor([2.0, 1.0, 0.5]), torch.tensor([3.0, 0.1])])
        [[0, 1, 2], [0]]
    """

    def __init__(self, costs: Sequence[int], budget: int) -> None:
        self.costs, self.budget = list(costs), budget
        allocate([[0.0]] * len(self.costs), [[cost] for cost in self.costs], budget)

    def __call__(self, spectra: Sequence[Tensor]) -> list[list[int]]:
        """Places of the singular values that are kept, from the first.

        Args:
            spectra: Singular values of each layer, nonincreasing.
        """
        losses, costs = [], []
        for spectrum, cost in zip(spectra, self.costs, strict=True):
            energy = spectrum.double().square()
            # From the smallest on, so that a small tail is not what rounding leaves of two large sums.
            tails = energy.flip(0).cumsum(0).flip(0)
            total = float(tails[0]) or 1.0
            losses.append([*(tails[1:] / total).tolist(), 0.0])
            costs.append([cost * rank for rank in range(1, len(spectrum) + 1)])
        chosen = allocate(losses, costs, self.budget).options
        return [list(range(option + 1)) for option in chosen]
