"""What a rank adds to the loss: against closed forms, and prediction against measurement."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eckart.compression.sensitivity import Divergence, measured, output_moments, predicted
from eckart.linalg.random import stream


def test_moments_at_the_logits_are_those_of_the_multinomial() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4))
    x = torch.randn(4000, 3)
    found = output_moments(net, {"0": net[0]}, x.split(1000))["0"]
    p = net(x).softmax(-1).double()
    expected = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(0)
    assert found.dtype == torch.float64
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_moments_of_each_layer_from_gradients_sample_by_sample() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5)).double()
    x = torch.randn(6, 1, 3, 3, dtype=torch.float64)
    found = output_moments(net, {"conv": net[0], "head": net[3]}, [x[:4], x[4:]], seed=7)
    draw = stream(7, "labels")
    labels = torch.cat([torch.multinomial(net(part).softmax(-1), 1, generator=draw)[:, 0] for part in (x[:4], x[4:])])
    conv, head = torch.zeros(3, 3).double(), torch.zeros(5, 5).double()
    for sample, label in zip(x, labels, strict=True):
        maps = net[0](sample[None])
        logits = net[1:](maps)
        a, b = torch.autograd.grad(nn.functional.cross_entropy(logits, label[None]), (maps, logits))
        conv += a[0].flatten(1) @ a[0].flatten(1).T / len(x)
        head += b.T @ b / len(x)
    assert torch.allclose(found["conv"], conv) and torch.allclose(found["head"], head)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert net.training


def logistic(rank: int) -> tuple[nn.Linear, Tensor, Callable[[int], Tensor], Tensor]:
    """A net of one layer with a single input, for which the second order is exact up to the third."""
    torch.manual_seed(0)
    net = nn.Linear(6, 5, bias=False).double()
    x = torch.randn(1, 6, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(net.weight.detach(), full_matrices=False)
    s = s * torch.tensor([1, 0.5, 0.02, 0.01, 0.005])
    with torch.no_grad():
        net.weight.copy_((u * s) @ vh)
    return net, x, lambda k: (u[:, :k] * s[:k]) @ vh[:k], s


def test_the_divergence_is_the_fisher_form_to_second_order() -> None:
    net, x, truncated, _ = logistic(2)
    p = net(x).softmax(-1)[0].detach()
    fisher = torch.diag(p) - torch.outer(p, p)
    divergence = Divergence(net, [x, x])
    assert divergence() == 0
    losses = measured(divergence, {"": net.weight}, {"": truncated}, {"": 5}, count=5)[""]
    delta = truncated(5) - truncated(2)
    assert losses[1] == pytest.approx(0.5 * float((delta @ x[0]) @ fisher @ (delta @ x[0])), rel=0.05)
    assert torch.equal(net.weight, truncated(5))
    assert losses == sorted(losses, reverse=True) and losses[4] == 0


def test_predicted_is_the_fisher_form_of_what_is_cut_off() -> None:
    draw = torch.Generator().manual_seed(0)
    w, a, b = (torch.randn(*shape, generator=draw).double() for shape in ((4, 3), (4, 4), (3, 3)))
    g, c = a @ a.T, b @ b.T
    left, right = torch.linalg.cholesky(g).T, torch.linalg.cholesky(c)
    u, s, vh = torch.linalg.svd(left @ w @ right, full_matrices=False)
    losses = predicted(s.square())
    for rank in (1, 2, 3):
        cut = torch.linalg.inv(left) @ (u[:, rank:] * s[rank:]) @ vh[rank:] @ torch.linalg.inv(right)
        assert losses[rank - 1] == pytest.approx(0.5 * float((g @ cut @ c @ cut.T).trace()), abs=1e-9)


def test_what_follows_may_write_in_place() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 2)) for inplace in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    plain, written = (output_moments(net, {"0": net[0]}, [x])["0"] for net in nets)
    assert torch.equal(plain, written)


def test_a_loss_that_is_not_finite_names_the_layer() -> None:
    net, _, truncated, _ = logistic(2)
    found = iter([0.0, math.inf])
    with pytest.raises(ValueError, match=r"^The loss must be finite\. Found inf for the model with layer at rank 1\.$"):
        measured(lambda: next(found), {"layer": net.weight}, {"layer": truncated}, {"layer": 5})


def test_a_layer_that_is_not_reached_is_named() -> None:
    net = nn.ModuleDict({"used": nn.Linear(2, 2), "spare": nn.Linear(2, 2)})

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = net

        def forward(self, x: Tensor) -> Tensor:
            return self.parts["used"](x)

    with pytest.raises(ValueError, match=r"^The inputs must reach each layer.*parts\.spare is never reached\.$"):
        output_moments(Half(), {"parts.used": net["used"], "parts.spare": net["spare"]}, [torch.ones(1, 2)])


@pytest.mark.parametrize(
    ("batches", "law"),
    [
        ([], "at least one batch"),
        ([torch.full((1, 2), math.nan)], "must be finite"),
        ([torch.ones(2)], "must give logits"),
    ],
)
def test_what_is_refused(batches: list[Tensor], law: str) -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=law):
        output_moments(net, {"": net}, batches)
    with pytest.raises(ValueError, match=law):
        measured(Divergence(net, batches), {"": net.weight}, {"": lambda rank: net.weight}, {"": 2})
