"""The measurements of docs/optimum.md; ``plot_optimum.py`` runs them, draws them and prints them."""

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

# Numbers of images that a net learns the photograph from, which has 400 columns.
VECTORS = (10, 12, 15, 20, 40, 100, 400)
PHOTO_SEEDS, PHOTO_RANK = 10, 10

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

Array = NDArray[np.float64]
Measured = dict[str, Array]


class Curve(NamedTuple):
    """Errors of each member of a stack.

    Attributes:
        steps: Steps at which they were measured, shape ``(records,)``.
        excess: Excess over the optimum, the larger of both norms, shape ``(records, J)``.
        last: All errors at the end, each of shape ``(J,)``.
    """

    steps: NDArray[np.int64]
    excess: Array
    last: Measured


class _Records(Callback):
    """Measures the factors of a method against its targets, which the method does not hold."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.steps: list[int] = []
        self.excess: list[Tensor] = []
        self.last: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, MatrixMethod)
        if pl_module.record() is None:
            return
        self.last = self._reference.errors(*pl_module.factors())
        self.steps.append(pl_module.driver.step_count)
        self.excess.append(torch.maximum(self.last["excess_2norm"], self.last["excess_frobenius"]))


def train(method: MatrixMethod, reference: Reference) -> Curve:
    """Train a method to its end, and measure it at each of its records."""
    records = _Records(reference)
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
    last = {name: errors.numpy() for name, errors in records.last.items()}
    return Curve(np.array(records.steps), torch.stack(records.excess).numpy(), last)


def uniform_moment(size: int) -> Tensor:
    """Second moment ``C = I/12 + 11ᵀ/4`` of vectors with entries from U(0, 1), shape ``(size, size)``."""
    return torch.eye(size, dtype=torch.float64) / 12 + 0.25


def minimizer(target: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of ``[A C^½]_k C^-½``, which minimizes ``‖(W - A) C^½‖`` over all W of rank k."""
    values, vectors = torch.linalg.eigh(moment)
    u, s, vh = truncated_svd(target @ (vectors * values.sqrt()) @ vectors.mT, rank)
    right: Tensor = vh @ (vectors / values.sqrt()) @ vectors.mT
    return u * s, right


def best_seen(target: Tensor, probes: Tensor, rank: int, *, transpose: bool) -> tuple[Tensor, Tensor]:
    """The best matrix of rank k that N images can give, by its definition and with the target known.

    Args:
        target: Shape ``(m, n)``.
        probes: Orthogonal probes, shape ``(N, n)``.
        rank: The rank k.
        transpose: Whether N images of the transpose are known too.

    Returns:
        Factors of ``[A P]_k``, where P projects onto the probes; with ``transpose`` those of ``[Q Qᵀ A]_k``, where Q is
        an orthonormal basis of the images.
    """
    basis = torch.linalg.qr((target if transpose else torch.eye(len(target.mT)).to(target)) @ probes.mT).Q
    u, s, vh = truncated_svd(basis @ (basis.mT @ target) if transpose else target @ basis @ basis.mT, rank)
    return u * s, vh


def measure_images() -> dict[bool, Measured]:
    """Errors on the photograph by the number of images, without and with as many of the transpose.

    Each of shape ``(VECTORS, PHOTO_SEEDS)``; NaN where the transpose has nothing to add. ``distance``, of shape
    ``(VECTORS,)``, is the larger difference of the errors of the first seed from those of :func:`best_seen`.
    """
    photo, ranks = targets.photo(), [PHOTO_RANK] * PHOTO_SEEDS
    operator = Dense(photo.expand(PHOTO_SEEDS, -1, -1))
    reference, single = Reference(operator, ranks), Reference(Dense(photo), [PHOTO_RANK])
    # One record, since a measurement takes longer than a step.
    net = partial(BottleneckNet, operator, ranks=ranks, seeds=list(range(PHOTO_SEEDS)), optimizer=RiemannianCG)
    net = partial(net, max_steps=2000, record_every=2000, tolerance=1e-10)
    names = ("relative_2norm", "relative_frobenius")
    measured: dict[bool, Measured] = {}
    for transpose in (False, True):
        found = {name: np.full((len(VECTORS), PHOTO_SEEDS), np.nan) for name in names}
        distance = np.full(len(VECTORS), np.nan)
        for place, vectors in enumerate(VECTORS):
            if transpose and vectors >= photo.shape[1]:
                continue
            method = net(vectors=vectors, transpose=transpose)
            last = train(method, reference).last
            left, right = best_seen(photo, method.probes.all[0], PHOTO_RANK, transpose=transpose)
            exact = single.errors(left[None], right[None])
            distance[place] = max(abs(exact[name].item() - last[name][0]) for name in names)
            for name in names:
                found[name][place] = last[name]
        measured[transpose] = found | {"distance": distance}
    return measured


def photo_optimum() -> tuple[float, float]:
    """Relative errors of the best approximation of the photograph, in the 2-norm and the Frobenius norm."""
    two_norm, frobenius = Reference(Dense(targets.photo()), [PHOTO_RANK]).optimum
    return two_norm.item(), frobenius.item()


def measure_steps() -> dict[str, Curve]:
    """Excess against steps on one uniform 50 × 50 matrix at rank 20."""
    target = targets.uniform(50, 50, seed=0)[None]
    net = partial(BottleneckNet, Dense(target), ranks=[20], seeds=[0], tolerance=1e-12)
    adam = partial(net, optimizer=partial(torch.optim.Adam, lr=1e-2, fused=True), schedule=cosine, max_steps=4000)
    methods = {
        "gaussian": adam(probes="gaussian", batch_size=32),
        "orthogonal": adam(probes="orthogonal"),
        # It trains a pair of layers: n → k → n.
        "scaled_gd": net(optimizer=partial(ScaledGD, lr=0.5), hidden=[], max_steps=1000),
        "riemannian_cg": net(optimizer=RiemannianCG, max_steps=1000),
    }
    reference = Reference(Dense(target), [20])
    return {name: train(method, reference) for name, method in methods.items()}


def conditioned(condition: float, seed: int, size: int = 20, rank: int = 5) -> Tensor:
    """Matrix with ``σ_1/σ_k = condition``, the k largest singular values in equal ratios, and the others halving."""
    draw = partial(torch.randn, size, size, dtype=torch.float64, generator=stream(seed, "basis"))
    u, v = torch.linalg.qr(draw()).Q, torch.linalg.qr(draw()).Q
    leading = condition ** -torch.linspace(0, 1, rank, dtype=torch.float64)
    rest = 0.5 ** torch.arange(1, size - rank + 1, dtype=torch.float64) / condition
    matrix: Tensor = (u * torch.cat([leading, rest])) @ v.mT
    return matrix


def measure_conditions() -> Measured:
    """Median iterations to an excess of 1e-6 of ``σ_k/σ_1``, for each condition number; inf where it is not reached."""

    def iterations(conditions: list[float], **options: Any) -> Array:
        each = [(condition, seed) for condition in conditions for seed in range(REPEATS)]
        target = torch.stack([conditioned(*one) for one in each])
        seeds = [seed for _, seed in each]
        method = Factorization(target, ranks=[5] * len(each), seeds=seeds, tolerance=1e-13, **options)
        curve = train(method, Reference(Dense(target), method.ranks))
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


def measure_ranks() -> Measured:
    """2-norm excess of 10 × 10 uniform matrices, shape ``(9, MATRICES)``; of Riemannian CG the worse of both norms."""
    each = [(rank, seed) for rank in RANKS for seed in range(MATRICES)]

    def net(each: list[tuple[int, int]], **options: Any) -> tuple[BottleneckNet, Reference]:
        operator = Dense(torch.stack([targets.uniform(10, 10, seed) for _, seed in each]))
        # Nets of different ranks see different probes.
        ranks, seeds = [rank for rank, _ in each], [1000 * rank + seed for rank, seed in each]
        return BottleneckNet(operator, ranks=ranks, seeds=seeds, **options), Reference(operator, ranks)

    def by_adam(each: list[tuple[int, int]], steps: int, **probes: Any) -> Array:
        curve = train(
            *net(each, optimizer=KERAS_ADAM, dtype=torch.float32, max_steps=steps, record_every=steps, **probes)
        )
        return curve.last["excess_2norm"].reshape(-1, MATRICES)

    exact = []
    for rank, seed in each:
        target = targets.uniform(10, 10, seed)
        left, right = minimizer(target, uniform_moment(10), rank)
        exact.append(Reference(Dense(target), [rank]).errors(left[None], right[None])["excess_2norm"].item())
    solved, reference = net(each, optimizer=RiemannianCG, max_steps=2000, tolerance=1e-10)
    worst = train(solved, reference).excess[-1].reshape(-1, MATRICES)
    return {
        "recipe": by_adam(each, RECIPE_STEPS, **RECIPE),
        "gaussian": by_adam(each, RECIPE_STEPS, **{**RECIPE, "probes": "gaussian"}),
        "orthogonal": by_adam(each, RECIPE_STEPS, probes="orthogonal"),
        "long": by_adam([one for one in each if one[0] == 5], LONG_STEPS, **RECIPE),
        "exact": np.array(exact).reshape(-1, MATRICES),
        "riemannian_cg": worst,
        "riemannian_cg_steps": solved.driver.steps.numpy().reshape(-1, MATRICES).astype(np.float64),
    }


def measure_noise(distribution: str, batch: int, size: int = 50, draws: int = 200) -> float:
    """Root mean square error of a batch's gradient at W = 0, relative to the exact gradient."""
    target, exact = targets.uniform(size, size, seed=0), torch.eye(size, dtype=torch.float64)
    errors = torch.empty(draws)
    for draw in range(draws):
        x = LAWS[distribution](batch, size, stream(draw, "noise"))
        errors[draw] = torch.linalg.matrix_norm(target @ (x.mT @ x / batch - exact)) / torch.linalg.matrix_norm(target)
    return errors.square().mean().sqrt().item()
