"""LeNet5, the small convolutional net that compression is compared on."""

import torch
from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet5 in the form 20-50-500-10: two convolutions of 5×5, each with a pooling of 2×2, and two linear layers,
    with rectified linear units between them.

    Args:
        classes: Number of classes.

    Example:
        >>> net = LeNet5()
        >>> net(torch.zeros(64, 1, 28, 28)).shape
        torch.Size([64, 10])
        >>> sum(parameter.numel() for parameter in net.parameters())
        431080

    References:
        LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86(11), 1998; in the sizes of the example of Caffe.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, 1, 28, 28)`` to logits ``(batch, classes)``."""
        x = torch.relu(nn.functional.max_pool2d(self.conv1(x), 2))
        x = torch.relu(nn.functional.max_pool2d(self.conv2(x), 2))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))  # type: ignore[no-any-return]
