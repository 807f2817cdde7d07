"""The goal of the default rule, on seeds that it was not tuned on; ``pytest -m frontier``."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection import choose_observed
from eckart.selection.choosing import choose_spectrum
from eckart.selection.spectrum import Spectrum

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
benchmark = importlib.import_module("benchmark_rank")
sys.path.remove(SCRIPTS)

CASES = [
    benchmark.Case(shape, strength, noise)
    for shape in benchmark.SHAPES
    for strength in benchmark.STRENGTHS
    for noise in benchmark.NOISES
]
SEEDS = range(500, 520)

pytestmark = pytest.mark.frontier


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_error_is_close_to_that_of_the_best_rank(case: Any) -> None:
    ratios = []
    for seed in SEEDS:
        signal, matrix = case.draw(seed)
        spectrum = Spectrum(matrix)
        errors = benchmark.truncation_errors(signal, spectrum)
        ratios.append(float(errors[choose_spectrum(spectrum, seed=seed).rank - 1] / errors.min()))
    assert np.median(ratios) <= 1.05


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_close_with_half_of_the_entries_missing(case: Any) -> None:
    ratios = []
    for seed in SEEDS:
        signal, matrix = case.draw(seed)
        mask = torch.rand(case.shape, generator=stream(seed, "mask")) >= benchmark.MISSING_SHARE
        entries = Entries.of_matrix(matrix, mask)
        errors = benchmark.completion_errors(signal, entries)
        ratios.append(float(errors[choose_observed(entries, seed=seed).rank - 1] / errors.min()))
    assert np.median(ratios) <= 1.1


@pytest.mark.parametrize("noise", benchmark.NOISES)
def test_the_noise_of_the_benchmark_has_variance_1_and_its_law(noise: str) -> None:
    drawn = torch.stack([benchmark.drawn_noise(noise, 80, 60, stream(seed, "noise")) for seed in range(40)])
    assert float(drawn.square().mean()) == pytest.approx(1, abs=0.15)
    neighbors = float((drawn[..., 1:] * drawn[..., :-1]).mean())
    assert neighbors == pytest.approx(0.5 if noise == "AR(.5)" else 0, abs=0.05)
    rows = drawn.square().mean(-1)
    assert (float(rows.std() / rows.mean()) > 0.5) == (noise in ("heteroscedastic", "heavy-tailed"))
