"""A rank in a scikit-learn pipeline.

`LowRankApproximation` stands in a scikit-learn pipeline wherever `TruncatedSVD` does,
and its components are trained to the same optimum. Here it reduces images of digits to
a few numbers, from which a classifier reads the digit. How many? Cross-validation asks
the classifier. `rank="auto"` asks the images alone, once, and keeps what stands out
from their noise, which is less than the classifier could use. [In Python](../python.md)
has the estimators.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
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
reduced = [eckart.LowRankApproximation(rank).fit(x_train) for rank in ranks]
errors = [model.errors_["relative_frobenius"] for model in reduced]
optimum = [model.optimum_["frobenius"] for model in reduced]
theirs = TruncatedSVD(16, algorithm="arpack").fit(x_train).singular_values_
difference = np.abs(reduced[4].singular_values_ / theirs - 1).max()
print(f"singular values differ from scikit-learn's by {difference:.0e}, relative")

# %%
# The rank that cross-validation chooses, and the one that a rule chooses without
# knowing what the numbers are for.

pipeline = make_pipeline(
    eckart.LowRankApproximation(), LogisticRegression(max_iter=500)
)
search = GridSearchCV(pipeline, {"lowrankapproximation__rank": ranks}, cv=3)
search.fit(x_train, y_train)
best = search.best_estimator_[0].rank_
print(f"cross-validation: rank {best}, accuracy {search.score(x_test, y_test):.3f}")
pipeline.set_params(lowrankapproximation__rank="auto").fit(x_train, y_train)
chosen, reached = pipeline[0].rank_, pipeline.score(x_test, y_test)
print(f"auto:             rank {chosen}, accuracy {reached:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(ranks, errors, "o", color=BLUE, label="LowRankApproximation")
left.plot(ranks, optimum, "--", color=BLACK, label="optimum (truncated SVD)")
left.set(ylabel="relative Frobenius error", ylim=(0, None))
found = search.cv_results_["mean_test_score"]
right.plot(ranks, found, "o-", color=GREEN, label="cross-validation")
right.plot(chosen, reached, "D", color=VERMILLION, label="auto, on the test images")
right.set(ylabel="accuracy of the classifier", ylim=(0, 1.02))
for axes in (left, right):
    percent(axes.yaxis)
    rank_axis(axes, ranks)
left.legend()
right.legend(loc="lower right")
figure.savefig("digits.png")
