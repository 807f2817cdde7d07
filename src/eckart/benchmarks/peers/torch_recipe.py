"""The paper's recipe in PyTorch: as a careful user writes it, as most do, and in Lightning as most write it."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Train = Callable[[NDArray[Any], int, int, int], Any]


def sliced(matrix: NDArray[Any], rank: int, vectors: int, epochs: int) -> Any:
    """Batches are slices of a shuffled tensor, and Adam's step is one fused operation.

    Args:
        matrix: The target, square.
        rank: Width of the bottleneck.
        vectors: Random vectors, with entries from U(0, 1).
        epochs: Passes over them, in batches of 32.

    Returns:
        The matrix that the net stands for.
    """
    model, x, y = _begun(matrix, rank, vectors)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    for _ in range(epochs):
        order = torch.randperm(vectors)
        shuffled, images = x[order], y[order]
        for start in range(0, vectors, 32):
            loss = nn.functional.mse_loss(model(shuffled[start : start + 32]), images[start : start + 32])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return _product(model)


def loaded(matrix: NDArray[Any], rank: int, vectors: int, epochs: int) -> Any:
    """Batches come from a DataLoader, and Adam is as it comes; arguments as of :func:`sliced`."""
    model, x, y = _begun(matrix, rank, vectors)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    for _ in range(epochs):
        for batch, images in loader:
            loss = nn.functional.mse_loss(model(batch), images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return _product(model)


def lightning(matrix: NDArray[Any], rank: int, vectors: int, epochs: int) -> Any:
    """A LightningModule that logs its loss at each step; arguments as of :func:`sliced`."""
    import pytorch_lightning

    class Net(pytorch_lightning.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            x, y = batch
            loss = nn.functional.mse_loss(self.model(x), y)
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-7)

    model, x, y = _begun(matrix, rank, vectors)
    trainer = pytorch_lightning.Trainer(accelerator="cpu", max_epochs=epochs, enable_progress_bar=False)
    trainer.fit(Net(model), DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
    return _product(model)


def _begun(matrix: NDArray[Any], rank: int, vectors: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(rank)
    target = torch.from_numpy(matrix).float()
    size = len(target)
    widths = (size, size, rank, size)
    layers = [nn.Linear(*pair, bias=False) for pair in itertools.pairwise(widths)]
    for layer in layers:
        deviation = (2 / layer.in_features) ** 0.5 / 0.87962566103423978
        nn.init.trunc_normal_(layer.weight, 0, deviation, -2 * deviation, 2 * deviation)
    x = torch.rand(vectors, size)
    return nn.Sequential(*layers), x, x @ target.T


def _product(model: nn.Sequential) -> Any:
    first, second, third = (weight.detach().double() for weight in model.parameters())
    return (third @ second @ first).numpy()
