"""Which losses spend a budget best: accuracy of nets on MNIST, truncated and not trained on. ``--help``."""

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.datasets import MNIST

import eckart
from eckart.errors import one_line
from eckart.nn.lenet5 import LeNet5
from eckart.nn.mlp import MLP

KINDS = ("plain", "relative", "second_order", "measured")


def samples(root: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training samples, and 10,000 of MNIST's training set to validate on; the test set is not read."""
    digits = MNIST(root, train=True)
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    x = (digits.data.float()[order, None] / 255 - 0.1307) / 0.3081
    y = digits.targets[order]
    return x[:50_000], y[:50_000], x[50_000:], y[50_000:]


def trained(net: nn.Module, x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """The net after some epochs of Adam."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    steps = epochs * (len(x) // 128)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    for _ in range(epochs):
        for batch in torch.randperm(len(x))[: len(x) // 128 * 128].split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the samples that are classified right."""
    return sum(int((net(a).argmax(1) == b).sum()) for a, b in zip(x.split(1000), y.split(1000), strict=True)) / len(x)


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(
        description="Train a net on MNIST, factorize it by the same budgets with each kind of losses, and print the "
        "validation accuracy, without fine-tuning."
    )
    parser.add_argument("root", type=Path, metavar="FOLDER", help="where torchvision's MNIST is")
    parser.add_argument("--model", choices=["lenet5", "mlp"], default="lenet5", help="%(default)s")
    parser.add_argument("--epochs", type=int, default=2, help="%(default)s")
    parser.add_argument("--seeds", type=int, default=1, help="%(default)s")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.03, 0.05, 0.1])
    arguments = parser.parse_args()
    try:
        x, y, *held_out = samples(arguments.root)
    except (OSError, RuntimeError) as error:
        sys.exit(one_line(error))
    if arguments.model == "mlp":
        x, held_out[0] = x.flatten(1), held_out[0].flatten(1)
    print("| seed | budget | " + " | ".join(KINDS) + " | ranks by measured |\n" + "|---" * (3 + len(KINDS)) + "|")
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        net = LeNet5() if arguments.model == "lenet5" else MLP([784, 784, 784, 784, 10], activation="relu")
        trained(net, x, y, arguments.epochs)
        print(
            f"| {seed} | dense | " + " | ".join([f"{accuracy(net, *held_out):.2%}"] * len(KINDS)) + " | |", flush=True
        )
        for budget in arguments.budgets:
            cells = [str(seed), f"{budget:.0%}"]
            for kind in KINDS:
                inputs = None if kind == "plain" else x[:2000].split(500)
                sensitivity = None if kind == "plain" else kind
                low = eckart.factorize(net, budget, inputs, sensitivity=sensitivity, keep_slower=True)
                cells.append(f"{accuracy(low.model, *held_out):.2%}")
            ranks = " ".join("dense" if layer.rank is None else str(layer.rank) for layer in low.layers)
            print("| " + " | ".join([*cells, ranks]) + " |", flush=True)


if __name__ == "__main__":
    main()
