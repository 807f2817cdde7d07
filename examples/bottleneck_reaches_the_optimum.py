"""The paper's net reaches the optimum.

A linear net 400 → 400 → 10 → 400 learns a photograph from random vectors and their
images alone, and becomes the best matrix of rank 10. Truncated SVD gives that matrix,
so it is known how far the net can come. Two optimizers train the same net here: Adam,
as in the paper, and conjugate gradient in the scaled metric, which is the default. In
the shell the latter is `eckart method=bottleneck data=photo rank=10`;
[Concepts](../concepts.md) explains the words.
"""

import matplotlib.pyplot as plt

import eckart
from eckart.data.targets import photo
from eckart.results.style import BLUE, STYLE, VERMILLION

plt.style.use(STYLE)
target = photo()
ours = eckart.fit(target, rank=10)
print(ours)

# %%
# The excess is the error minus the optimum. Up to rounding it is zero: no matrix of
# rank 10 is nearer to the photograph. Adam sees the same probes, and has not arrived
# after 300 steps.

settings = {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "max_steps": 300}
adam = eckart.fit(target, rank=10, **settings)
error, optimum = adam.errors["relative_frobenius"], adam.optimum["frobenius"]
print(f"Adam: {error:.4f}, optimum: {optimum:.4f}")

# %%
# Each line of the history has the errors at one step. Values below 1e-16 are rounding,
# and have no place on the scale.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for result, color, label in (
    (ours, BLUE, "Riemannian CG"),
    (adam, VERMILLION, "Adam"),
):
    excess = [max(value, 1e-16) for value in result.history["excess_frobenius"]]
    axes.plot(result.history["step"], excess, color=color, label=label)
axes.set(yscale="log", xlabel="step", ylabel="excess of the Frobenius error")
axes.set_title("Distance from the optimum")
axes.legend()
figure.savefig("excess.png")

# %%
# The photograph, what the net learned, and the difference.

learned = ours.approximation()
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
shown = {"photograph": target, "rank 10": learned, "difference": target - learned}
for axes, (title, matrix) in zip(panels, shown.items(), strict=True):
    axes.imshow(matrix.numpy(), cmap="gray")
    axes.set_title(title)
    axes.set_axis_off()
figure.savefig("photograph.png")
