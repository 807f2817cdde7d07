"""Published sizes of low-rank nets, counted anew on models with the published ranks: claimed beside counted."""

import argparse

import torch
from torch import nn

from eckart.compression.counting import count
from eckart.nn.lenet5 import LeNet5
from eckart.nn.low_rank_conv import LowRankConv2d
from eckart.nn.low_rank_linear import LowRankLinear
from eckart.results.published import PUBLISHED, Published


def built(row: Published) -> nn.Module | None:
    """LeNet5 with the ranks of a row; None where a row has no ranks."""
    if not row.ranks:
        return None
    assert row.model == "lenet5"
    net = LeNet5()
    for name, rank in zip(("conv1", "conv2", "fc1", "fc2"), row.ranks, strict=True):
        if rank is not None:
            dense = net.get_submodule(name)
            make = LowRankConv2d.from_conv if isinstance(dense, nn.Conv2d) else LowRankLinear.from_linear
            setattr(net, name, make(dense, rank))  # type: ignore[arg-type]
    return net


def line(row: Published) -> str:
    """A row of the table."""
    net = built(row)
    counted, weights, computed = "–", "–", "–"
    if net is not None:
        counts = count(net, torch.zeros(1, 1, 28, 28))
        biases = sum(value.numel() for name, value in net.named_parameters() if name.endswith("bias"))
        counted, weights = f"{counts.parameters:,}", f"{counts.parameters - biases:,}"
        computed = f"{counts.multiply_adds:,}"
    ranks = " ".join("dense" if rank is None else str(rank) for rank in row.ranks) or "not found"
    cells = (row.method, row.model, f"{100 * row.accuracy:g} %", ranks, f"{row.claimed:,}", weights, counted, computed)
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, in Markdown."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    titles = ("who", "model", "accuracy", "ranks", "claimed", "weights", "with biases", "multiply-adds")
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for row in PUBLISHED:
        print(line(row))


if __name__ == "__main__":
    main()
