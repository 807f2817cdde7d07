"""Success rates and times of completion near the limit of information: this project's solvers beside others.

Success is a relative error of the whole matrix below 1e-3. The targets have random singular vectors and log-spaced
singular values; each row and each column has at least as many observed entries as the rank. Peers are written here from
their papers, in a few lines each; seconds are CPU seconds of one thread.
"""

import argparse
import csv
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, lsmr, lsqr, svds
from torch import Tensor

from eckart.data.incomplete import PATTERNS, conditioned, mask
from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.optim.fit import fit
from eckart.optim.gauss_newton import GaussNewton
from eckart.optim.objectives import ObservedEntries
from eckart.optim.riemannian_cg import RiemannianCG

RANK, RIDGE = 5, 0.1
FRONTIER = ["1000:10:1.4", "1000:10:1.5", "1000:10:1.8", "1000:10:2.1", "1000:10:2.6"]
FRONTIER += ["1000:1e5:1.5", "1000:1e5:2", "1000:1e5:4"]
Pair = tuple[np.ndarray, np.ndarray]


def ours(entries: Entries, seed: int, solver: Callable[..., object], rank: int = RANK) -> Pair:
    """One of this project's solvers, as ``method=completion`` starts it."""
    (rows, cols), norm = entries.shape, float(entries.norm())
    generator = stream(seed, "factors")
    left, right = (torch.randn(side, rank, generator=generator, dtype=torch.float64) for side in (rows, cols))
    scale = (rows * cols * rank) ** -0.25
    objective = ObservedEntries([entries / norm])
    found = fit(objective, scale * left[None], scale * right.mT[None], solver, tolerance=1e-12)  # type: ignore[arg-type]
    return norm * found.left[0].numpy(), found.right[0].mT.numpy()


def als(entries: Entries, seed: int, sweeps: int = 500) -> Pair:
    """Alternating least squares from a random start, each row and each column by itself, in numpy; the ridge falls."""
    row, col, value = (part.numpy() for part in (entries.row, entries.col, entries.value))
    by_row = [(col[row == i], value[row == i]) for i in range(entries.shape[0])]
    by_col = [(row[col == j], value[col == j]) for j in range(entries.shape[1])]
    left = np.zeros((entries.shape[0], RANK))
    right = np.random.default_rng(seed).standard_normal((entries.shape[1], RANK))
    for sweep in range(sweeps):
        ridge = max(RIDGE * 0.8**sweep, 1e-14) * np.eye(RANK)
        for i, (seen, own) in enumerate(by_row):
            left[i] = np.linalg.solve(right[seen].T @ right[seen] + ridge, right[seen].T @ own)
        for j, (seen, own) in enumerate(by_col):
            right[j] = np.linalg.solve(left[seen].T @ left[seen] + ridge, left[seen].T @ own)
        right = np.linalg.qr(right)[0]
        rest = np.einsum("ij,ij->i", left[row], right[col])
        if np.linalg.norm(rest - value) <= 1e-10 * np.linalg.norm(value):
            break
    return left, right


def soft_impute(entries: Entries, seed: int, sweeps: int = 300) -> Pair:
    """Soft-impute with a falling threshold, and the leading directions of what it ends with (Mazumder et al., 2010)."""
    row, col, value = (part.numpy() for part in (entries.row, entries.col, entries.value))
    filled, shrunk = np.zeros(entries.shape), np.zeros(entries.shape)
    filled[row, col] = value
    threshold = np.linalg.norm(filled, 2)
    for _ in range(sweeps):
        threshold *= 0.97
        filled = shrunk.copy()
        filled[row, col] = value
        left, singular, right = svds(filled, min(4 * RANK, min(entries.shape) - 1), random_state=seed)
        shrunk = (left * np.maximum(singular - threshold, 0)) @ right
    return left[:, -RANK:] * singular[-RANK:], right[-RANK:].T


def r2rils(entries: Entries, seed: int, steps: int = 100, inner: int = 1000) -> Pair:
    """R2RILS (Bauch, Nadler & Zilber, 2021): least squares over twice the rank, and averages of directions."""
    row, col, value = (part.numpy() for part in (entries.row, entries.col, entries.value))
    left, right = (factor / np.linalg.norm(factor, axis=0) for factor in _spectral(entries, seed))
    for _ in range(steps):
        new_left, new_right = _tangent(entries, left, right, value, lsqr, inner)
        pair = np.hstack([new_left, left]), np.hstack([right, new_right])
        fitted = np.einsum("ij,ij->i", pair[0][row], pair[1][col])
        if np.linalg.norm(fitted - value) <= 1e-12 * np.linalg.norm(value):
            break
        left = _unit(left + _unit(new_left))
        right = _unit(right + _unit(new_right))
    return _leading(*pair)


def gnmr(entries: Entries, seed: int, steps: int = 100, inner: int = 1000) -> Pair:
    """GNMR, the updating variant (Zilber & Nadler, 2022): Gauss–Newton steps of least norm."""
    row, col, value = (part.numpy() for part in (entries.row, entries.col, entries.value))
    left, right = _spectral(entries, seed)
    for _ in range(steps):
        rest = value - np.einsum("ij,ij->i", left[row], right[col])
        if np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(value):
            break
        change = _tangent(entries, left, right, rest, lsqr, inner)
        left, right = left + change[0], right + change[1]
    return left, right


def scaled_gd(entries: Entries, seed: int, steps: int = 2000) -> Pair:
    """ScaledGD from a spectral start (Tong, Ma & Chi, 2021), at half of the step for which its theory holds."""
    row, col, value = (part.numpy() for part in (entries.row, entries.col, entries.value))
    left, right = _spectral(entries, seed)
    length = 0.5 * np.prod(entries.shape) / len(entries)
    for _ in range(steps):
        rest = np.einsum("ij,ij->i", left[row], right[col]) - value
        if not 1e-12 < np.linalg.norm(rest) / np.linalg.norm(value) < 1e3:
            break
        matrix = sparse.csr_matrix((rest, (row, col)), shape=entries.shape)
        change = (
            np.linalg.solve(right.T @ right, (matrix @ right).T).T,
            np.linalg.solve(left.T @ left, (matrix.T @ left).T).T,
        )
        left, right = left - length * change[0], right - length * change[1]
    return left, right


def _tangent(entries: Entries, left: np.ndarray, right: np.ndarray, rest: np.ndarray, solve: object, most: int) -> Pair:
    """``(X, Y)`` of least norm with the entries of ``X rightᵀ + left Yᵀ`` nearest to ``rest``."""
    matrix = _jacobian(entries, left, right)
    operator = LinearOperator(matrix.shape, matvec=matrix.dot, rmatvec=matrix.T.tocsr().dot, dtype=float)
    limit = {"iter_lim": most} if solve is lsqr else {"maxiter": most}
    found = solve(operator, rest, atol=1e-14, btol=1e-14, conlim=0, **limit)[0]  # type: ignore[operator]
    return found[: left.size].reshape(left.shape), found[left.size :].reshape(right.shape)


def _jacobian(entries: Entries, left: np.ndarray, right: np.ndarray) -> sparse.csr_matrix:
    row, col, rank = entries.row.numpy(), entries.col.numpy(), left.shape[1]
    places = np.hstack([row[:, None] * rank + np.arange(rank), left.size + col[:, None] * rank + np.arange(rank)])
    starts = np.arange(len(row) + 1) * 2 * rank
    values = np.hstack([right[col], left[row]])
    return sparse.csr_matrix((values.ravel(), places.ravel(), starts), shape=(len(row), left.size + right.size))


def _spectral(entries: Entries, seed: int) -> Pair:
    matrix = sparse.csr_matrix((entries.value.numpy(), (entries.row.numpy(), entries.col.numpy())), shape=entries.shape)
    left, singular, right = svds(matrix / (len(entries) / np.prod(entries.shape)), RANK, random_state=seed)
    return left * singular**0.5, right.T * singular**0.5


def _unit(factor: np.ndarray) -> np.ndarray:
    return np.asarray(factor / np.linalg.norm(factor, axis=0))


def _leading(left: np.ndarray, right: np.ndarray) -> Pair:
    (first, first_root), (second, second_root) = np.linalg.qr(left), np.linalg.qr(right)
    turn, singular, other = np.linalg.svd(first_root @ second_root.T)
    return first @ turn[:, :RANK] * singular[:RANK], second @ other[:RANK].T


def oracle(target: Tensor, entries: Entries, clean: Tensor) -> float:
    """Relative error of least squares on the tangent space of the true matrix, which knows its subspaces."""
    left, singular, right = np.linalg.svd(clean.numpy(), full_matrices=False)
    left, right = left[:, :RANK], right[:RANK].T
    noise = entries.value.numpy() - clean[entries.row, entries.col].numpy()
    change = _tangent(entries, left, right, noise, lsmr, 20_000)
    return float(np.linalg.norm(change[0] @ right.T + left @ change[1].T) / np.linalg.norm(singular))


METHODS: dict[str, Callable[[Entries, int], Pair]] = {
    "gauss_newton": partial(ours, solver=GaussNewton),
    "riemannian_cg": partial(ours, solver=RiemannianCG),
    "scaled_gd": scaled_gd,
    "als": als,
    "soft_impute": soft_impute,
    "r2rils": r2rils,
    "gnmr": gnmr,
}


def main() -> None:
    """Print one line for each cell and method, and write one for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed-base", type=int, default=0, help="seed of the first run")
    parser.add_argument("--seeds", type=int, default=50, help="runs of each cell")
    law = f"SIDE:CONDITION:OVERSAMPLING[:PATTERN], patterns {', '.join(PATTERNS)}"
    parser.add_argument("--cells", nargs="+", default=FRONTIER, metavar="CELL", help=law)
    parser.add_argument("--methods", nargs="+", default=["gauss_newton"], choices=METHODS)
    parser.add_argument("--noise", type=float, default=0.0, help="norm of the noise over that of the target")
    parser.add_argument("--out", type=Path, default=Path("completion.csv"), help="file that the runs are written to")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with asked.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ["side", "condition", "oversampling", "pattern", "noise", "method", "seed", "error", "seconds", "oracle"]
        )
        heads = f"{'cell':<26}{'method':<15}{'runs':>5}{'success':>9}{'error, median':>15}{'largest':>10}"
        print(f"{heads}{'seconds':>9}{'slowest':>9}")
        for cell in asked.cells:
            for method in asked.methods:
                runs = []
                for seed in range(asked.seed_base, asked.seed_base + asked.seeds):
                    runs.append(_run(cell, method, seed, asked.noise))
                    table.writerow(
                        [*_parts(cell), asked.noise, method, seed, *(f"{number:.4g}" for number in runs[-1])]
                    )
                    file.flush()
                _show(cell, method, np.array(runs))


def _parts(cell: str) -> tuple[int, float, float, str]:
    side, condition, oversampling, *pattern = cell.split(":")
    return int(side), float(condition), float(oversampling), pattern[0] if pattern else "uniform"


def _run(cell: str, method: str, seed: int, noise: float) -> tuple[float, float, float]:
    side, condition, oversampling, pattern = _parts(cell)
    clean = conditioned(side, side, RANK, condition, 0.0, seed)
    target = conditioned(side, side, RANK, condition, noise, seed)
    entries = Entries.of_matrix(target, mask(side, side, RANK, oversampling, pattern, seed))
    began = time.process_time()
    with np.errstate(all="ignore"):
        try:
            left, right = METHODS[method](entries, seed)
        except np.linalg.LinAlgError:
            left, right = np.full((side, 1), np.inf), np.ones((side, 1))
    seconds = time.process_time() - began
    error = float(np.linalg.norm(left @ right.T - clean.numpy()) / np.linalg.norm(clean.numpy()))
    return error, seconds, oracle(target, entries, clean) if noise > 0 else np.nan


def _show(cell: str, method: str, runs: np.ndarray) -> None:
    errors, seconds, oracles = runs.T
    line = f"{cell:<26}{method:<15}{len(runs):>5}{np.mean(errors < 1e-3):>9.2f}{np.median(errors):>15.1e}"
    line += f"{errors.max():>10.1e}{np.median(seconds):>9.2f}{seconds.max():>9.2f}"
    if not np.isnan(oracles).all():
        ratios = errors / oracles
        line += f"   error over the oracle's: median {np.median(ratios):.3f}, largest {ratios.max():.3f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
