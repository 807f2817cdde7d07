"""The goal of the default rule, on seeds that it was not tuned on; ``pytest -m frontier``."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrices import with_spectrum
from sklearn.datasets import load_sample_image

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.selection import all_choices, choose, choose_observed
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


@pytest.mark.parametrize(("condition", "oversampling"), [(1.0, 2.5), (1e2, 2.0), (1e4, 2.0)])
@pytest.mark.parametrize("seed", range(5))
def test_few_more_entries_than_degrees_of_freedom_show_the_rank(
    condition: float, oversampling: float, seed: int
) -> None:
    matrix = with_spectrum(300, 300, np.geomspace(1, 1 / condition, 5), seed)
    share = oversampling * 5 * (600 - 5) / 300**2
    mask = torch.rand(300, 300, generator=stream(seed, "mask")) < share
    assert choose_observed(Entries.of_matrix(matrix, mask), seed=seed).rank == 5


def test_a_photograph_has_the_ranks_of_the_page() -> None:
    photo = torch.tensor(load_sample_image("china.jpg")[:400, :400].mean(2))
    began = time.process_time()
    assert choose(photo).rank == 13
    assert time.process_time() - began < 2
    ranks = {choice.rule: choice.rank for choice in all_choices(photo)}
    assert [ranks[rule] for rule in ("screenot", "information", "gavish_donoho", "energy")] == [17, 24, 72, 46]


@pytest.mark.parametrize("noise", benchmark.NOISES)
def test_the_noise_of_the_benchmark_has_variance_1_and_its_law(noise: str) -> None:
    drawn = torch.stack([benchmark.drawn_noise(noise, 80, 60, stream(seed, "noise")) for seed in range(40)])
    assert float(drawn.square().mean()) == pytest.approx(1, abs=0.15)
    neighbors = float((drawn[..., 1:] * drawn[..., :-1]).mean())
    assert neighbors == pytest.approx(0.5 if noise == "AR(.5)" else 0, abs=0.05)
    rows = drawn.square().mean(-1)
    assert (float(rows.std() / rows.mean()) > 0.5) == (noise in ("heteroscedastic", "heavy-tailed"))
