"""A sweep, read with polars and drawn.

Sixty jobs of two sweeps become one table and one figure. A sweep trains a job for each
combination of settings: three optimizers, five ranks and four seeds here. Jobs that
differ in rank and seed alone are one tensor program, so sixty of them take seconds.
Each leaves a folder with its results, and one call reads any number of sweeps as one
table: a polars DataFrame with a row for each job, its settings first.
[Sweeps](../sweeps.md) has the same in the shell.
"""

import matplotlib.pyplot as plt
import polars as pl

import eckart
from eckart.results.style import BLACK, BLUE, GREEN, STYLE, VERMILLION, rank_axis
from eckart.results.tables import load

plt.style.use(STYLE)
common = [
    "-m",
    "method=factorization",
    "method.max_steps=150",
    "data=uniform",
    "data.rows=60",
    "data.cols=60",
    "rank=1,2,4,8,16",
    "seed=range(4)",
    "logger=csv",
]
first = ["optimizer=riemannian_cg,scaled_gd", "hydra.sweep.dir=sweeps/first"]
second = ["optimizer=adam", "optimizer.lr=0.05", "hydra.sweep.dir=sweeps/second"]
results = [*eckart.run([*common, *first]), *eckart.run([*common, *second])]
print(f"{len(results)} jobs")

# %%
# What varies stands in front, then what came of it. Of the optimizer the table has the
# class, whose last part is a short name.

words = pl.col("optimizer._target_").str.split(".")
table = load("sweeps").with_columns(words.list.last().alias("optimizer"))
print(table.select("optimizer", "rank", "seed", "relative_frobenius", "steps").head(4))

# %%
# The rest is polars: means and ranges over the seeds.

error = pl.col("relative_frobenius")
summary = (
    table.group_by("optimizer", "rank")
    .agg(
        error.mean().alias("error"),
        error.min().alias("least"),
        error.max().alias("largest"),
        pl.col("optimum_frobenius").mean().alias("optimum"),
        pl.col("excess_frobenius").mean().alias("excess"),
    )
    .sort("optimizer", "rank")
)
for optimizer, rows in summary.group_by("optimizer", maintain_order=True):
    print(f"{optimizer[0]:14} largest mean excess {rows['excess'].max():.1e}")

# %%
# Errors of the default optimizer, with the optimum as the floor; and how far above it
# each optimizer is. Up to 1e-16 that is rounding.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
colors = {"Adam": VERMILLION, "ScaledGD": GREEN, "RiemannianCG": BLUE}
for optimizer, color in colors.items():
    rows = summary.filter(pl.col("optimizer") == optimizer)
    excess = rows["excess"].clip(1e-16)
    right.plot(rows["rank"], excess, "o-", color=color, label=optimizer)
left.fill_between(rows["rank"], rows["least"], rows["largest"], color=BLUE, alpha=0.2)
left.plot(rows["rank"], rows["error"], "o", color=BLUE, label="RiemannianCG, 4 seeds")
left.plot(rows["rank"], rows["optimum"], "--", color=BLACK, label="optimum")
left.set(ylabel="relative Frobenius error")
right.set(ylabel="mean excess of the error", yscale="log")
for axes in (left, right):
    rank_axis(axes, rows["rank"].to_list())
left.legend()
right.legend(loc="center right")
figure.savefig("errors.png")
