"""A Jacobian from 40 products.

Twenty products with a Jacobian and twenty with its transpose are enough for factors of
rank 10 that are as near as any can be. The Jacobian of a function says how its outputs
change with its inputs, and automatic differentiation gives products with it without its
entries. Here the function is a nonlinear heat flow on a rod of 120 points. Heat forgets
details, so the singular values of the Jacobian fall fast. [Your own
operator](../operator.md) has more of them.
"""

import matplotlib.pyplot as plt
import torch
from torch.func import jacrev, jvp, vjp, vmap

import eckart
from eckart.linalg.operators import MatrixFree
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION

plt.style.use(STYLE)
place = torch.linspace(0, 1, 120, dtype=torch.float64)
start = torch.exp(-50 * (place - 0.5) ** 2)


def heat(temperature, steps=500):
    for _ in range(steps):
        flow = (1 + temperature[:-1] ** 2) * temperature.diff()
        temperature = temperature + 0.2 * torch.nn.functional.pad(flow, (1, 1)).diff()
    return temperature


# %%
# An operator is two functions, which take vectors as rows: one gives their images, the
# other the images of the transpose. Training asks for 40 of them. The errors are
# measured afterwards, with all entries, because the matrix is small.


def images(x):
    return vmap(lambda vector: jvp(heat, (start,), (vector,))[1])(x)


def transpose_images(y):
    return vmap(lambda vector: vjp(heat, start)[1](vector)[0])(y)


jacobian = MatrixFree(images, (120, 120), transpose_images)
result = eckart.fit(jacobian, rank=10, vectors=20, transpose=True)
asked = result.fields["images"] + result.fields["transpose_images"]
error, floor = result.errors["relative_frobenius"], result.optimum["frobenius"]
print(f"{asked} products, error {error:.3e}, optimum {floor:.3e}")

# %%
# The same at other ranks, always from 40 products. The floor is what the truncated SVD
# of all entries reaches; they are computed here for this comparison alone.

exact = jacrev(heat)(start)
ranks = range(1, 17)
fits = [eckart.fit(exact, rank, vectors=20, transpose=True) for rank in ranks]
errors = [fit.errors["relative_frobenius"] for fit in fits]
optimum = [fit.optimum["frobenius"] for fit in fits]
worst = max(error / floor for error, floor in zip(errors, optimum, strict=True))
print(f"at the ranks 1 to 16 at most {worst:.2f} times the optimum")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(ranks, errors, "o", color=BLUE, label="learned from 40 products")
axes.plot(ranks, optimum, "--", color=BLACK, label="optimum (truncated SVD)")
axes.set(yscale="log", xlabel="rank", ylabel="relative Frobenius error")
axes.set_title("Forty products reach the floor")
axes.legend()
figure.savefig("errors.png")

# %%
# What the Jacobian is for: how far a small change of the start is seen at the end. The
# factors answer with 2 × 120 × 10 multiplications.

change = torch.exp(-2000 * (place - 0.3) ** 2)
learned = result.left @ (result.right @ change)
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(place, change, color=VERMILLION, label="change of the start")
axes.plot(place, exact @ change, color=BLACK, label="change of the end")
axes.plot(place, learned, "--", color=BLUE, linewidth=3, label="by the factors")
axes.set(xlabel="place on the rod", ylabel="change of the temperature")
axes.legend()
figure.savefig("change.png")
