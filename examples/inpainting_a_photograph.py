"""A photograph with half of its pixels missing.

Half of the pixels of a photograph are filled in from the other half. A photograph is no
matrix of low rank, so completion does not recover it exactly; but its rows are alike,
and a few components give much of what is missing. The floor is the truncated SVD of the
whole photograph, which training never sees. A low rank comes close to it. At a high
rank half of the pixels determine the factors less well: the pixels that were seen are
fitted better than the floor, and the others worse. [Missing entries](../completion.md)
tells more.
"""

import matplotlib.pyplot as plt
import torch

import eckart
from eckart.data.targets import photo
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION, percent, rank_axis

plt.style.use(STYLE)
target = photo(150, 150)
mask = torch.rand(150, 150, generator=torch.Generator().manual_seed(0)) < 0.5
ranks = [1, 2, 4, 8, 16, 24]
fits = [eckart.fit(target, rank, "completion", observed=mask) for rank in ranks]
errors = [fit.errors["relative_frobenius"] for fit in fits]
optimum = [fit.optimum["frobenius"] for fit in fits]
seen = [fit.errors["relative_observed"] for fit in fits]
for i, rank in enumerate(ranks):
    whole, part = errors[i] / optimum[i], seen[i] / optimum[i]
    print(f"rank {rank:2}: {whole:.2f} times the optimum, seen pixels {part:.2f}")

# %%
# What was seen, what was filled in, and the photograph.

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
shown = {
    "half of the pixels": target.where(mask, torch.nan),
    "completed, rank 24": fits[-1].approximation(),
    "photograph": target,
}
for axes, (title, matrix) in zip(panels, shown.items(), strict=True):
    axes.imshow(matrix.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_facecolor(VERMILLION)
    axes.spines[:].set_visible(False)
figure.savefig("photograph.png")

# %%
# The error of the whole, of the pixels that were seen, and the floor.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(ranks, errors, "o-", color=BLUE, label="whole photograph")
axes.plot(ranks, seen, "s-", color=VERMILLION, label="pixels that were seen")
axes.plot(ranks, optimum, "--", color=BLACK, label="optimum (all pixels seen)")
axes.set(ylabel="relative Frobenius error", ylim=(0, 0.32))
percent(axes.yaxis)
rank_axis(axes, ranks)
axes.legend()
figure.savefig("errors.png")
