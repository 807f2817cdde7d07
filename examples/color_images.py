"""Color images, side by side.

Red, green and blue can have factors of their own, or share the left one: then the error
is smaller for as many stored numbers. A color image is three matrices. Side by side
they are one matrix of three times as many columns, and the channels of a photograph are
much alike. (`data=file` reads [an image of yours](../matrix.md) as one matrix, of its
gray values.)
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import eckart
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION, percent

plt.style.use(STYLE)
image = torch.as_tensor(load_sample_image("flower.jpg")[::2, ::2] / 255)
channels = image.permute(2, 0, 1)
wide = torch.cat([*channels], dim=1)
rows, cols = channels.shape[1:]
print(f"{rows} × {cols} pixels: three channels, or one matrix {rows} × {3 * cols}")

# %%
# Rank 22 for each channel takes as many numbers as rank 30 side by side. The first is a
# stack of three decompositions. The second is learned by a net, which is at the optimum
# at the end.

u, s, vh = eckart.truncated_svd(channels, rank=22)
separate = (u * s[:, None]) @ vh
learned = eckart.fit(wide, rank=30)
together = torch.stack(learned.approximation().chunk(3, dim=1))
own, shared = (
    float((part - channels).norm() / image.norm()) for part in (separate, together)
)
numbers = 3 * 22 * (rows + cols), 30 * (rows + 3 * cols)
print(f"channels apart: {numbers[0]:,} numbers, error {own:.4f}")
print(f"side by side:   {numbers[1]:,} numbers, error {shared:.4f}")
print(f"that is {1 - shared / own:.1%} less error")
print(f"excess of the net over the optimum: {learned.errors['excess_frobenius']:.0e}")

figure, panels = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
shown = {"photograph": channels, "channels apart": separate, "side by side": together}
for axes, (title, picture) in zip(panels, shown.items(), strict=True):
    axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy())
    axes.set_title(title)
    axes.set_axis_off()
figure.savefig("flower.png")

# %%
# The floors of both ways, at all ranks, over what they store.

ranks = torch.arange(1, 81)
apart = torch.linalg.svdvals(channels)
squares = sum(
    (eckart.optimum(values.expand(80, -1), ranks)[1] * values.norm()) ** 2
    for values in apart
)
floor_apart = squares.sqrt() / image.norm()
floor_wide = eckart.optimum(torch.linalg.svdvals(wide).expand(80, -1), ranks)[1]

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
stored = 3 * ranks * (rows + cols) / 1000, ranks * (rows + 3 * cols) / 1000
axes.plot(stored[0], floor_apart, "--", color=VERMILLION, label="optimum of each")
axes.plot(stored[1], floor_wide, "--", color=BLACK, label="optimum side by side")
axes.plot(numbers[0] / 1000, own, "s", color=VERMILLION, label="SVD of each, rank 22")
axes.plot(numbers[1] / 1000, shared, "o", color=BLUE, label="net of rank 30")
axes.set(xlabel="thousands of numbers stored", ylabel="relative Frobenius error")
axes.set(xlim=(10, 70), ylim=(0, 0.22))
percent(axes.yaxis)
axes.legend()
figure.savefig("errors.png")
