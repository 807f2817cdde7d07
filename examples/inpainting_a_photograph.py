"""A photograph with half of its pixels missing.

Completion learns a matrix from some of its entries. A photograph is no matrix of low
rank, so nothing recovers it exactly; but its rows are alike, and a few components fill
in much of what is missing. The floor is the truncated SVD of the whole photograph,
which training never sees. A low rank comes close to it; a high one fits the pixels that
it sees, and the others get worse.
"""

import matplotlib.pyplot as plt
import torch

import eckart
from eckart.data.targets import photo
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION, percent, rank_axis

plt.style.use(STYLE)
target = photo(200, 200)
mask = torch.rand(200, 200, generator=torch.Generator().manual_seed(0)) < 0.5
ranks = [1, 2, 4, 8, 16, 32]
fits = [eckart.fit(target, rank, "completion", observed=mask) for rank in ranks]
errors = [fit.errors["relative_frobenius"] for fit in fits]
optimum = [fit.optimum["frobenius"] for fit in fits]
seen = [fit.errors["relative_observed"] for fit in fits]
for rank, error, floor in zip(ranks, errors, optimum, strict=True):
    print(f"rank {rank:2}: error {error:.3f}, optimum {floor:.3f}")
least = errors.index(min(errors))
print(f"least error {min(errors):.3f} at rank {ranks[least]}")

# %%
# The error of the whole, of the pixels that were seen, and the floor.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(ranks, errors, "o-", color=BLUE, label="whole photograph")
axes.plot(ranks, seen, "s-", color=VERMILLION, label="pixels that were seen")
axes.plot(ranks, optimum, "--", color=BLACK, label="optimum (all pixels seen)")
axes.set(ylabel="relative Frobenius error", ylim=(0, 0.5))
percent(axes.yaxis)
rank_axis(axes, ranks)
axes.legend()
figure.savefig("errors.png")

# %%
# What was seen, what was filled in, and the photograph.

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
shown = {
    "half of the pixels": target.where(mask, torch.nan),
    f"completed, rank {ranks[least]}": fits[least].approximation(),
    "photograph": target,
}
for axes, (title, matrix) in zip(panels, shown.items(), strict=True):
    axes.imshow(matrix, cmap="gray", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_facecolor(VERMILLION)
figure.savefig("photograph.png")
