"""From how few entries a matrix is recovered.

Matrices of 60 × 60 are completed from few random entries, and each run says by itself
whether it has recovered the rest. Fewer entries than degrees of freedom, k (m + n − k)
for m rows, n columns and rank k, cannot determine a matrix. How many more are needed,
in practice? Three matrices are completed for each number of entries and each rank. At
rank 8 a fifth more than the degrees of freedom suffices. At rank 2 twice as many are
needed: with fewer, a row has a single entry by chance, and two unknowns. [Missing
entries](../completion.md) explains the verdict.
"""

import warnings
from pathlib import Path

import torch

import eckart
from eckart.data.targets import low_rank
from eckart.results.figures import phase_diagram

# With too few entries a result can have a lower rank than was asked for.
warnings.filterwarnings("ignore", "the approximation has numerical rank")
side = 60


def completed(rank, oversampling, seed):
    whole = low_rank(side, side, rank, seed)
    count = round(oversampling * rank * (2 * side - rank))
    chosen = torch.randperm(side**2, generator=torch.Generator().manual_seed(seed))
    observed = torch.zeros(side**2, dtype=torch.bool)
    observed[chosen[:count]] = True
    mask = observed.view(side, side)
    return eckart.fit(whole, rank, "completion", observed=mask, seed=seed)


# %%
# A matrix counts as recovered if the error of the whole is below 1e-3. The verdict is
# known without the whole.

shares, wrong, said = {}, 0, 0
for rank in (2, 4, 6, 8):
    for oversampling in (1.05, 1.2, 1.35, 1.5, 2.0, 2.5):
        results = [completed(rank, oversampling, seed) for seed in range(3)]
        right = [result.errors["relative_frobenius"] < 1e-3 for result in results]
        shares[oversampling, float(rank)] = sum(right) / 3
        for result, is_right in zip(results, right, strict=True):
            if result.fields["verdict"] == "recovered":
                said, wrong = said + 1, wrong + (not is_right)
print(f"{said} runs say that they recovered the matrix, {wrong} of them are wrong")
for rank in (2, 8):
    for oversampling in (1.05, 1.2, 2.0):
        share = shares[oversampling, float(rank)]
        print(f"rank {rank}, {oversampling} times as many: {share:.0%} recovered")

# %%
# A cell has the share of the three matrices.

phase_diagram(
    Path("phase.png"),
    shares,
    title="Recovered matrices, 60 × 60",
    across="observed entries over degrees of freedom",
    upwards="rank",
    label="share recovered",
)
