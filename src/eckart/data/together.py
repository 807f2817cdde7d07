"""What the data of single members supply, as one for their stack."""

from collections.abc import Sequence
from typing import Any

import torch

from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense, Operator, Stacked


def together(values: Sequence[Any]) -> Any:
    """The values of all members as one: a tensor or an operator of a stack, or a list of entries.

    It is a view and no copy for a single member, whose target can be large.

    Example:
        >>> together([torch.zeros(2, 3), torch.ones(2, 3)]).shape
        torch.Size([2, 2, 3])
    """
    first = values[0]
    if isinstance(first, Entries):
        return list(values)
    if isinstance(first, Operator):
        if len(values) == 1:
            return first
        if all(isinstance(value, Dense) for value in values):
            return Dense(torch.cat([value.matrix for value in values]))
        return Stacked(values)
    return first[None] if len(values) == 1 else torch.stack(list(values))
