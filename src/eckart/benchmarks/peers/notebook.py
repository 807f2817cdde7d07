"""The MNIST notebook's cells 80 to 86 as they stand, but for the download: ``python -m … FOLDER ROOT``."""

import json
import sys
from pathlib import Path


def main(folder: str, root: str) -> None:
    """Run the cells, and leave the sums of the losses in ``sums.json``.

    Args:
        folder: Where the file is written.
        root: Folder that contains ``MNIST``.
    """
    Path(folder, "sums.json").write_text(json.dumps(cells(root)), encoding="utf-8")


def cells(root: str) -> list[float]:
    """Reduce the images to rank 16, and train the net for two epochs.

    Args:
        root: Folder that contains ``MNIST``.

    Returns:
        The sum of the losses of each epoch.
    """
    import numpy as np
    import torch
    from torch import nn, optim
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset
    from torchvision.datasets import MNIST

    train_dataset = MNIST(root=root, download=False, train=True)
    train_data = train_dataset.data.numpy()
    flat_train_data = train_data.reshape(train_data.shape[0], -1)
    u, s, vt = np.linalg.svd(flat_train_data, full_matrices=False)
    rank = 16
    reconstructed_data = u[:, :rank] @ np.diag(s[:rank]) @ vt[:rank, :]
    reconstructed_tensor = torch.Tensor(reconstructed_data)
    labels = torch.Tensor(train_dataset.targets.numpy()).long()
    train_loader = DataLoader(TensorDataset(reconstructed_tensor, labels), batch_size=64, shuffle=True)

    class Net(nn.Module):
        def __init__(self, ni: int, nh: int, no: int) -> None:
            super().__init__()
            self.layer1 = nn.Linear(ni, nh)
            self.layer2 = nn.Linear(nh, no)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer1(x)
            x = torch.sigmoid(x)
            found: torch.Tensor = self.layer2(x)
            return found

    torch.manual_seed(0)
    net = Net(28 * 28, 500, 10)
    opt = optim.SGD(net.parameters(), lr=1e-2)
    sums = []
    for _ in range(2):
        total_loss = 0.0
        for batch in train_loader:
            x, y = batch[0], batch[1]
            set(y.numpy())
            logits = net(x)
            loss = functional.cross_entropy(logits, y)
            total_loss += loss.item()
            opt.zero_grad()
            loss.backward()
            opt.step()
        sums.append(total_loss)
    return sums


if __name__ == "__main__":
    main(*sys.argv[1:])
