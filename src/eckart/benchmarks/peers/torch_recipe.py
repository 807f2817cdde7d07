"""The paper's recipe in PyTorch: as a careful user writes it, as most do, in Lightning, and many nets as one batch."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Train = Callable[[NDArray[Any], int, int, int], Any]


def sliced(matrix: NDArray[Any], rank: int, vectors: int, epochs: int, device: str = "cpu") -> Any:
    """Batches are slices of a shuffled tensor, and Adam's step is one fused operation.

    Args:
        matrix: The target, square.
        rank: Width of the bottleneck.
        vectors: Random vectors, with entries from U(0, 1).
        epochs: Passes over them, in batches of 32.
        device: Where the net is trained.

    Returns:
        The matrix that the net stands for.
    """
    model, x, y = _begun(matrix, rank, vectors, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    for _ in range(epochs):
        order = torch.randperm(vectors, device=device)
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


def batched(matrices: NDArray[Any], ranks: Sequence[int], vectors: int, epochs: int, device: str) -> Any:
    """All nets as one batch of matrices, drawn on the device; the other arguments are those of :func:`sliced`.

    Args:
        matrices: The targets, shape ``(J, n, n)``.
        ranks: Rank of each net: its units beyond it are zero, and stay so.
        vectors: Random vectors of each net.
        epochs: Passes over them.
        device: Where the nets are trained.

    Returns:
        The matrices that the nets stand for, shape ``(J, n, n)``.
    """
    torch.manual_seed(0)
    target = torch.from_numpy(matrices).float().to(device)
    count, size, width = len(target), target.shape[1], max(ranks)
    own = torch.tensor(ranks, device=device)[:, None, None]
    used = torch.arange(width, device=device) < own
    first, second, third = (
        _he_normal(torch.empty(count, after, before, device=device))
        for before, after in itertools.pairwise((size, size, width, size))
    )
    second, third = second * used.mT, third * used * (width / own).sqrt()
    weights = [nn.Parameter(weight) for weight in (first, second, third)]
    x = torch.rand(count, vectors, size, device=device)
    y = x @ target.mT
    optimizer = torch.optim.Adam(weights, lr=1e-3, eps=1e-7, fused=True)
    for _ in range(epochs):
        order = torch.rand(count, vectors, 1, device=device).argsort(1).expand(-1, -1, size)
        shuffled, images = x.gather(1, order), y.gather(1, order)
        for start in range(0, vectors, 32):
            output = shuffled[:, start : start + 32]
            for weight in weights:
                output = output @ weight.mT
            loss = (output - images[:, start : start + 32]).square().mean((1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    first, second, third = (weight.detach().double() for weight in weights)
    return (third @ second @ first).cpu().numpy()


def _he_normal(weight: Tensor) -> Tensor:
    deviation = (2 / weight.shape[-1]) ** 0.5 / 0.87962566103423978
    return nn.init.trunc_normal_(weight, 0, deviation, -2 * deviation, 2 * deviation)


def _begun(matrix: NDArray[Any], rank: int, vectors: int, device: str = "cpu") -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(rank)
    target = torch.from_numpy(matrix).float().to(device)
    size = len(target)
    widths = (size, size, rank, size)
    layers = [nn.Linear(*pair, bias=False, device=device) for pair in itertools.pairwise(widths)]
    for layer in layers:
        _he_normal(layer.weight)
    x = torch.rand(vectors, size, device=device)
    return nn.Sequential(*layers), x, x @ target.T


def _product(model: nn.Sequential) -> Any:
    first, second, third = (weight.detach().double() for weight in model.parameters())
    return (third @ second @ first).cpu().numpy()
