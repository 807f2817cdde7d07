"""A sweep on SLURM, and its rehearsal.

A sweep goes to a SLURM cluster with one word more, and is rehearsed on this machine
before. With `hydra/launcher=stacked_slurm` each stack of jobs becomes one task of a job
array. The program waits for the results and reads them as if they had been computed
here. Without a cluster, `hydra.launcher.cluster=local` starts the stacks as processes
of this machine, by the same code. This script does that; with `cluster = "slurm"` it
submits, from a folder that all nodes share. It needs `pip install "eckart[slurm]"`.
[Sweeps](../sweeps.md#slurm) tells what happens to jobs that are requeued or killed.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

import eckart
from eckart.results.style import BLACK, BLUE, STYLE
from eckart.results.tables import load

plt.style.use(STYLE)
cluster = "local"
submission = [
    "-m",
    "hydra/launcher=stacked_slurm",
    f"hydra.launcher.cluster={cluster}",
    "hydra.launcher.timeout_min=10",
    "hydra.launcher.cpus_per_task=1",
]
sweep = [
    "method=bottleneck",
    "data=photo",
    "data.rows=100",
    "data.cols=100",
    "rank=5",
    "method.vectors=6,10,20,40",
    "method.transpose=true",
    "seed=range(6)",
    "logger=csv",
    "hydra.sweep.dir=sweep",
]

# %%
# Jobs that differ in the seed alone are one stack, and one process here, or one task of
# the array there. Its scripts and logs are in `.submitit`.

results = eckart.run([*submission, *sweep])
done = sum(result.fields["status"] == "completed" for result in results)
logs = list(Path("sweep", ".submitit").glob("*_log.out"))
print(f"{done} of {len(results)} jobs completed, in {len(logs)} stacks")

# %%
# What was swept: the number of images that a net of rank 5 may ask for, and as many of
# the transpose. The more, the nearer to the optimum.

table = (
    load("sweep")
    .group_by("method.vectors")
    .agg(
        pl.col("relative_frobenius").mean().alias("mean"),
        pl.col("relative_frobenius").min().alias("least"),
        pl.col("relative_frobenius").max().alias("largest"),
        pl.col("optimum_frobenius").first().alias("optimum"),
    )
)
table = table.sort("method.vectors")
for vectors, mean, optimum in table.select("method.vectors", "mean", "optimum").rows():
    print(f"{vectors:2} images and {vectors:2}: {mean / optimum:.2f} times the optimum")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
vectors = table["method.vectors"]
axes.fill_between(vectors, table["least"], table["largest"], color=BLUE, alpha=0.2)
axes.plot(vectors, table["mean"], "o-", color=BLUE, label="mean and range of 6 seeds")
axes.plot(vectors, table["optimum"], "--", color=BLACK, label="optimum of rank 5")
axes.set(xlabel="images of each kind", ylabel="relative Frobenius error")
axes.set(ylim=(0, None), title="A photograph, learned from few images")
axes.legend()
figure.savefig("errors.png")
