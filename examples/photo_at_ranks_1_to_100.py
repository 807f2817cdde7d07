"""A photograph at the ranks 1 to 100.

This is what is left of a photograph of 400 × 400 pixels at the ranks 1, 2, 5, … 100.
It is a matrix of 160,000 numbers; of rank k it has two factors with 800 k numbers.
Truncated SVD gives the best such factors, and one decomposition gives them for every
rank: the best matrix of rank 10 is the first part of the best one of rank 100. At rank
50 a quarter of the numbers is left, and the error looks like grain in the sky. [Your
own matrix](../matrix.md) says how a photograph of yours is read.
"""

import matplotlib.pyplot as plt
import torch

import eckart
from eckart.data.targets import photo
from eckart.results.style import BLACK, BLUE, STYLE, percent

plt.style.use(STYLE)
target = photo()
u, s, vh = eckart.truncated_svd(target, rank=100)
approximations, errors = {}, {}
for rank in (1, 2, 5, 10, 20, 50, 100):
    left, right = u[:, :rank] * s[:rank], vh[:rank]
    approximations[rank] = left @ right
    errors[rank] = float(eckart.relative_errors(target, left, right)[1])
    share = (left.numel() + right.numel()) / target.numel()
    print(f"rank {rank:3}: {share:6.1%} of the numbers, error {errors[rank]:.4f}")

# %%
# What each rank shows.

figure, panels = plt.subplots(2, 4, figsize=(10, 5.6), layout="constrained")
shown = {f"rank {rank}": matrix for rank, matrix in approximations.items()}
for axes, (title, matrix) in zip(
    panels.flat, {**shown, "all": target}.items(), strict=True
):
    axes.imshow(matrix.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()
figure.savefig("ranks.png")

# %%
# The floor under every method of this package: no matrix of rank k has a smaller error
# than the singular values after the first k leave. The truncated SVD lies on it.

values = torch.linalg.svdvals(target)
ranks = range(1, 101)
optimum = [float(eckart.optimum(values, rank)[1]) for rank in ranks]
above = max(errors[rank] - optimum[rank - 1] for rank in errors)
print(f"above the floor by at most {above:.0e}")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(ranks, optimum, "--", color=BLACK, label="optimum (Eckart and Young)")
axes.plot(errors.keys(), errors.values(), "o", color=BLUE, label="the pictures above")
axes.set(xlabel="rank", ylabel="relative Frobenius error", ylim=(0, None))
percent(axes.yaxis)
axes.legend()
figure.savefig("errors.png")
