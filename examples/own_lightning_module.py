"""A layer of low rank in your own LightningModule.

A linear autoencoder takes images of 64 pixels to a code of 8 numbers and back. Its best
error is known: that of the principal components, which are a truncated SVD. So it can
be seen how far any training of it comes. Here it is a LightningModule of one's own with
a low-rank layer, trained by Lightning's Trainer, once by plain gradient descent and
once with gradients in the scaled metric, which takes one more line.
"""

import matplotlib.pyplot as plt
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import eckart
from eckart.optim.scaled_metric import ScaledMetric
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION

plt.style.use(STYLE)
images = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
mean = images.mean(dim=0)
centered = images - mean
best = float(eckart.optimum(torch.linalg.svdvals(centered), rank=8)[1])


class Autoencoder(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.layer = eckart.LowRankLinear(64, 64, rank=8, bias=False)
        self.rate, self.errors = rate, []

    def training_step(self, batch, _):
        (x,) = batch
        return (self.layer(x) - x).square().sum() / len(x)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)

    def on_train_epoch_end(self):
        with torch.no_grad():
            missed = (self.layer(centered) - centered).norm() / centered.norm()
        self.errors.append(float(missed))


# %%
# One batch holds all images, so gradients have no noise, and steps can be compared.

loader = DataLoader(TensorDataset(centered), batch_size=len(centered))
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
models = {}
for name in ("plain", "scaled"):
    pl.seed_everything(0, verbose=False)
    models[name] = model = Autoencoder(rate=0.2)
    if name == "scaled":
        ScaledMetric(model)
    trainer = pl.Trainer(
        max_epochs=150, accelerator="cpu", enable_checkpointing=False, **quiet
    )
    trainer.fit(model, loader)
    print(f"{name}: error {model.errors[-1]:.4f}, optimum {best:.4f}")

# %%
# Errors by step, above the floor.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(models["plain"].errors, color=VERMILLION, label="gradient descent")
axes.plot(models["scaled"].errors, color=BLUE, label="in the scaled metric")
axes.axhline(best, color=BLACK, linestyle="--", label="optimum (principal components)")
axes.set(xlabel="step", ylabel="relative error")
axes.legend()
figure.savefig("errors.png")

# %%
# Digits, and what is left of them after eight numbers.

_, _, components = torch.linalg.svd(centered, full_matrices=False)
with torch.no_grad():
    learned = models["scaled"].layer(centered[:10]) + mean
ideal = centered[:10] @ components[:8].T @ components[:8] + mean
figure, panels = plt.subplots(3, 10, figsize=(8, 2.8), layout="constrained")
shown = {"image": images[:10], "learned": learned, "optimum": ideal}
for row, (name, digits) in zip(panels, shown.items(), strict=True):
    for axes, digit in zip(row, digits, strict=True):
        axes.imshow(digit.view(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
figure.savefig("digits.png")
