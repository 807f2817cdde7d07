"""Methods of eckart, made and trained as a run makes and trains them, without its files."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning
import torch
from torch import Tensor

from eckart.api.choosing import choose
from eckart.linalg.operators import Dense
from eckart.linalg.row_threads import threads
from eckart.runs.process import quiet

RECIPE = {
    "optimizer": "adam",
    "initialization": "he_normal",
    "probes": "uniform",
    "batch_size": 32,
    "tolerance": 0.0,
    "lr": 1e-3,
    "eps": 1e-7,
    "dtype": torch.float32,
}
"""The paper's recipe, as ``conf/experiment/_paper.yaml`` has it, but for the number of vectors and of steps."""


def trained(
    targets: Tensor,
    ranks: Sequence[int],
    seeds: Sequence[int],
    method: str = "bottleneck",
    *,
    optimizer: str | None = None,
    dtype: torch.dtype = torch.float64,
    lightning: bool = True,
    device: str = "cpu",
    **options: Any,
) -> Any:
    """Make a stack of jobs and train it to its end.

    Args:
        targets: Shape ``(J, m, n)``.
        ranks: Rank of each job.
        seeds: Seed of each job.
        method: A method that learns from images or from all entries.
        optimizer: Its optimizer; None for the one that comes with it.
        dtype: Type that is trained in.
        lightning: Whether Lightning's trainer conducts, as on the command line, or the method itself, as in
            ``eckart.fit``.
        device: Where the method trains that conducts itself.
        **options: Settings of the method and the optimizer.
    """
    chosen = choose(method, optimizer, None, options)
    choice = chosen["method"]
    kind: Any = choice.make
    supply = {"target": targets} if choice.needs == "target" else {"operator": Dense(targets)}
    made = kind.trained_by(chosen["optimizer"].partial())(
        **choice.settings,
        **supply,
        ranks=list(ranks),
        seeds=list(seeds),
        dtype=dtype,
        optimizer=chosen["optimizer"].partial(),
        schedule=chosen["schedule"].partial(),
    )
    with quiet(), threads(one=made.one_thread):
        if not lightning:
            made.to(device).learn()
            return made
        trainer = pytorch_lightning.Trainer(
            accelerator="cpu",
            devices=1,
            precision="64-true" if dtype == torch.float64 else "32-true",
            max_epochs=made.max_epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(made)
    return made


def reduced(matrix: Tensor, rank: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Truncated SVD of a tall matrix by its Gram matrix, and the Frobenius error of every rank from 0 on.

    Args:
        matrix: Shape ``(m, n)``.
        rank: Number of singular triplets.
    """
    from eckart.linalg.gram import gram_matrix, leading_eigenpairs, restricted_svd

    squares, vectors = leading_eigenpairs(gram_matrix(matrix), rank, every=True)
    errors = squares.flip(0).clamp(min=0).cumsum(0).flip(0).sqrt()
    return restricted_svd(matrix, vectors), errors
