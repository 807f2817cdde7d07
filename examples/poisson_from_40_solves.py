"""A solver of a differential equation, learned from 40 solves.

Forty solves of Poisson's equation give factors that answer without the solver. Heat
sources lie in the left part of a plate, and the temperature is asked for in the right
part. Each answer takes the solution of the equation on the whole plate. But far from
the sources the temperature is smooth, whatever they are: the operator from sources to
temperatures is close to one of low rank. [Your own operator](../operator.md) says which
objects can stand in the place of SciPy's operator.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import LinearOperator, splu

import eckart
from eckart.results.style import BLACK, BLUE, GRAY, STYLE

plt.style.use(STYLE)
side = 48
second = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
laplace = kron(second, eye_array(side)) + kron(eye_array(side), second)
solve = splu(laplace.tocsc() * (side + 1) ** 2).solve
points = np.arange(side**2).reshape(side, side)
sources, sensors = points[:, :16].ravel(), points[:, 32:].ravel()

# %%
# The operator puts values at some points, solves, and reads the solution at others. The
# equation is symmetric, so the transpose is the same with both sets exchanged.


def between(begin, end):
    def apply(x):
        right_side = np.zeros((side**2, x.shape[1]))
        right_side[begin] = x
        return solve(right_side)[end]

    return apply


heating = LinearOperator(
    (len(sensors), len(sources)),
    matvec=lambda x: between(sources, sensors)(x.reshape(-1, 1)),
    matmat=between(sources, sensors),
    rmatvec=lambda y: between(sensors, sources)(y.reshape(-1, 1)),
    rmatmat=between(sensors, sources),
    dtype=float,
)
ranks = [1, 2, 4, 6, 8, 10]
fits = [eckart.fit(heating, rank, vectors=20, transpose=True) for rank in ranks]
errors = [fit.errors["relative_frobenius"] for fit in fits]
optimum = [fit.optimum["frobenius"] for fit in fits]
for rank, fit, error, floor in zip(ranks, fits, errors, optimum, strict=True):
    solves = fit.fields["images"] + fit.fields["transpose_images"]
    print(f"rank {rank:2}, {solves} solves: error {error:.3e}, optimum {floor:.3e}")

# %%
# New sources, and the temperature that they cause on the right: by the solver, and by
# the factors of rank 4. Red is positive, blue is negative; each picture has a scale of
# its own.

down, right = np.indices((side, 16))
spots = [(10, 4, 1.0), (24, 12, -0.6), (40, 9, 0.8)]
new = sum(
    size * np.exp(-((down - row) ** 2 + (right - col) ** 2) / 8)
    for row, col, size in spots
).ravel()
solution = between(sources, sensors)(new[:, None]).ravel()
learned = (fits[2].left @ (fits[2].right @ fits[2].right.new_tensor(new))).numpy()
difference = np.linalg.norm(learned - solution) / np.linalg.norm(solution)
print(f"rank 4 and the solver differ by {difference:.1e} of the solution")

figure, panels = plt.subplots(1, 3, figsize=(7, 5), layout="constrained")
shown = {
    "sources": new,
    "temperature, solver": solution,
    "temperature, rank 4": learned,
}
for axes, (title, values) in zip(panels, shown.items(), strict=True):
    limit = abs(values).max()
    axes.imshow(values.reshape(side, 16), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GRAY)
figure.savefig("temperature.png")

# %%
# Each added component divides the error by about 4.

per_component = (errors[0] / errors[-1]) ** (1 / (ranks[-1] - ranks[0]))
print(f"each component divides the error by {per_component:.1f}")
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(ranks, errors, "o", color=BLUE, label="learned from 40 solves")
axes.plot(ranks, optimum, "--", color=BLACK, label="optimum (truncated SVD)")
axes.set(yscale="log", xlabel="rank", ylabel="relative Frobenius error")
axes.legend()
figure.savefig("errors.png")
