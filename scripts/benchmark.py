"""Time the fit of the main job against one SVD of its target, in one process: ``--help``."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import eckart
from eckart.data.targets import photo

FITS = (
    ("bottleneck", "riemannian_cg"),
    ("factorization", "riemannian_cg"),
    ("factorization", "als"),
    ("factorization", "scaled_gd"),
)


def main() -> None:
    """Print a line for each method: steps, seconds, and the ratio to ``torch.linalg.svd``."""
    parser = argparse.ArgumentParser(description="Time fits on the 400×400 photograph against one SVD of it.")
    parser.add_argument("--rank", type=int, default=10, help="%(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    target = photo()
    svd = statistics.median(_seconds(lambda: torch.linalg.svd(target)) for _ in range(2 * arguments.rounds))
    print(f"{'':<30}{'steps':>6}{'seconds':>10}{'of one SVD':>12}{'excess':>10}")
    print(f"{'torch.linalg.svd':<30}{'':>6}{svd:>10.4f}{1.0:>12.1f}")
    for method, optimizer in FITS:
        fits = [
            eckart.fit(target, arguments.rank, method, optimizer=optimizer, seed=seed, max_steps=2000)
            for seed in range(arguments.rounds)
        ]
        seconds = statistics.median(fit.fields["fit_seconds"] for fit in fits)
        steps = statistics.median(fit.fields["steps"] for fit in fits)
        worst = max(fit.fields[f"excess_{norm}"] for fit in fits for norm in ("2norm", "frobenius"))
        name = f"{method}, {optimizer}"
        print(f"{name:<30}{steps:>6.0f}{seconds:>10.4f}{seconds / svd:>12.1f}{worst:>10.0e}")


def _seconds(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
