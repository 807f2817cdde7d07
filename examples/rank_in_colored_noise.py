"""Choosing a rank in colored noise.

Rules for white noise keep too many components of data whose noise is correlated; the
default rule looks at the noise first. A matrix of data is a signal of low rank plus
noise. A rank that is too low loses signal, one that is too high approximates the noise.
Here the noise is correlated along the rows, as in measurements over time: it has large
singular values itself, which white noise cannot have. `eckart.fit(data, rank="auto")`
asks the default rule, `best`, and so does `rank=auto` [on the command
line](../rank.md).
"""

import matplotlib.pyplot as plt
import torch

import eckart
from eckart.results.style import BLACK, BLUE, GRAY, STYLE, VERMILLION
from eckart.selection import all_choices

plt.style.use(STYLE)
draw = torch.Generator().manual_seed(3)


def normal(*shape):
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


strengths = torch.tensor([4.0, 3.0, 2.0, 1.5], dtype=torch.float64)
signal = normal(300, 4) * strengths @ normal(4, 150) / 4
white = normal(300, 154)
noise = sum(0.8**lag * white[:, 4 - lag : 154 - lag] for lag in range(5))
data = signal + noise

# %%
# Each rule says a rank. Here the signal is known, and with it the error of the
# truncated SVD of the data at each rank. A matrix of zeros has an error of 1.

u, s, vh = torch.linalg.svd(data, full_matrices=False)
ranks = range(1, 51)
errors = [
    float(eckart.relative_errors(signal, u[:, :rank] * s[:rank], vh[:rank])[1])
    for rank in ranks
]
print(f"least error {min(errors):.3f} at rank {errors.index(min(errors)) + 1}")
choices = {choice.rule: choice.rank for choice in all_choices(data)}
for rule, rank in choices.items():
    error = f"{errors[rank - 1]:.3f}" if rank <= 50 else "above 1"
    print(f"{rule:18} rank {rank:3}  error {error}")

# %%
# Beyond rank 4 the approximation of the data comes closer to the data, and moves away
# from the signal. The floor is that of the signal itself, which ends at its rank.

values = torch.linalg.svdvals(signal)
floor = [float(eckart.optimum(values, rank)[1]) for rank in range(1, 5)]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(ranks, s[:50], "o", color=GRAY, label="data")
left.plot(
    ranks, torch.linalg.svdvals(noise)[:50], color=VERMILLION, label="noise alone"
)
left.set(xlabel="number", ylabel="singular value")
left.legend()
right.plot(ranks, errors, color=BLUE, label="truncated SVD of the data")
right.plot(range(1, 5), floor, "--", color=BLACK, label="optimum of the signal")
places = {
    "best": (10, 0.25),
    "parallel_analysis": (22, 0.7),
    "gavish_donoho": (30, 0.9),
}
for rule, place in places.items():
    point = (choices[rule], errors[choices[rule] - 1])
    right.plot(*point, "o", color=VERMILLION)
    right.annotate(rule, point, place, arrowprops={"arrowstyle": "-", "color": GRAY})
right.set(xlabel="rank", ylabel="relative error against the signal", ylim=(0, 1.1))
right.legend(loc="lower right")
figure.savefig("choices.png")
