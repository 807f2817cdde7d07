"""A rank, chosen inside a scikit-learn pipeline.

`LowRankApproximation` stands in a pipeline wherever `TruncatedSVD` does, and its
components are trained to the same optimum. Here it reduces images of digits to a few
numbers, from which a classifier reads the digit. With `rank="auto"` it chooses their
number by itself, from what it sees of the noise in the images, without asking the
classifier.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import eckart
from eckart.results.style import (
    BLACK,
    BLUE,
    GREEN,
    STYLE,
    VERMILLION,
    percent,
    rank_axis,
)

plt.style.use(STYLE)
x, digit = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, digit, random_state=0)
ranks = [1, 2, 4, 8, 16, 32]
pipelines = [
    make_pipeline(
        eckart.LowRankApproximation(rank), LogisticRegression(max_iter=500)
    ).fit(x_train, y_train)
    for rank in ranks
]
accuracies = [pipeline.score(x_test, y_test) for pipeline in pipelines]
errors = [pipeline[0].errors_["relative_frobenius"] for pipeline in pipelines]
optimum = [pipeline[0].optimum_["frobenius"] for pipeline in pipelines]
for rank, accuracy, error in zip(ranks, accuracies, errors, strict=True):
    print(f"rank {rank:2}: accuracy {accuracy:.3f}, error {error:.4f}")

# %%
# The components are those of scikit-learn's `TruncatedSVD`; and a rank that is chosen.

theirs = TruncatedSVD(16, algorithm="arpack").fit(x_train).singular_values_
difference = np.abs(pipelines[4][0].singular_values_ / theirs - 1).max()
print(f"singular values differ from scikit-learn's by {difference:.0e}, relative")
automatic = make_pipeline(
    eckart.LowRankApproximation("auto"), LogisticRegression(max_iter=500)
).fit(x_train, y_train)
chosen, reached = automatic[0].rank_, automatic.score(x_test, y_test)
print(f"rank {chosen} is chosen, accuracy {reached:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(ranks, errors, "o", color=BLUE, label="LowRankApproximation")
left.plot(ranks, optimum, "--", color=BLACK, label="optimum (truncated SVD)")
left.set(ylabel="relative Frobenius error", ylim=(0, None))
right.plot(ranks, accuracies, "o-", color=GREEN)
right.plot(chosen, reached, "D", color=VERMILLION, label=f"rank {chosen}, chosen")
right.set(ylabel="test accuracy", ylim=(0, 1.02))
for axes in (left, right):
    percent(axes.yaxis)
    rank_axis(axes, ranks)
    axes.legend()
figure.savefig("digits.png")
