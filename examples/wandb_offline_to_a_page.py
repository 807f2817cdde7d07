"""Runs of W&B that never left the machine, as a page.

Four runs that W&B logged without an account or a network become one HTML page. Weights
& Biases keeps runs on this machine when it is offline. Here a program of one's own,
which knows nothing of eckart, logs four runs: Adam fits a matrix of rank 5 to a
photograph, with four learning rates. `eckart report wandb` then makes a page of them,
with curves and a table, that opens without a server. The same files can be read in
Python. [W&B](../wandb.md) has more.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
import wandb

import eckart
from eckart.data.targets import photo
from eckart.reports.page import write
from eckart.results.style import BLACK, STYLE, label_decades
from eckart.tracking.offline import find_offline_runs, read_offline_run

plt.style.use(STYLE)
target = photo(100, 100)
best = float(eckart.optimum(torch.linalg.svdvals(target), rank=5)[1])

# %%
# The program, as somebody might have it.

for rate in (0.003, 0.01, 0.03, 0.1):
    settings = wandb.Settings(silent=True, run_name=f"rate {rate}")
    config = {"rate": rate, "rank": 5}
    run = wandb.init(project="photo", mode="offline", config=config, settings=settings)
    torch.manual_seed(0)
    left = torch.randn(100, 5, dtype=torch.float64).mul_(0.3).requires_grad_()
    right = torch.randn(5, 100, dtype=torch.float64).mul_(0.3).requires_grad_()
    optimizer = torch.optim.Adam([left, right], lr=rate)
    for step in range(200):
        missed = (left @ right - target).square().sum()
        optimizer.zero_grad()
        missed.backward()
        optimizer.step()
        error = float(missed.detach().sqrt() / target.norm())
        run.log({"step": step, "error": error, "optimum": best})
    run.finish()

# %%
# The page: in the shell, `eckart report wandb --out runs.html`.

print(write([Path("wandb")], Path("runs.html")).line().split(",")[0])

# %%
# The same runs in Python.

runs = [read_offline_run(path) for path in find_offline_runs(Path("wandb"))]
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
shades = plt.get_cmap("viridis")
for number, run in enumerate(sorted(runs, key=lambda run: run.config["rate"])):
    steps, errors = run.history["error"]
    rate = run.config["rate"]
    print(f"rate {rate}: {errors[-1] / best:.3f} times the optimum")
    axes.plot(steps, errors, color=shades(number / 4), label=f"Adam, rate {rate}")
axes.axhline(best, color=BLACK, linestyle="--", label="optimum of rank 5")
axes.set(yscale="log", xlabel="step", ylabel="relative Frobenius error")
label_decades(axes.yaxis)
axes.legend()
figure.savefig("errors.png")
