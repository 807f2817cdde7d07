"""Time the fit of the main job against one SVD of its target, in one process: ``--help``."""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import torch
from pytorch_lightning import Trainer

from eckart.data.targets import photo
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.factorization import Factorization
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.solver import ALS


def main() -> None:
    """Print a line for each method: steps, seconds, and the ratio to ``torch.linalg.svd``."""
    parser = argparse.ArgumentParser(description="Time fits on the 400×400 photograph against one SVD of it.")
    parser.add_argument("--rank", type=int, default=10, help="%(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (%(default)s)")
    arguments = parser.parse_args()
    target = photo()
    svd = statistics.median(_seconds(lambda: torch.linalg.svd(target)) for _ in range(2 * arguments.rounds))
    print(f"{'':<28}{'steps':>6}{'seconds':>10}{'of one SVD':>12}{'excess':>10}")
    print(f"{'torch.linalg.svd':<28}{'':>6}{svd:>10.4f}{1.0:>12.1f}")
    for name, method, optimizer in (
        ("bottleneck, riemannian_cg", BottleneckNet, RiemannianCG),
        ("factorization, riemannian_cg", Factorization, RiemannianCG),
        ("factorization, als", Factorization, ALS),
        ("factorization, scaled_gd", Factorization, ScaledGD),
    ):
        fits = [_fit(method, optimizer, target, arguments.rank, seed) for seed in range(arguments.rounds)]
        seconds = statistics.median(fit.fit_seconds for fit in fits)
        steps = statistics.median(fit.step_count for fit in fits)
        worst = max(max(float(fit.measure()[f"excess_{norm}"]) for norm in ("2norm", "frobenius")) for fit in fits)
        print(f"{name:<28}{steps:>6.0f}{seconds:>10.4f}{seconds / svd:>12.1f}{worst:>10.0e}")


def _seconds(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def _fit(
    method: type[BottleneckNet | Factorization],
    optimizer: Callable[..., torch.optim.Optimizer],
    target: torch.Tensor,
    rank: int,
    seed: int,
) -> BottleneckNet | Factorization:
    fit = method(
        target[None],
        ranks=[rank],
        seeds=[seed],
        optimizer=functools.partial(optimizer),
        tolerance=1e-10,
        max_steps=2000,
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(fit)
    return fit


if __name__ == "__main__":
    main()
