import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eckart.data import targets
from eckart.linalg.operators import Dense
from eckart.methods.bottleneck import BottleneckNet
from eckart.optim.riemannian_cg import RiemannianCG

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
optimum = importlib.import_module("optimum")
plot_optimum = importlib.import_module("plot_optimum")
sys.path.remove(str(SCRIPTS))


def test_a_net_on_uniform_vectors_converges_to_the_closed_form_minimizer() -> None:
    target = targets.gaussian(6, 5, seed=0)
    uniform: dict[str, Any] = {"probes": "uniform", "vectors": 40, "tolerance": 1e-12, "max_steps": 500}
    net = BottleneckNet(Dense(target[None]), ranks=[2], seeds=[0], optimizer=RiemannianCG, **uniform)
    curve = optimum.train(net, target[None])
    vectors = net.probes.all[0]
    left, right = optimum.minimizer(target, vectors.mT @ vectors / len(vectors), 2)
    found_left, found_right = (factor[0] for factor in net.factors())
    torch.testing.assert_close(found_left @ found_right, left @ right, atol=1e-8, rtol=0)
    # It is not the truncated SVD, which orthogonal probes lead to.
    assert curve.excess[-1].item() > 1e-4


@pytest.mark.parametrize("size", [2, 10, 50])
def test_the_moment_of_uniform_vectors_has_the_condition_number_of_the_text(size: int) -> None:
    moment = optimum.uniform_moment(size).numpy()
    # E[x²] = 1/3, and E[xy] = 1/4 for independent x and y.
    np.testing.assert_allclose(moment, np.where(np.eye(size) == 1, 1 / 3, 1 / 4))
    assert np.linalg.cond(moment) == pytest.approx(3 * size + 1)


def test_conditioned_targets_have_the_spectrum_that_they_are_named_for() -> None:
    values = np.linalg.svd(optimum.conditioned(1e3, seed=0).numpy(), compute_uv=False)
    assert values[0] / values[4] == pytest.approx(1e3)
    assert values[5] / values[4] == pytest.approx(0.5)


def test_the_curve_of_images_shows_each_way_of_asking_and_the_optimum() -> None:
    ways = ("gaussian", "orthogonal", "orthogonal, and N of the transpose")
    measured = {name: np.full((7, 5), 0.2 + place / 10) for place, name in enumerate(ways)}
    figure = plot_optimum.draw_images(measured | {"optimum": np.array(0.15)})
    (axes,) = figure.axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in axes.lines}
    expected = {"N Gaussian probes": 0.2, "N orthogonal probes": 0.3, "and N of the transpose": 0.4, "optimum": 0.15}
    assert {label: values[0] for label, values in lines.items()} == pytest.approx(expected)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), optimum.IMAGES)
