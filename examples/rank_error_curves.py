"""Errors by rank, and the floor below them.

Four trainings of the same net, each at seven ranks, beside the least error that is
possible. Eckart and Young proved the least error that a matrix of rank k can have. So
every curve of errors over the rank has a floor, and its distance says what a training
costs. Here the target is a photograph of 100 × 100 pixels, learned from 100 images or
from fewer, and by two optimizers. `eckart -m rank=1,2,3,5,8` does such a comparison in
the shell, and `eckart report` draws it: see [Sweeps](../sweeps.md).
"""

import matplotlib.pyplot as plt

import eckart
from eckart.data.targets import photo
from eckart.results.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    STYLE,
    VERMILLION,
    label_decades,
    rank_axis,
)

plt.style.use(STYLE)
target = photo(100, 100)


def trainings(rank):
    adam = {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "max_steps": 200}
    return {
        "2k images": {"vectors": 2 * rank},
        "100 images, 200 steps of Adam": adam,
        "2k images, 2k of the transpose": {"vectors": 2 * rank, "transpose": True},
        "100 images": {},
    }


# %%
# Seven ranks k, four trainings each. A bottleneck net asks for the images of random
# vectors, and for nothing else.

ranks = [1, 2, 3, 5, 8, 12, 20]
errors = {name: [] for name in trainings(1)}
floor = []
for rank in ranks:
    for name, settings in trainings(rank).items():
        result = eckart.fit(target, rank, **settings)
        errors[name].append(result.errors["relative_frobenius"])
    floor.append(result.optimum["frobenius"])
for name, values in errors.items():
    ratios = [value / best for value, best in zip(values, floor, strict=True)]
    print(f"{name}: {min(ratios):.3f} to {max(ratios):.3f} times the optimum")

# %%
# With as many images as columns the net is on the floor, in the default optimizer. Few
# images say nothing about vectors outside their span, and the error is large; as many
# of the transpose close most of the gap. Why is told on
# [the page about the paper's nets](../optimum.md).

figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
colors = (VERMILLION, ORANGE, GREEN, BLUE)
for (name, values), color in zip(errors.items(), colors, strict=True):
    axes.plot(ranks, values, "o-", color=color, label=name)
axes.plot(ranks, floor, "--", color=BLACK, label="optimum (truncated SVD)")
axes.set(yscale="log", ylabel="relative Frobenius error", title="A net on a photograph")
label_decades(axes.yaxis)
rank_axis(axes, ranks)
axes.legend(loc="lower left")
figure.savefig("errors.png")
