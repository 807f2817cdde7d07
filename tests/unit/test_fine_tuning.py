import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eckart.compression.counting import count_parameters
from eckart.compression.fine_tuning import distillation_loss, falling_budgets, lowered, parameter_groups
from eckart.nn.low_rank_linear import LowRankLinear


def logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_of_a_model_from_itself_has_no_gradient(temperature: float) -> None:
    own = logits(0, 7, 5).requires_grad_()
    distillation_loss(own, own, temperature=temperature).backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None and own.grad.abs().max() < 1e-15


def test_distillation_is_the_formula() -> None:
    ours, theirs, labels = logits(0, 7, 5), logits(1, 7, 5), torch.arange(7) % 5
    p, q = (torch.softmax(x / 2, 1) for x in (theirs, ours))
    expected = 0.3 * 4 * (p * (p / q).log()).sum(1).mean() + 0.7 * F.cross_entropy(ours, labels)
    found = distillation_loss(ours, theirs, labels, weight=0.3, temperature=2.0)
    torch.testing.assert_close(found, expected)
    sequences = distillation_loss(
        ours.view(7, 1, 5), theirs.view(7, 1, 5), labels.view(7, 1), weight=0.3, temperature=2.0
    )
    torch.testing.assert_close(sequences, expected)


def test_no_gradient_flows_to_the_teacher_and_labels_alone_are_cross_entropy() -> None:
    ours, theirs, labels = logits(0, 7, 5).requires_grad_(), logits(1, 7, 5).requires_grad_(), torch.arange(7) % 5
    distillation_loss(ours, theirs, labels, weight=0.5).backward()  # type: ignore[no-untyped-call]
    assert theirs.grad is None and ours.grad is not None
    plain = distillation_loss(ours, theirs, labels, weight=0.0)
    torch.testing.assert_close(plain, F.cross_entropy(ours, labels))


def test_parameters_are_in_one_group_each() -> None:
    net = nn.Sequential(nn.Linear(3, 4), LowRankLinear(4, 5, rank=2), nn.Linear(5, 2))
    net[2].weight.requires_grad_(False)
    groups = parameter_groups(net, {"lr": 0.02}, {"lr": 0.01})
    factors, others = (group["params"] for group in groups)
    assert [id(p) for p in factors] == [id(net[1].left), id(net[1].right)]
    assert {id(p) for p in others} == {id(p) for p in net.parameters() if p.requires_grad} - {id(p) for p in factors}
    assert len(parameter_groups(net[0])) == 1


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 10)).double()


def test_lowering_ends_at_the_budget_and_leaves_the_dense_model() -> None:
    net, inputs = mlp(), [torch.randn(50, 20, dtype=torch.float64)]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    budgets = falling_budgets(0.9, 0.35, 3)
    counts = []
    for stage in lowered(net, budgets, inputs, keep_slower=True):
        with torch.no_grad():
            for parameter in stage.model.parameters():
                parameter.mul_(1.01)
        counts.append(count_parameters(stage.model))
    total = count_parameters(net)
    assert all(count <= budget * total for count, budget in zip(counts, budgets, strict=True))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] > 0.2 * total
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_each_stage_begins_with_what_training_has_left() -> None:
    net, inputs = mlp(), [torch.randn(50, 20, dtype=torch.float64)]
    stages = lowered(net, [0.8, 0.8], inputs, keep_slower=True)
    first = next(stages)
    for parameter in first.model.parameters():
        nn.init.normal_(parameter, std=0.3)
    left = first.model(inputs[0]).detach()
    second = next(stages)
    assert count_parameters(second.model) <= 0.8 * count_parameters(net)
    # A model that is within the budget already is left as it is.
    torch.testing.assert_close(second.model(inputs[0]), left)
    assert not torch.allclose(net(inputs[0]), left, atol=0.1)


def test_budgets_fall_by_one_factor() -> None:
    found = falling_budgets(0.4, 0.02, 5)
    assert found[0] == 0.4 and found[-1] == 0.02 and len(found) == 5
    ratios = [after / before for before, after in itertools.pairwise(found)]
    assert max(ratios) == pytest.approx(min(ratios)) and max(ratios) < 1
    assert falling_budgets(0.4, 0.02, 1) == [0.02]


def test_bad_budgets() -> None:
    with pytest.raises(ValueError, match=r"fall from stage to stage. Found \[0.2, 0.3\]"):
        lowered(mlp(), [0.2, 0.3])
    with pytest.raises(ValueError, match=r"fall from stage to stage. Found \[\]"):
        lowered(mlp(), [])
    for first, last in ((0.1, 0.2), (0.1, 0.0), (float("inf"), 0.1)):
        with pytest.raises(ValueError, match=f"Budgets must fall.*Found {first} and {last}"):
            falling_budgets(first, last, 3)
    with pytest.raises(ValueError, match="at least one stage"):
        falling_budgets(0.4, 0.1, 0)


def test_bad_input() -> None:
    ours, theirs = logits(0, 7, 5), logits(1, 7, 5)
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"from 0 to 1. Found {weight}"):
            distillation_loss(ours, theirs, weight=weight)
    for temperature in (0.0, float("inf")):
        with pytest.raises(ValueError, match=f"positive and finite. Found {temperature}"):
            distillation_loss(ours, theirs, temperature=temperature)
    with pytest.raises(ValueError, match="needs labels"):
        distillation_loss(ours, theirs, weight=0.5)
    with pytest.raises(ValueError, match=r"one shape. Found \(7, 5\) and \(6, 5\)"):
        distillation_loss(ours, theirs[:6])
