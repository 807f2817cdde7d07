"""LeNet5 at three percent of its parameters.

A net of 431,080 parameters is cut to 3 % of them, and comes back to the accuracy that
it had within a few points. `eckart.factorize` measures what each rank of each layer
loses, and chooses the ranks that lose least together within the budget. Then the small
net is trained on: here with 3,000 training images, which take seconds. On all of MNIST,
the recipe of [Nets of low rank](../compression.md) ends at 99.1 %.

`MNIST("data", download=True)` fetches the images once. Where they are not in the folder
`data`, or the one that `ECKART_DATA` names, scikit-learn's small digits stand in.
"""

import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate
from torchvision.datasets import MNIST

import eckart
from eckart.nn.lenet5 import LeNet5
from eckart.results.style import BLACK, BLUE, GRAY, STYLE, VERMILLION, percent

plt.style.use(STYLE)
number = 3000
root = os.environ.get("ECKART_DATA", "data")
try:
    training, testing = (MNIST(root, train=train) for train in (True, False))
    images = torch.cat([training.data[:number], testing.data[:2000]])[:, None] / 255
    labels = torch.cat([training.targets[:number], testing.targets[:2000]])
    data = "MNIST"
except RuntimeError:
    tiny, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    images = interpolate(tiny.view(-1, 1, 8, 8).float() / 16, size=28, mode="bilinear")
    number, data = 1300, "scikit-learn's digits, enlarged"
print(f"{data}: {number} images to learn from, {len(images) - number} to test")

# %%
# A plain training loop, which records the accuracy after each epoch.


@torch.no_grad()
def accuracy(model):
    return float((model(images[number:]).argmax(1) == labels[number:]).float().mean())


def train(model, epochs, rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    curve = []
    for _ in range(epochs):
        for batch in torch.randperm(number).split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        curve.append(accuracy(model))
    return curve


torch.manual_seed(0)
net = LeNet5()
dense = train(net, epochs=3, rate=1e-3)

# %%
# The budget is spent where it helps the loss most. The table has a row for each layer.

inputs = images[:1000].split(250)
small = eckart.factorize(net, budget=0.03, inputs=inputs, keep_slower=True)
print(small)
cut = accuracy(small.model)
tuned = train(small.model, epochs=3, rate=3e-3)
print(
    f"accuracy: dense {dense[-1]:.3f}, just cut {cut:.3f}, trained on {tuned[-1]:.3f}"
)
print(f"points below the dense net: {100 * (dense[-1] - tuned[-1]):.1f}")
print(f"parameters left: {small.parameters / small.dense_parameters:.2%}")

# %%
# Accuracy by epoch, and where the parameters went.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot([1, 2, 3], dense, "o-", color=BLACK, label="LeNet5")
left.plot([3, 4, 5, 6], [cut, *tuned], "o-", color=BLUE, label="3 % of its parameters")
left.axhline(dense[-1], color=GRAY, linewidth=0.8)
left.set(xlabel="epoch", ylabel="test accuracy", title=data)
percent(left.yaxis)
left.legend()
paths = [layer.path for layer in small.layers]
heights = torch.arange(len(paths))
before = [layer.dense_parameters for layer in small.layers]
after = [layer.parameters for layer in small.layers]
right.barh(heights - 0.2, before, height=0.4, color=GRAY, label="dense")
right.barh(heights + 0.2, after, height=0.4, color=VERMILLION, label="factors")
right.set_yticks(heights, paths)
right.invert_yaxis()
right.set_axisbelow(True)
right.set(xscale="log", xlabel="parameters")
right.legend()
figure.savefig("lenet5.png")
