import itertools

import pytest
import torch
from torch import Tensor

from eckart.compression.allocation import BudgetTooSmall
from eckart.compression.joint_truncation import JointTruncation
from eckart.optim.rank_truncation import Spectrum


def spectra(seed: int, *ranks: int) -> list[Spectrum]:
    generator = torch.Generator().manual_seed(seed)
    return [Spectrum(torch.ones(rank), torch.rand(rank, generator=generator) ** 4) for rank in ranks]


def lost(found: list[Spectrum], kept: list[list[int]]) -> float:
    left: list[Tensor] = [spectrum.sensitivities.sum() for spectrum in found]
    for place, (spectrum, places) in enumerate(zip(found, kept, strict=True)):
        left[place] = left[place] - spectrum.sensitivities[places].sum()
    return float(sum(left))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [30, 47, 61, 200])
def test_no_other_choice_within_the_budget_loses_less(seed: int, budget: int) -> None:
    found, costs = spectra(seed, 3, 4, 2), [7, 11, 12]
    kept = JointTruncation(costs, budget)(found)
    assert all(places == sorted(places) and places for places in kept)
    assert sum(cost * len(places) for cost, places in zip(costs, kept, strict=True)) <= budget
    choices = [
        [list(places) for size in range(1, rank + 1) for places in itertools.combinations(range(rank), size)]
        for rank in (3, 4, 2)
    ]
    within = [
        list(choice)
        for choice in itertools.product(*choices)
        if sum(cost * len(places) for cost, places in zip(costs, choice, strict=True)) <= budget
    ]
    assert lost(found, kept) == pytest.approx(min(lost(found, choice) for choice in within), abs=1e-6)


def test_a_budget_below_rank_1_says_what_rank_1_costs() -> None:
    with pytest.raises(BudgetTooSmall, match=r"at least 30, what the least ranks cost\. Found 29\."):
        JointTruncation([7, 11, 12], 29)
