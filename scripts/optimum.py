"""Train and measure everything that docs/optimum.md gives numbers of; ``plot_optimum.py`` draws and prints them."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from eckart.data import targets
from eckart.data.probes import LAWS
from eckart.linalg.operators import Dense
from eckart.linalg.optimality import excess
from eckart.linalg.random import stream
from eckart.linalg.reference import Reference
from eckart.linalg.svd import truncated_svd
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.factorization import Factorization
from eckart.methods.matrix import MatrixMethod
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.schedules import cosine
from eckart.optim.solver import ALS

# Figure 10 of the paper: mean |2-norm excess| over 10 random 10 × 10 matrices, for the ranks 1 to 9.
PAPER = (0.0005, 0.0519, 0.0773, 0.0768, 0.0923, 0.0919, 0.1351, 0.1373, 0.1550)
RANKS = range(1, 10)
MATRICES = 20
# The paper's recipe: Keras's Adam on 10 epochs of 10,000 vectors from U(0, 1) in batches of 32.
RECIPE = {"probes": "uniform", "vectors": 10_000, "batch_size": 32}
RECIPE_STEPS, LONG_STEPS = 3130, 5 * 3130
KERAS_ADAM = partial(torch.optim.Adam, lr=1e-3, eps=1e-7, fused=True)

CONDITIONS = [10.0 ** (half / 2) for half in range(13)]
REPEATS = 5
DESCENTS = 10_000
CLOSE = 1e-6
IMAGES = (10, 12, 15, 20, 40, 100, 400)
PHOTO_RANK, SEEDS = 10, 5


class Curve(NamedTuple):
    """Measurements of a stack of J members.

    Attributes:
        steps: Steps at which they were taken, shape ``(p,)``.
        excess: Excess of each member, the worse of both norms, shape ``(p, J)``.
        excess_2norm: The last 2-norm excess of each member.
        relative_frobenius: The last relative Frobenius error of each member.
    """

    steps: NDArray[np.int64]
    excess: NDArray[np.float64]
    excess_2norm: NDArray[np.float64]
    relative_frobenius: NDArray[np.float64]


class _Records(Callback):
    """Measures a method at each of its records, as a run does; training never sees the reference."""

    def __init__(self, reference: Reference) -> None:
        self.steps: list[int] = []
        self.errors: list[dict[str, Tensor]] = []
        self._reference = reference

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, MatrixMethod)
        if pl_module.record() is not None:
            self.steps.append(pl_module.driver.step_count)
            self.errors.append(self._reference.errors(*pl_module.factors()))


def train(method: MatrixMethod, target: Tensor) -> Curve:
    """Train a method to its end, and measure it against its targets, shape ``(J, m, n)``."""
    records = _Records(Reference(Dense(target), method.ranks))
    Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        callbacks=[records],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    ).fit(method)
    worse = [torch.maximum(errors["excess_2norm"], errors["excess_frobenius"]) for errors in records.errors]
    last = records.errors[-1]
    return Curve(
        np.array(records.steps),
        torch.stack(worse).numpy(),
        last["excess_2norm"].numpy(),
        last["relative_frobenius"].numpy(),
    )


def uniform_moment(size: int) -> Tensor:
    """Second moment ``C = I/12 + 11ᵀ/4`` of vectors with entries from U(0, 1), shape ``(size, size)``."""
    return torch.eye(size, dtype=torch.float64) / 12 + 0.25


def minimizer(target: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of ``[A C^½]_k C^-½``, which minimizes ``‖(W - A) C^½‖`` over all W of rank k."""
    values, vectors = torch.linalg.eigh(moment)
    u, s, vh = truncated_svd(target @ (vectors * values.sqrt()) @ vectors.mT, rank)
    right: Tensor = vh @ (vectors / values.sqrt()) @ vectors.mT
    return u * s, right


def measure_steps() -> dict[str, Curve]:
    """Excess against steps on one uniform 50 × 50 matrix at rank 20."""
    target = targets.uniform(50, 50, seed=0)[None]
    net = partial(BottleneckNet, Dense(target), ranks=[20], seeds=[0], tolerance=1e-12)
    adam = partial(net, optimizer=partial(torch.optim.Adam, lr=1e-2, fused=True), schedule=cosine, max_steps=4000)
    return {
        "gaussian": train(adam(probes="gaussian", batch_size=32), target),
        "orthogonal": train(adam(probes="orthogonal"), target),
        # It trains a pair of layers: n → k → n.
        "scaled_gd": train(net(optimizer=partial(ScaledGD, lr=0.5), hidden=[], max_steps=1000), target),
        "riemannian_cg": train(net(optimizer=RiemannianCG, max_steps=1000), target),
    }


def conditioned(condition: float, seed: int, size: int = 20, rank: int = 5) -> Tensor:
    """Matrix with ``σ_1/σ_k = condition``, the k largest singular values in equal ratios, and the others halving."""
    draw = partial(torch.randn, size, size, dtype=torch.float64, generator=stream(seed, "basis"))
    u, v = torch.linalg.qr(draw()).Q, torch.linalg.qr(draw()).Q
    leading = condition ** -torch.linspace(0, 1, rank, dtype=torch.float64)
    rest = 0.5 ** torch.arange(1, size - rank + 1, dtype=torch.float64) / condition
    matrix: Tensor = (u * torch.cat([leading, rest])) @ v.mT
    return matrix


def measure_conditions() -> dict[str, NDArray[np.float64]]:
    """Median iterations to an excess of 1e-6 of ``σ_k/σ_1``, for each condition number; inf where it is not reached."""

    def iterations(conditions: list[float], **options: Any) -> NDArray[np.float64]:
        each = [(condition, seed) for condition in conditions for seed in range(REPEATS)]
        target = torch.stack([conditioned(*one) for one in each])
        seeds = [seed for _, seed in each]
        curve = train(Factorization(target, ranks=[5] * len(each), seeds=seeds, tolerance=1e-13, **options), target)
        # A whole missing direction costs only 1/condition, so the excess is held against that.
        reached = curve.excess * np.array([condition for condition, _ in each]) <= CLOSE
        first = np.where(reached.any(0), curve.steps[reached.argmax(0)], np.inf)
        return np.median(first.reshape(-1, REPEATS), axis=1)

    every = partial(iterations, CONDITIONS, record_every=1, max_steps=200)
    return {
        "gradient_descent": iterations(CONDITIONS[:5], optimizer=partial(torch.optim.SGD, lr=1.0), max_steps=DESCENTS),
        "scaled_gd": every(optimizer=partial(ScaledGD, lr=0.5)),
        "als": every(optimizer=ALS),
        "riemannian_cg": every(optimizer=partial(RiemannianCG, warm_up=0)),
    }


def measure_ranks() -> dict[str, NDArray[np.float64]]:
    """2-norm excess of 10 × 10 uniform matrices, shape ``(9, MATRICES)``; of Riemannian CG the worse of both norms."""
    each = [(rank, seed) for rank in RANKS for seed in range(MATRICES)]

    def net(each: list[tuple[int, int]], **options: Any) -> tuple[BottleneckNet, Tensor]:
        target = torch.stack([targets.uniform(10, 10, seed) for _, seed in each])
        # Nets of different ranks see different probes.
        seeds = [1000 * rank + seed for rank, seed in each]
        return BottleneckNet(Dense(target), ranks=[rank for rank, _ in each], seeds=seeds, **options), target

    def by_adam(each: list[tuple[int, int]], steps: int, **probes: Any) -> NDArray[np.float64]:
        method, target = net(
            each, optimizer=KERAS_ADAM, dtype=torch.float32, max_steps=steps, record_every=steps, **probes
        )
        return train(method, target).excess_2norm.reshape(-1, MATRICES)

    exact = [
        excess(target, *minimizer(target, uniform_moment(10), rank), rank)[0].item()
        for rank, target in ((rank, targets.uniform(10, 10, seed)) for rank, seed in each)
    ]
    solved, target = net(each, optimizer=RiemannianCG, max_steps=2000, tolerance=1e-10)
    worst = train(solved, target).excess[-1].reshape(-1, MATRICES)
    return {
        "recipe": by_adam(each, RECIPE_STEPS, **RECIPE),
        "gaussian": by_adam(each, RECIPE_STEPS, **{**RECIPE, "probes": "gaussian"}),
        "orthogonal": by_adam(each, RECIPE_STEPS, probes="orthogonal"),
        "long": by_adam([one for one in each if one[0] == 5], LONG_STEPS, **RECIPE),
        "exact": np.array(exact).reshape(-1, MATRICES),
        "riemannian_cg": worst,
        "riemannian_cg_steps": solved.driver.steps.numpy().reshape(-1, MATRICES),
    }


def measure_images() -> dict[str, NDArray[np.float64]]:
    """Relative Frobenius error of the photo at rank 10, learned from N images, shape ``(len(IMAGES), SEEDS)``.

    By law of the probes and whether as many images of the transpose are asked for; N = n has no use for those.
    """
    photo = targets.photo(400, 400)
    target = photo.expand(SEEDS, -1, -1)
    measured = {}
    for probes, transpose in (("orthogonal", False), ("gaussian", False), ("orthogonal", True)):
        errors = np.full((len(IMAGES), SEEDS), np.nan)
        for place, count in enumerate(IMAGES):
            if not (transpose and count == len(photo)):
                options: dict[str, Any] = {"probes": probes, "vectors": count, "transpose": transpose}
                ranks, seeds = [PHOTO_RANK] * SEEDS, list(range(SEEDS))
                net = BottleneckNet(
                    Dense(target),
                    ranks=ranks,
                    seeds=seeds,
                    optimizer=RiemannianCG,
                    max_steps=500,
                    tolerance=1e-10,
                    **options,
                )
                errors[place] = train(net, target).relative_frobenius
        measured[f"{probes}, and N of the transpose" if transpose else probes] = errors
    spectrum = np.linalg.svd(photo.numpy(), compute_uv=False)
    measured["optimum"] = np.sqrt((spectrum[PHOTO_RANK:] ** 2).sum() / (spectrum**2).sum())
    return measured


def measure_noise(distribution: str, batch: int, size: int = 50, draws: int = 200) -> float:
    """Root mean square error of a batch's gradient at W = 0, relative to the exact gradient."""
    target, exact = targets.uniform(size, size, seed=0), torch.eye(size, dtype=torch.float64)
    errors = torch.empty(draws)
    for draw in range(draws):
        x = LAWS[distribution](batch, size, stream(draw, "noise"))
        errors[draw] = torch.linalg.matrix_norm(target @ (x.mT @ x / batch - exact)) / torch.linalg.matrix_norm(target)
    return errors.square().mean().sqrt().item()
