"""Measure and draw the numbers of docs/optimum.md: why the paper's nets fell short, and which methods do not.

``python scripts/plot_optimum.py`` trains everything again, writes three figures and prints every number of the text.
"""

import argparse
import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from eckart.methods.base import MatrixMethod
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from eckart.data import targets
from eckart.data.probes import LAWS
from eckart.linalg.optimality import excess
from eckart.linalg.random import stream
from eckart.linalg.svd import truncated_svd
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.factorization import Factorization
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.schedules import cosine
from eckart.optim.solver import ALS
from eckart.results.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, save

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

_CG: dict[str, Any] = {"label": "Riemannian CG", "color": BLUE, "marker": "o"}
_SCALED: dict[str, Any] = {"label": "ScaledGD, step ½", "color": GREEN, "marker": "s"}


class Curve(NamedTuple):
    """Excess of each member of a stack, the worse of both norms, at the steps where it was measured."""

    steps: NDArray[np.int64]
    excess: NDArray[np.float64]


class _Records(Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.excess: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, MatrixMethod)
        record = pl_module.last_record
        self.steps.append(pl_module.step_count)
        self.excess.append(torch.maximum(record["excess_2norm"], record["excess_frobenius"]))


def train(method: MatrixMethod) -> Curve:
    """Train a method to its end."""
    records = _Records()
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
    return Curve(np.array(records.steps), torch.stack(records.excess).numpy())


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
    net = partial(BottleneckNet, target, ranks=[20], seeds=[0], tolerance=1e-12)
    adam = partial(net, optimizer=partial(torch.optim.Adam, lr=1e-2, fused=True), schedule=cosine, max_steps=4000)
    return {
        "gaussian": train(adam(probes="gaussian", batch_size=32)),
        "orthogonal": train(adam(probes="orthogonal")),
        # It trains a pair of layers: n → k → n.
        "scaled_gd": train(net(optimizer=partial(ScaledGD, lr=0.5), hidden=[], max_steps=1000)),
        "riemannian_cg": train(net(optimizer=RiemannianCG, max_steps=1000)),
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
        curve = train(Factorization(target, ranks=[5] * len(each), seeds=seeds, tolerance=1e-13, **options))
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

    def net(each: list[tuple[int, int]], **options: Any) -> BottleneckNet:
        target = torch.stack([targets.uniform(10, 10, seed) for _, seed in each])
        # Nets of different ranks see different probes.
        seeds = [1000 * rank + seed for rank, seed in each]
        return BottleneckNet(target, ranks=[rank for rank, _ in each], seeds=seeds, **options)

    def by_adam(each: list[tuple[int, int]], steps: int, **probes: Any) -> NDArray[np.float64]:
        method = net(each, optimizer=KERAS_ADAM, dtype=torch.float32, max_steps=steps, record_every=steps, **probes)
        train(method)
        return method.last_record["excess_2norm"].numpy().reshape(-1, MATRICES)

    exact = [
        excess(target, *minimizer(target, uniform_moment(10), rank), rank)[0].item()
        for rank, target in ((rank, targets.uniform(10, 10, seed)) for rank, seed in each)
    ]
    solved = net(each, optimizer=RiemannianCG, max_steps=2000, tolerance=1e-10)
    worst = train(solved).excess[-1].reshape(-1, MATRICES)
    return {
        "recipe": by_adam(each, RECIPE_STEPS, **RECIPE),
        "gaussian": by_adam(each, RECIPE_STEPS, **{**RECIPE, "probes": "gaussian"}),
        "orthogonal": by_adam(each, RECIPE_STEPS, probes="orthogonal"),
        "long": by_adam([one for one in each if one[0] == 5], LONG_STEPS, **RECIPE),
        "exact": np.array(exact).reshape(-1, MATRICES),
        "riemannian_cg": worst,
        "riemannian_cg_steps": solved.steps.numpy().reshape(-1, MATRICES),
    }


def measure_noise(distribution: str, batch: int, size: int = 50, draws: int = 200) -> float:
    """Root mean square error of a batch's gradient at W = 0, relative to the exact gradient."""
    target, exact = targets.uniform(size, size, seed=0), torch.eye(size, dtype=torch.float64)
    errors = torch.empty(draws)
    for draw in range(draws):
        x = LAWS[distribution](batch, size, stream(draw, "noise"))
        errors[draw] = torch.linalg.matrix_norm(target @ (x.mT @ x / batch - exact)) / torch.linalg.matrix_norm(target)
    return errors.square().mean().sqrt().item()


@matplotlib.rc_context(STYLE)
def draw(series: list[tuple[Any, Any, dict[str, Any]]], **settings: Any) -> Figure:
    """One panel of lines on a logarithmic scale; what is not finite is left out."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for x, y, style in series:
        # Zeros and rounding below it have no place on the scale.
        axes.plot(x, np.maximum(np.where(np.isfinite(y), y, np.nan), 1e-16), linewidth=1.8, **style)
    axes.set(yscale="log", **settings)
    figure.legend(loc="outside lower center", ncols=2 + len(series) // 5)
    return figure


def draw_steps(curves: dict[str, Curve]) -> Figure:
    """Excess against steps."""
    styles: dict[str, dict[str, Any]] = {
        "gaussian": {"label": "Adam, 32 Gaussian probes a step", "color": GRAY, "linestyle": "--"},
        "orthogonal": {"label": "Adam, orthogonal probes", "color": VERMILLION, "linestyle": "-."},
        "scaled_gd": {**_SCALED, "marker": ""},
        "riemannian_cg": {**_CG, "marker": ""},
    }
    series = [(curves[name].steps, curves[name].excess[:, 0], style) for name, style in styles.items()]
    labels = {"xlabel": "step", "ylabel": "excess, the worse of both norms"}
    return draw(series, xscale="log", xlim=(1, None), ylim=(1e-12, 2), **labels)


def draw_conditions(iterations: dict[str, NDArray[np.float64]]) -> Figure:
    """Iterations against the condition number."""
    descent = {"color": VERMILLION, "marker": "^", "linestyle": "-."}
    styles: dict[str, dict[str, Any]] = {
        "gradient_descent": {**descent, "label": "gradient descent"},
        "scaled_gd": _SCALED,
        "riemannian_cg": {**_CG, "label": "Riemannian CG alone"},
        "als": {"label": "alternating least squares", "color": PURPLE, "marker": "D", "linestyle": "--"},
    }
    series = [(CONDITIONS[: len(iterations[name])], iterations[name], style) for name, style in styles.items()]
    missed = [x for x, y in zip(CONDITIONS, iterations["gradient_descent"], strict=False) if np.isinf(y)]
    hollow = {**descent, "linestyle": "", "markerfacecolor": "white", "label": f"not within {DESCENTS:,}"}
    series.insert(1, (missed, np.full(len(missed), DESCENTS), hollow))
    labels = {"xlabel": "condition number σ₁/σₖ", "ylabel": "iterations to an excess of 1e-6 σₖ/σ₁"}
    return draw(series, xscale="log", ylim=(3, 2e4), **labels)


def draw_ranks(measured: dict[str, NDArray[np.float64]]) -> Figure:
    """Excess against the rank."""
    exact = {"label": "exact minimizer for U(0, 1) vectors, mean", "color": ORANGE, "marker": "D", "linestyle": "--"}
    series: list[tuple[Any, Any, dict[str, Any]]] = [
        (RANKS, PAPER, {"label": "the paper's figure 10", "color": BLACK, "marker": "x", "linestyle": ":"}),
        (RANKS, measured["recipe"].mean(1), {"label": "its recipe here, mean", "color": VERMILLION, "marker": "^"}),
        (RANKS, measured["exact"].mean(1), exact),
        (RANKS, measured["riemannian_cg"].max(1), {**_CG, "label": "Riemannian CG, told to stop at 1e-10, largest"}),
    ]
    return draw(series, xticks=RANKS, ylim=(1e-11, 1), xlabel="rank", ylabel="excess over the optimum")


def report(
    curves: dict[str, Curve], iterations: dict[str, NDArray[np.float64]], ranks: dict[str, NDArray[np.float64]]
) -> list[str]:
    """The numbers of the text, line by line."""
    drawn = LAWS["uniform"](10_000, 10, stream(0, "vectors"))
    long = ranks["long"][0]

    def row(name: str, values: Any, form: str) -> str:
        return f"{name:46}" + "".join(f"{format(value, form):>9}" for value in values)

    return [
        f"condition number of C: n = 10 {torch.linalg.cond(uniform_moment(10)):.1f} "
        f"(of 10,000 drawn vectors {torch.linalg.cond(drawn.mT @ drawn / len(drawn)):.1f}), "
        f"n = 50 {torch.linalg.cond(uniform_moment(50)):.1f}, n = 400 {torch.linalg.cond(uniform_moment(400)):.1f}",
        f"gradient noise, n = 50: 32 Gaussian {measure_noise('gaussian', 32):.2f}, "
        f"50 orthogonal {measure_noise('orthogonal', 50):.0e}",
        "",
        row("10 × 10 uniform, 2-norm excess; rank", RANKS, "d"),
        row("paper", PAPER, ".4f"),
        row(f"recipe, {RECIPE_STEPS} steps, mean", ranks["recipe"].mean(1), ".4f"),
        row("recipe, median", np.median(ranks["recipe"], axis=1), ".4f"),
        row("same steps, Gaussian vectors, mean", ranks["gaussian"].mean(1), ".4f"),
        row("same steps, orthogonal probes, mean", ranks["orthogonal"].mean(1), ".4f"),
        row("exact minimizer for U(0, 1), mean", ranks["exact"].mean(1), ".5f"),
        row("Riemannian CG, both norms, largest", ranks["riemannian_cg"].max(1), ".0e"),
        row("Riemannian CG, steps, largest", ranks["riemannian_cg_steps"].max(1), "d"),
        f"recipe, rank 5, {LONG_STEPS} steps: mean {long.mean():.4f}; exact minimizer, largest of all "
        f"{ranks['exact'].max():.4f}",
        "ranks 2 to 9, mean: "
        + ", ".join(f"{name} {ranks[name][1:].mean():.4f}" for name in ("recipe", "gaussian", "orthogonal")),
        "",
        "50 × 50 uniform, rank 20: steps, final excess, first step at or below 1e-6",
        *(
            f"  {name:16}{curve.steps[-1]:6d}{max(curve.excess[-1, 0], 0):10.0e}   "
            f"{next((str(step) for step, value in zip(*curve, strict=True) if value[0] <= CLOSE), 'never')}"
            for name, curve in curves.items()
        ),
        "",
        row("iterations; condition number", CONDITIONS, ".3g"),
        *(row(f"  {name}", values, ".0f") for name, values in iterations.items()),
    ]


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the figures")
    out = parser.parse_args().out
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Matrices this small gain nothing from a second thread.
    torch.set_num_threads(1)

    curves, iterations, ranks = measure_steps(), measure_conditions(), measure_ranks()
    save(draw_steps(curves), out / "optimum_steps.png")
    save(draw_conditions(iterations), out / "optimum_condition.png")
    save(draw_ranks(ranks), out / "optimum_ranks.png")
    print("\n".join(report(curves, iterations, ranks)))


if __name__ == "__main__":
    main()
