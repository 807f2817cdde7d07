import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eckart.data import targets
from eckart.data.probes import Probes
from eckart.linalg.operators import Dense
from eckart.linalg.reference import Reference
from eckart.methods.bottleneck import BottleneckNet
from eckart.optim.riemannian_cg import RiemannianCG

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
measure_optimum = importlib.import_module("measure_optimum")
plot_optimum = importlib.import_module("plot_optimum")
sys.path.remove(SCRIPTS)


def net(target: torch.Tensor, rank: int, **options: Any) -> BottleneckNet:
    options = {"tolerance": 1e-12, "max_steps": 500} | options
    return BottleneckNet(Dense(target), ranks=[rank], seeds=[0], optimizer=RiemannianCG, **options)


def test_a_net_on_uniform_vectors_converges_to_the_closed_form_minimizer() -> None:
    target = targets.gaussian(6, 5, seed=0)
    method = net(target, 2, probes="uniform", vectors=40)
    curve = measure_optimum.train(method, Reference(Dense(target), [2]))
    vectors = method.probes.all[0]
    left, right = measure_optimum.minimizer(target, vectors.mT @ vectors / len(vectors), 2)
    found_left, found_right = (factor[0] for factor in method.factors())
    torch.testing.assert_close(found_left @ found_right, left @ right, atol=1e-8, rtol=0)
    # It is not the truncated SVD, which orthogonal probes lead to.
    assert curve.last["excess_frobenius"].item() > 1e-4


@pytest.mark.parametrize("transpose", [False, True])
def test_few_images_lead_to_the_best_matrix_that_they_determine(transpose: bool) -> None:
    target = targets.gaussian(30, 20, seed=0)
    reference = Reference(Dense(target), [3])
    method = net(target, 3, vectors=8, transpose=transpose)
    last = measure_optimum.train(method, reference).last
    probes = Probes("orthogonal", 20, vectors=8, batch_size=None, seeds=[0]).all[0].numpy()
    # A projector by the pseudoinverse, and the best rank by numpy's SVD: nothing of the script's.
    basis = target.numpy() @ probes.T if transpose else probes.T
    onto = basis @ np.linalg.pinv(basis)
    matrix = onto @ target.numpy() if transpose else target.numpy() @ onto
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    best = (u[:, :3] * s[:3]) @ vh[:3]
    for name, order in (("relative_2norm", 2), ("relative_frobenius", "fro")):
        error = np.linalg.norm(target.numpy() - best, order) / np.linalg.norm(target.numpy(), order)  # type: ignore[arg-type]
        assert last[name].item() == pytest.approx(error, abs=1e-9)
    exact = measure_optimum.best_seen(target, method.probes.all[0], 3, transpose=transpose)
    assert reference.errors(*(factor[None] for factor in exact))["relative_frobenius"].item() == pytest.approx(
        last["relative_frobenius"].item(), abs=1e-9
    )


@pytest.mark.parametrize("size", [2, 10, 50])
def test_the_moment_of_uniform_vectors_has_the_condition_number_of_the_text(size: int) -> None:
    moment = measure_optimum.uniform_moment(size).numpy()
    # E[x²] = 1/3, and E[xy] = 1/4 for independent x and y.
    np.testing.assert_allclose(moment, np.where(np.eye(size) == 1, 1 / 3, 1 / 4))
    assert np.linalg.cond(moment) == pytest.approx(3 * size + 1)


def test_conditioned_targets_have_the_spectrum_that_they_are_named_for() -> None:
    values = np.linalg.svd(measure_optimum.conditioned(1e3, seed=0).numpy(), compute_uv=False)
    assert values[0] / values[4] == pytest.approx(1e3)
    assert values[5] / values[4] == pytest.approx(0.5)


def test_the_curve_of_images_shows_both_norms_of_both_ways_and_the_optimum() -> None:
    shape = (len(measure_optimum.VECTORS), 3)
    measured = {
        transpose: {
            "relative_2norm": np.full(shape, 0.1 + transpose),
            "relative_frobenius": np.full(shape, 0.2 + transpose),
        }
        for transpose in (False, True)
    }
    (axes,) = plot_optimum.draw_images(measured, (0.03, 0.15)).axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in axes.lines}
    assert {label: values[0] for label, values in lines.items()} == pytest.approx(
        {
            "A, 2-norm": 0.1,
            "A, Frobenius": 0.2,
            "A and Aᵀ, 2-norm": 1.1,
            "A and Aᵀ, Frobenius": 1.2,
            "optimum, 2-norm": 0.03,
            "optimum, Frobenius": 0.15,
            "√(1 - N/n)": (1 - 10 / 400) ** 0.5,
        }
    )
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), measure_optimum.VECTORS)
