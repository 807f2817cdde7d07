"""Measure and draw the numbers of docs/optimum.md.

``python scripts/plot_optimum.py`` trains everything again, writes four figures and prints every number of the text.
"""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from measure_optimum import (
    CLOSE,
    CONDITIONS,
    DESCENTS,
    LONG_STEPS,
    PHOTO_RANK,
    PHOTO_SEEDS,
    RANKS,
    RECIPE_STEPS,
    VECTORS,
    Curve,
    Measured,
    measure_conditions,
    measure_images,
    measure_noise,
    measure_ranks,
    measure_steps,
    photo_optimum,
    uniform_moment,
)

from eckart.data.probes import LAWS
from eckart.linalg.random import stream
from eckart.results.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, save

# Figure 10 of the paper: mean |2-norm excess| over 10 random 10 × 10 matrices, for the ranks 1 to 9.
PAPER = (0.0005, 0.0519, 0.0773, 0.0768, 0.0923, 0.0919, 0.1351, 0.1373, 0.1550)

_CG: dict[str, Any] = {"label": "Riemannian CG", "color": BLUE, "marker": "o"}
_SCALED: dict[str, Any] = {"label": "ScaledGD, step ½", "color": GREEN, "marker": "s"}


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


def draw_conditions(iterations: Measured) -> Figure:
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


def draw_ranks(measured: Measured) -> Figure:
    """Excess against the rank."""
    exact = {"label": "exact minimizer for U(0, 1) vectors, mean", "color": ORANGE, "marker": "D", "linestyle": "--"}
    series: list[tuple[Any, Any, dict[str, Any]]] = [
        (RANKS, PAPER, {"label": "the paper's figure 10", "color": BLACK, "marker": "x", "linestyle": ":"}),
        (RANKS, measured["recipe"].mean(1), {"label": "its recipe here, mean", "color": VERMILLION, "marker": "^"}),
        (RANKS, measured["exact"].mean(1), exact),
        (RANKS, measured["riemannian_cg"].max(1), {**_CG, "label": "Riemannian CG, largest"}),
    ]
    return draw(series, xticks=RANKS, ylim=(1e-16, 1), xlabel="rank", ylabel="excess over the optimum")


def draw_images(measured: dict[bool, Measured], optimum: tuple[float, float]) -> Figure:
    """Errors on the photograph against the number of images."""
    two_norm, frobenius = ("relative_2norm", "2-norm", "--"), ("relative_frobenius", "Frobenius", "-")
    series: list[tuple[Any, Any, dict[str, Any]]] = []
    for transpose, label, color in ((False, "N images of A", VERMILLION), (True, "and N of its transpose", BLUE)):
        for name, norm, line in (frobenius, two_norm):
            style = {"label": f"{label}, {norm}", "color": color, "marker": "o", "linestyle": line}
            series.append((VECTORS, measured[transpose][name].mean(1), style))
    for value, (_, norm, line) in zip(optimum, (two_norm, frobenius), strict=True):
        series.append(
            (VECTORS, [value] * len(VECTORS), {"label": f"optimum, {norm}", "color": GRAY, "linestyle": line})
        )
    figure = draw(series, xscale="log", ylim=(0.02, 1.2), xlabel="images N", ylabel="relative error")
    axes = figure.axes[0]
    axes.set_xticks(VECTORS, [str(vectors) for vectors in VECTORS])
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks((0.03, 0.1, 0.3, 1), ("0.03", "0.1", "0.3", "1"))
    axes.yaxis.set_minor_formatter("")
    return figure


def report_images(measured: dict[bool, Measured], optimum: tuple[float, float]) -> list[str]:
    """The table of errors against the number of images."""
    lines = [
        f"photo, rank {PHOTO_RANK}, mean over {PHOTO_SEEDS} seeds: N images | and N of the transpose | "
        f"optimum {optimum[0]:.4f} (2-norm), {optimum[1]:.4f} (Frobenius)",
        f"{'N':>5}" + 2 * (f"{'2-norm':>10}{'Frobenius':>10}") + f"{'√(1 - N/400)':>14}",
    ]
    names = ("relative_2norm", "relative_frobenius")
    for place, vectors in enumerate(VECTORS):
        means = [measured[transpose][name][place].mean() for transpose in (False, True) for name in names]
        lines.append(
            f"{vectors:5d}" + "".join(f"{mean:10.4f}" for mean in means) + f"{(1 - vectors / 400) ** 0.5:14.4f}"
        )
    largest = max(float(np.nanmax(found["distance"])) for found in measured.values())
    spread = [float(np.nanmax(found["relative_frobenius"].std(1))) for found in measured.values()]
    lines.append(f"largest standard deviation over seeds, Frobenius: {spread[0]:.3f} and {spread[1]:.3f}")
    lines.append(f"largest difference from the best matrix that the images determine, seed 0: {largest:.0e}")
    return lines


def report(curves: dict[str, Curve], iterations: Measured, ranks: Measured) -> list[str]:
    """The numbers of the other sections, line by line."""
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
        row("Riemannian CG, steps, largest", ranks["riemannian_cg_steps"].max(1), ".0f"),
        f"recipe, rank 5, {LONG_STEPS} steps: mean {long.mean():.4f}; exact minimizer, largest of all "
        f"{ranks['exact'].max():.4f}",
        "ranks 2 to 9, mean: "
        + ", ".join(f"{name} {ranks[name][1:].mean():.4f}" for name in ("recipe", "gaussian", "orthogonal")),
        "",
        "50 × 50 uniform, rank 20: steps, final excess, first step at or below 1e-6",
        *(
            f"  {name:16}{curve.steps[-1]:6d}{max(curve.excess[-1, 0], 0):10.0e}   {_first_close(curve)}"
            for name, curve in curves.items()
        ),
        "",
        row("iterations; condition number", CONDITIONS, ".3g"),
        *(row(f"  {name}", values, ".0f") for name, values in iterations.items()),
    ]


def _first_close(curve: Curve) -> str:
    pairs = zip(curve.steps, curve.excess, strict=True)
    return next((str(step) for step, value in pairs if value[0] <= CLOSE), "never")


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the figures")
    out: Path = parser.parse_args().out
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Matrices this small gain nothing from a second thread.
    torch.set_num_threads(1)

    curves, iterations, ranks, images = measure_steps(), measure_conditions(), measure_ranks(), measure_images()
    optimum = photo_optimum()
    save(draw_steps(curves), out / "optimum_steps.png")
    save(draw_conditions(iterations), out / "optimum_condition.png")
    save(draw_ranks(ranks), out / "optimum_ranks.png")
    save(draw_images(images, optimum), out / "optimum_images.png")
    print("\n".join([*report(curves, iterations, ranks), "", *report_images(images, optimum)]))


if __name__ == "__main__":
    main()
