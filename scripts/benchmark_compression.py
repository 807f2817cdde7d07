"""Time models beside themselves with layers of low rank: no model gets slower. ``--help``."""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import eckart
from eckart.compression.latency import measure
from eckart.errors import one_line
from eckart.nn.lenet5 import LeNet5
from eckart.nn.mlp import MLP


def lenet5() -> tuple[nn.Module, Tensor]:
    """LeNet5 for 28×28 pixels."""
    return LeNet5(), torch.rand(16, 1, 28, 28)


def mlp() -> tuple[nn.Module, Tensor]:
    """Three wide layers."""
    return MLP([784, 784, 784, 784, 10], activation="relu"), torch.rand(16, 784)


def resnet18() -> tuple[nn.Module, Tensor]:
    """ResNet-18 for 224×224 pixels."""
    from torchvision.models import resnet18 as make

    return make(), torch.rand(2, 3, 224, 224)


def vit() -> tuple[nn.Module, Tensor]:
    """ViT-B/16 for 224×224 pixels."""
    from torchvision.models import vit_b_16

    return vit_b_16(), torch.rand(2, 3, 224, 224)


def vit_of_2() -> tuple[nn.Module, Tensor]:
    """The first two layers of ViT-B/16."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(224, 16, 2, 12, 768, 3072), torch.rand(2, 3, 224, 224)


class Transformer(nn.Module):
    """A small encoder of 128 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1000, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(256, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(batch, length)`` to logits ``(batch, 10)``."""
        return self.head(self.encoder(self.embedding(tokens)).mean(1))  # type: ignore[no-any-return]


def transformer() -> tuple[nn.Module, Tensor]:
    """Two encoder layers of width 256, 128 tokens."""
    return Transformer(), torch.randint(1000, (16, 128))


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "lenet5": lenet5,
    "mlp": mlp,
    "transformer": transformer,
    "resnet18": resnet18,
    "vit_of_2": vit_of_2,
    "vit": vit,
}


def timed(name: str, budget: float, *, keep_slower: bool) -> tuple[list[str], bool]:
    """Rows of the table for a model with random weights, and whether it got slower, beyond the noise."""
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    began = time.perf_counter()
    low = eckart.factorize(model, budget, [inputs], sensitivity="relative", keep_slower=keep_slower)
    taken = time.perf_counter() - began
    _, found = measure(model, low.model, inputs)
    changed = sum(layer.rank is not None for layer in low.layers)
    rows = []
    for size, comparison in found.items():
        cells = (
            name,
            f"{low.parameters / low.dense_parameters:.1%}",
            f"{changed} of {len(low.layers)}",
            str(size),
            f"{1e3 * comparison.first:.3g}",
            f"{1e3 * comparison.second:.3g}",
            f"{1 / comparison.ratio:.2f} ({1 / comparison.high:.2f}–{1 / comparison.low:.2f})",
        )
        rows.append("| " + " | ".join(cells) + " |")
    print(f"{name}: factorized in {taken:.0f} s", file=sys.stderr)
    return rows, any(comparison.slower for comparison in found.values())


def main() -> None:
    """Print the table, in Markdown; the exit status is 1 if a model got slower."""
    parser = argparse.ArgumentParser(
        description="Time models with random weights beside themselves with layers of low rank, in turns, for batches "
        "of 1 and of 256 samples (fewer, where a pass would take more than 2 s). Exits with 1 if one got slower."
    )
    parser.add_argument("models", nargs="*", default=["lenet5", "mlp", "transformer", "resnet18", "vit_of_2"])
    parser.add_argument("--budget", type=float, default=0.5, help="share of the parameters; %(default)s")
    parser.add_argument("--keep-slower", action="store_true", help="take ranks that are slower than dense too")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.models if name not in MODELS]:
        parser.error(f"A model must be one of: {', '.join(MODELS)}. Found {unknown[0]!r}.")
    titles = ("model", "parameters", "layers of low rank", "batch", "dense, ms", "low rank, ms", "times faster (99 %)")
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|", flush=True)
    slower = []
    try:
        for name in arguments.models:
            rows, worse = timed(name, arguments.budget, keep_slower=arguments.keep_slower)
            print("\n".join(rows), flush=True)
            slower += [name] * worse
    except ValueError as error:
        sys.exit(one_line(error))
    if slower:
        sys.exit(f"Slower than dense: {', '.join(slower)}.")


if __name__ == "__main__":
    main()
