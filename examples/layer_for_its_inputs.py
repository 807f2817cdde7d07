"""A layer compressed for its inputs.

For the inputs that a layer really sees there is a better matrix of each rank than the
truncated SVD of its weight. A layer is used for its outputs, and its inputs do not come
from all directions alike. It is known which matrix is the best one: `eckart.factorize`
finds it in one pass over the inputs, and says how far it is from that optimum. Here a
hidden layer of 128 × 128 is replaced in a small net that reads digits. [Your own
model](../factorize.md) has all that `eckart.factorize` can do.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import eckart
from eckart.results.style import (
    BLACK,
    BLUE,
    GRAY,
    STYLE,
    VERMILLION,
    percent,
    rank_axis,
)

plt.style.use(STYLE)
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
torch.manual_seed(0)
hidden = nn.Linear(128, 128)
net = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), hidden, nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(30):
    for part in torch.randperm(1200).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[part]), labels[part]).backward()
        optimizer.step()


def accuracy(model):
    right = model(images[1200:]).argmax(dim=1) == labels[1200:]
    return float(right.float().mean())


# %%
# The same layer at several ranks, twice: for its weight alone, and for its inputs. The
# error is that of its outputs for the training images, relative to how far these lie
# from their mean: a layer that always gives the mean has an error of 1.

ranks = [1, 2, 4, 8, 16, 32]
options = {"layers": "2", "keep_slower": True}
errors = {"weight": [], "inputs": []}
accuracies = {"weight": [], "inputs": []}
optimum, excess = [], []
with torch.no_grad():
    seen = net[:2](images[:1200])
    wanted = hidden(seen)
for rank in ranks:
    for kind, batches in {"weight": None, "inputs": images[:1200].split(200)}.items():
        found = eckart.factorize(net, rank=rank, inputs=batches, **options)
        with torch.no_grad():
            missed = (found.model[2](seen) - wanted).norm()
        errors[kind].append(float(missed / (wanted - wanted.mean(dim=0)).norm()))
        accuracies[kind].append(accuracy(found.model))
    optimum.append(found.layers[0].optimum)
    excess.append(found.layers[0].excess)
print(f"excess over the optimum: at most {max(excess):.0e}")
ratios = [of / best for of, best in zip(errors["weight"], optimum, strict=True)]
print(
    f"error of the plain SVD: {min(ratios):.1f} to {max(ratios):.1f} times the optimum"
)
for kind, values in accuracies.items():
    print(f"accuracy at rank 4, for the {kind}: {values[2]:.3f}")
print(f"accuracy of the dense net: {accuracy(net):.3f}")

# %%
# The layer for its inputs lies on the floor, that of the plain SVD above it.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(ranks, errors["weight"], "s-", color=VERMILLION, label="SVD of the weight")
left.plot(ranks, errors["inputs"], "o", color=BLUE, label="for its inputs")
left.plot(ranks, optimum, "--", color=BLACK, label="optimum for these inputs")
left.set(yscale="log", ylabel="relative error of the outputs")
right.plot(ranks, accuracies["weight"], "s-", color=VERMILLION)
right.plot(ranks, accuracies["inputs"], "o-", color=BLUE)
right.axhline(accuracy(net), color=GRAY, linewidth=0.8)
right.text(1, accuracy(net) + 0.01, "dense net", va="bottom")
right.set_ylabel("test accuracy")
right.set_ylim(0, 1.02)
percent(right.yaxis)
rank_axis(left, ranks)
rank_axis(right, ranks)
left.legend()
figure.savefig("layer.png")
