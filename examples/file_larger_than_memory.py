"""A file larger than memory.

A matrix that does not fit into memory is decomposed in two passes over its file. One
adds up the Gram matrix in blocks of rows, the other computes the left factor and the
errors. The run also proves how far it can be from the optimum. Here the file has 80 MB.
With `megabytes = 20_000` it has 20 GB, and about 1.3 GB of memory are enough. [Larger
than memory](../large.md) says which methods read files in blocks.
"""

import resource
from pathlib import Path

import matplotlib.pyplot as plt

import eckart
from eckart.benchmarks.large_file import singular_values, write
from eckart.results.style import BLACK, BLUE, GRAY, STYLE

plt.style.use(STYLE)
megabytes = 80  # or 20_000; a multiple of 40
rows, cols = 500 * megabytes, 500
file = Path("big.npy")
write(file, rows, cols)  # float32, with singular values c/1, c/2, c/3, …
print(f"{rows:,} × {cols}, {file.stat().st_size / 1e6:,.0f} MB")

# %%
# The same as `eckart method=svd rank=10 data=file data.path=big.npy`. Files of at most
# 2²⁸ entries are loaded, unless `data.blocks=true` asks for blocks.

words = ["method=svd", "rank=10", "data=file", f"data.path={file}", "data.blocks=true"]
result = eckart.run([*words, "logger=csv"])
print(result)
low, high = result.fields["optimum_frobenius_bounds"]
print(f"the optimum is between {low:.13f} and {high:.13f}")
file.unlink()

# %%
# The file was made with known singular values, so the result can be checked. Those of
# the result are the products of its factors' norms, because these are orthogonal.

known = singular_values(rows, cols)
values = result.left.norm(dim=0) * result.right.norm(dim=1)
worst = abs(values.numpy() / known[:10] - 1).max()
print(f"largest relative error of a singular value: {worst:.0e}")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"peak memory of the whole process, libraries included: {peak:.1f} GB")

tails = (known[::-1] ** 2).cumsum()[::-1]
floor = (tails[1:31] / tails[0]) ** 0.5
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(range(1, 31), known[:30], color=GRAY, label="of the file")
left.plot(range(1, 11), values, "o", color=BLUE, label="computed in two passes")
left.set(xscale="log", yscale="log", xlabel="number", ylabel="singular value")
left.legend()
right.plot(range(1, 31), floor, "--", color=BLACK, label="optimum")
right.plot(10, result.errors["relative_frobenius"], "o", color=BLUE, label="rank 10")
right.set(xlabel="rank", ylabel="relative Frobenius error", ylim=(0, None))
right.legend()
figure.savefig("values.png")
