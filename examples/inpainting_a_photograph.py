"""A photograph with six of ten pixels missing.

Completion learns a matrix from some of its entries. A photograph is no matrix of low
rank, so nothing recovers it exactly; but neighbors are alike, and a model of rank 20
fills in what is missing. The floor is the truncated SVD of the whole photograph, which
training never sees. The verdict of the run is honest: the rest is not recovered.
"""

import matplotlib.pyplot as plt
import torch

import eckart
from eckart.data.targets import photo
from eckart.results.style import BLACK, BLUE, STYLE, percent, rank_axis

plt.style.use(STYLE)
target = photo(200, 200)
mask = torch.rand(200, 200, generator=torch.Generator().manual_seed(0)) < 0.4
ranks = [1, 2, 4, 8, 16]
fits = [eckart.fit(target, rank, "completion", observed=mask) for rank in ranks]
for rank, fit in zip(ranks, fits):
    print(
        rank, fit.errors, fit.optimum, fit.fields["verdict"], fit.fields["fit_seconds"]
    )
