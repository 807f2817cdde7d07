"""Measure rules that choose a rank against the best rank, where the signal is known: the tables of docs/rank.md.

For each noise, shape and strength, and each seed, a matrix of rank 6 plus noise is drawn. A rule is charged with the
squared error of the approximation of its rank, over that of the best rank. The tables show medians over the seeds, in
brackets the median rank. Rules of other packages stand beside ours, if they are installed.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection import RULES, choose_observed
from eckart.selection.alternating import AlternatingFit
from eckart.selection.choosing import choose_spectrum
from eckart.selection.screenot import default_upper
from eckart.selection.spectrum import Spectrum

NOISES = ("white", "AR(.5)", "heteroscedastic", "heavy-tailed")
SHAPES = ((300, 150), (100, 1000), (60, 60))
# Singular values of the signal, in units of the largest one of the drawn noise. Components near .7 to .9 are at the
# limit where keeping them pays.
STRENGTHS = {"strong": (4.0, 3.4, 2.8, 2.3, 1.9, 1.5), "weak": (2.0, 1.5, 1.2, 1.0, 0.85, 0.7)}
MISSING_SHARE = 0.5
# scikit-learn's rule takes a second for a matrix of 300×150.
MLE_SEEDS = 10


class Case(NamedTuple):
    """A cell of the tables."""

    shape: tuple[int, int]
    strength: str
    noise: str

    def draw(self, seed: int) -> tuple[Tensor, Tensor]:
        """The signal, and the signal with noise."""
        m, n = self.shape
        generator = stream(seed, "benchmark", m, n, self.noise)
        noise = drawn_noise(self.noise, m, n, generator)
        values = torch.tensor(STRENGTHS[self.strength], dtype=torch.float64) * torch.linalg.matrix_norm(noise, 2)
        u, v = (torch.linalg.qr(normal(side, len(values), generator))[0] for side in (m, n))
        return (u * values) @ v.mT, (u * values) @ v.mT + noise


def normal(m: int, n: int, generator: torch.Generator) -> Tensor:
    """Standard normal entries."""
    return torch.randn(m, n, generator=generator, dtype=torch.float64)


def drawn_noise(kind: str, m: int, n: int, generator: torch.Generator) -> Tensor:
    """Noise of mean variance 1: of independent entries, of AR(1) rows, of rows that differ, or of Student's t."""
    noise = normal(m, n, generator)
    if kind == "AR(.5)":
        for col in range(1, n):
            noise[:, col] = 0.5 * noise[:, col - 1] + 0.75**0.5 * noise[:, col]
    if kind == "heteroscedastic":
        # Standard deviations of rows from a third to three, log-uniform.
        sizes = 3 ** (2 * torch.rand(m, 1, generator=generator, dtype=torch.float64) - 1)
        noise *= sizes / sizes.square().mean().sqrt()
    if kind == "heavy-tailed":
        # Student's t of three degrees of freedom: the fourth moment is infinite.
        squares = sum(normal(m, n, generator).square() for _ in range(3))
        noise /= torch.as_tensor(squares).sqrt()
    return noise


def truncation_errors(signal: Tensor, spectrum: Spectrum) -> Tensor:
    """Squared error of the best approximation of each rank from 1, against the signal."""
    u, s, vh = spectrum.factors
    overlaps = torch.einsum("mk,mn,kn->k", u, signal, vh)
    return signal.square().sum() + (s.square() - 2 * s * overlaps).cumsum(0)


def completion_errors(signal: Tensor, entries: Entries) -> Tensor:
    """Squared error of the least squares fit of each rank from 1 to the entries, until it is twice the least."""
    fit, target = AlternatingFit(entries, tolerance=1e-5, max_sweeps=300), signal.numpy()
    errors: list[float] = []
    while len(errors) < 14 and (not errors or errors[-1] <= 2 * min(errors)):
        fit.grow()
        errors.append(float(((fit.left @ fit.right.T - target) ** 2).sum()))
    return torch.tensor(errors + [errors[-1]] * min(signal.shape))


def peers() -> tuple[dict[str, Callable[[Spectrum], int]], list[str]]:
    """Rules of other packages, and notes: which are missing, which see fewer seeds."""
    found: dict[str, Callable[[Spectrum], int]] = {}
    missing = []
    for name, rule in (("screenot", _screenot), ("optht", _optht), ("sklearn", _mle)):
        if find_spec(name):
            found[f"*{name}*" if name != "sklearn" else "*mle*"] = rule
        else:
            missing.append(f"{name} is not installed (pip install {name})")
    if "*mle*" in found:
        missing.append(f"*mle* on the first {MLE_SEEDS} of them")
    return found, missing


def _screenot(spectrum: Spectrum) -> int:
    from screenot import adaptiveHardThresholding

    return int(adaptiveHardThresholding(spectrum.matrix.numpy(), default_upper(spectrum.shape))[2])


def _optht(spectrum: Spectrum) -> int:
    from optht import optht

    return int(optht(min(spectrum.shape) / max(spectrum.shape), spectrum.s.numpy()))


def _mle(spectrum: Spectrum) -> int:
    from sklearn.decomposition import PCA

    # It needs more samples than features.
    tall = spectrum.matrix if spectrum.shape[0] >= spectrum.shape[1] else spectrum.matrix.mT
    return int(PCA(n_components="mle", svd_solver="full").fit(tall.numpy()).n_components_)


def full_table(cases: Iterable[Case], seeds: range) -> None:
    """Print the table of matrices that are known in full."""
    others, missing = peers()
    rules: dict[str, Callable[[int, Spectrum], int]] = {
        rule: partial(lambda rule, seed, spectrum: choose_spectrum(spectrum, rule, seed=seed).rank, rule)
        for rule in RULES
    }
    rules |= {name: partial(lambda rule, _, spectrum: rule(spectrum), rule) for name, rule in others.items()}
    head(list(rules), f"Squared error over that of the best rank, medians over {len(seeds)} seeds", missing)
    worst = dict.fromkeys(rules, 0.0)
    for case in cases:
        ratios: dict[str, list[tuple[float, int]]] = {rule: [] for rule in rules}
        bests = []
        for seed in seeds:
            signal, matrix = case.draw(seed)
            spectrum = Spectrum(matrix)
            errors = truncation_errors(signal, spectrum)
            bests.append(int(errors.argmin()) + 1)
            for name, rule in rules.items():
                if name == "*mle*" and len(ratios[name]) == MLE_SEEDS:
                    continue
                rank = max(rule(seed, spectrum), 1)
                ratios[name].append((float(errors[rank - 1] / errors.min()), rank))
        row(case, bests, ratios, worst)
    foot(worst)


def missing_table(cases: Iterable[Case], seeds: range) -> None:
    """Print the table of matrices of which half of the entries are known."""
    # With entries missing, best is cross-validation; energy takes all ranks that are tried.
    names = [rule for rule in RULES if rule not in ("cross_validation", "energy")]
    title = f"Half of the entries missing: squared error over that of the best rank, medians over {len(seeds)} seeds"
    head(names, title, ["peers take no missing entries"])
    worst = dict.fromkeys(names, 0.0)
    for case in cases:
        ratios: dict[str, list[tuple[float, int]]] = {rule: [] for rule in names}
        bests = []
        for seed in seeds:
            signal, matrix = case.draw(seed)
            mask = torch.rand(case.shape, generator=stream(seed, "mask")) >= MISSING_SHARE
            entries = Entries.of_matrix(matrix, mask)
            errors = completion_errors(signal, entries)
            bests.append(int(errors.argmin()) + 1)
            for name in names:
                rank = choose_observed(entries, name, seed=seed).rank
                ratios[name].append((float(errors[rank - 1] / errors.min()), rank))
        row(case, bests, ratios, worst)
    foot(worst)


def head(names: list[str], title: str, notes: list[str]) -> None:
    """Print the head of a table."""
    print(f"\n{title}{''.join('; ' + note for note in notes)}.\n")
    print(f"| m×n | signal | noise | best rank | {' | '.join(names)} |")
    print("| --- " * (4 + len(names)) + "|", flush=True)


def row(case: Case, bests: list[int], ratios: dict[str, list[tuple[float, int]]], worst: dict[str, float]) -> None:
    """Print one row, and keep the largest medians."""
    cells = []
    for name, found in ratios.items():
        error, rank = np.median(np.array(found), axis=0)
        worst[name] = max(worst[name], float(error))
        cells.append(f"{error:.2f} ({rank:g})" if error < 99.5 else f"> 99 ({rank:g})")
    m, n = case.shape
    print(f"| {m}×{n} | {case.strength} | {case.noise} | {np.median(bests):g} | {' | '.join(cells)} |", flush=True)


def foot(worst: dict[str, float]) -> None:
    """Print the largest ratio of each rule."""
    cells = [f"**{error:.2f}**" if error < 99.5 else "**> 99**" for error in worst.values()]
    print(f"| largest | | | | {' | '.join(cells)} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=int, default=20261126, help="first seed (default: 20261126)")
    parser.add_argument("--seeds", type=int, default=50, help="seeds of each cell (default: 50)")
    parser.add_argument("--quick", action="store_true", help="5 seeds, and 60×60 alone")
    parser.add_argument("--only", choices=("full", "missing"), help="one of the two tables")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shapes = SHAPES[-1:] if asked.quick else SHAPES
    cases = [Case(shape, strength, noise) for shape in shapes for strength in STRENGTHS for noise in NOISES]
    seeds = range(asked.base, asked.base + (5 if asked.quick else asked.seeds))
    began = time.process_time()
    if asked.only != "missing":
        full_table(cases, seeds)
    if asked.only != "full":
        missing_table(cases, seeds)
    print(f"\nSeeds {seeds.start} to {seeds.stop - 1}; {time.process_time() - began:.0f} s of one core.")


if __name__ == "__main__":
    main()
