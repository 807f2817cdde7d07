"""Ratings, beside the best that is possible.

Two models predict ratings, and are compared with the best prediction that is possible.
Six hundred people rate some of 300 films. Their tastes have four dimensions, and each
rating has noise. Here the tastes are drawn, so the error of a
prediction that knows them is known: the floor. The mean of posterior samples, which is
the default for ratings, comes within a tenth of a star of it, and is hardly worse with
a rank that is too high; least squares with a ridge is. [Ratings](../ratings.md) says
how files of ratings are read.
"""

import matplotlib.pyplot as plt
import numpy as np

import eckart
from eckart.results.style import BLACK, BLUE, GRAY, STYLE, VERMILLION, rank_axis

plt.style.use(STYLE)
draw = np.random.default_rng(0)
people, films, count = 600, 300, 30_000
tastes, traits = draw.standard_normal((people, 4)), draw.standard_normal((films, 4))
kindness, fame = draw.normal(0, 0.4, (people, 1)), draw.normal(0, 0.4, films)
liking = (3.5 + kindness + fame + 0.35 * tastes @ traits.T).clip(0.5, 5)

# %%
# A sixth of all pairs have a rating, in half stars. A fifth of these are held out.

person, film = np.divmod(draw.choice(people * films, count, replace=False), films)
noisy = liking[person, film] + draw.normal(0, 0.6, count)
stars = np.clip(np.round(2 * noisy) / 2, 0.5, 5)
test = np.arange(count) < count // 5


def rmse(predicted):
    return float(np.sqrt(np.mean((predicted - stars[test]) ** 2)))


floor, mean = rmse(liking[person, film][test]), rmse(stars[~test].mean())
ranks = [1, 2, 4, 8, 16]
errors = {"gibbs": [], "weighted_als": []}
models = {}
for optimizer, found in errors.items():
    for rank in ranks:
        model = eckart.MatrixCompletion(rank, optimizer=optimizer)
        model.fit_triplets(person[~test], film[~test], stars[~test])
        found.append(rmse(model.predict_pairs(person[test], film[test])))
        models[optimizer, rank] = model
print(f"RMSE of the mean {mean:.3f}, of who knows all tastes {floor:.3f}")
for optimizer, found in errors.items():
    told = [f"rank {rank}: {e:.3f}" for rank, e in zip(ranks, found, strict=True)]
    print(f"{optimizer:12}", *told)

# %%
# The error on ratings that were held out.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.axhline(mean, color=GRAY, linewidth=1, label="mean of all ratings")
axes.plot(ranks, errors["weighted_als"], "s-", color=VERMILLION, label="weighted_als")
axes.plot(ranks, errors["gibbs"], "o-", color=BLUE, label="gibbs, the default")
axes.axhline(floor, color=BLACK, linestyle="--", label="optimum: all tastes known")
axes.set_ylabel("RMSE in stars")
rank_axis(axes, ranks)
axes.legend()
figure.savefig("errors.png")

# %%
# What a person likes, and what the model says of it: also for the pairs without any
# rating. And the films that it recommends to person 7.

model = models["gibbs", 4]
everybody, everything = np.divmod(np.arange(people * films), films)
predicted = model.predict_pairs(everybody, everything)
correlation = np.corrcoef(predicted, liking.ravel())[0, 1]
print(f"correlation of the predictions with what people like: {correlation:.2f}")
seen = film[(person == 7) & ~test]
for title, value in model.top_n(7, n=3, without=seen):
    print(f"film {title}: predicted {value:.1f}, liked {liking[7, int(title)]:.1f}")

figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
axes.hexbin(liking.ravel(), predicted, gridsize=40, cmap="Blues", bins="log")
axes.plot([0.5, 5], [0.5, 5], "--", color=BLACK)
axes.set(xlabel="what a person likes, in stars", ylabel="prediction, in stars")
axes.set(xlim=(0.4, 5.1), ylim=(0.4, 5.1), aspect="equal")
axes.grid(visible=False)
figure.savefig("predictions.png")
