"""A layer of low rank in your own LightningModule.

A low-rank layer in somebody's own LightningModule is trained by Lightning's Trainer,
and its error is measured against the best there is. The module is a linear autoencoder,
which takes images of 64 pixels to a code of 8 numbers and back. Its best error is
known: that of the principal components, which are a truncated SVD. In small batches
Adam stops at a distance from it, because each batch pulls elsewhere; with a learning
rate that falls to zero it comes much nearer. [Your own model](../factorize.md) makes
low-rank layers of those that a model has.
"""

import matplotlib.pyplot as plt
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import eckart
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION

plt.style.use(STYLE)
images = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
mean = images.mean(dim=0)
centered = images - mean
best = float(eckart.optimum(torch.linalg.svdvals(centered), rank=8)[1])


class Autoencoder(pl.LightningModule):
    def __init__(self, falling):
        super().__init__()
        self.layer = eckart.LowRankLinear(64, 64, rank=8, bias=False)
        self.falling, self.errors = falling, []

    def training_step(self, batch, _):
        (x,) = batch
        return (self.layer(x) - x).square().sum() / len(x)

    def configure_optimizers(self):
        adam = torch.optim.Adam(self.parameters(), lr=0.02)
        if not self.falling:
            return adam
        epochs = self.trainer.max_epochs
        return [adam], [torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)]

    def on_train_epoch_end(self):
        with torch.no_grad():
            missed = (self.layer(centered) - centered).norm() / centered.norm()
        self.errors.append(float(missed))


# %%
# The same module twice, from the same initial weights.

quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
models = {}
for name in ("constant", "falling"):
    pl.seed_everything(0, verbose=False)
    models[name] = model = Autoencoder(falling=name == "falling")
    loader = DataLoader(TensorDataset(centered), batch_size=64, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=30, accelerator="cpu", enable_checkpointing=False, **quiet
    )
    trainer.fit(model, loader)
    above = model.errors[-1] / best - 1
    print(f"{name} rate: {above:.3%} above the optimum {best:.4f}")

# %%
# Errors by epoch, and the floor.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, model), color in zip(models.items(), (VERMILLION, BLUE), strict=True):
    axes.plot(range(1, 31), model.errors, color=color, label=f"Adam, {name} rate")
axes.axhline(best, color=BLACK, linestyle="--", label="optimum (principal components)")
axes.set(xlabel="epoch", ylabel="relative Frobenius error")
axes.legend()
figure.savefig("errors.png")

# %%
# Digits, and what is left of them after eight numbers.

_, _, components = torch.linalg.svd(centered, full_matrices=False)
with torch.no_grad():
    learned = models["falling"].layer(centered[:10]) + mean
ideal = centered[:10] @ components[:8].T @ components[:8] + mean
figure, panels = plt.subplots(3, 10, figsize=(8, 2.8), layout="constrained")
shown = {"image": images[:10], "learned": learned, "optimum": ideal}
for row, (name, digits) in zip(panels, shown.items(), strict=True):
    for axes, digit in zip(row, digits, strict=True):
        axes.imshow(digit.view(8, 8).numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
    row[0].text(-1, 3.5, name, ha="right", va="center")
figure.savefig("digits.png")
