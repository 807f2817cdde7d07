import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eckart.data import targets
from eckart.methods.bottleneck import BottleneckNet
from eckart.optim.riemannian_cg import RiemannianCG

SCRIPT = Path(__file__).parents[2] / "scripts" / "plot_optimum.py"
spec = importlib.util.spec_from_file_location("plot_optimum", SCRIPT)
assert spec is not None and spec.loader is not None
plot_optimum = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plot_optimum)


def test_a_net_on_uniform_vectors_converges_to_the_closed_form_minimizer() -> None:
    target = targets.gaussian(6, 5, seed=0)
    uniform: dict[str, Any] = {"probes": "uniform", "vectors": 40, "tolerance": 1e-12, "max_steps": 500}
    net = BottleneckNet(target[None], ranks=[2], seeds=[0], optimizer=RiemannianCG, **uniform)
    plot_optimum.train(net)
    vectors = net.probes.all[0]
    left, right = plot_optimum.minimizer(target, vectors.mT @ vectors / len(vectors), 2)
    found_left, found_right = (factor[0] for factor in net.factors())
    torch.testing.assert_close(found_left @ found_right, left @ right, atol=1e-8, rtol=0)
    # It is not the truncated SVD, which orthogonal probes lead to.
    assert net.measure()["excess_frobenius"].item() > 1e-4


@pytest.mark.parametrize("size", [2, 10, 50])
def test_the_moment_of_uniform_vectors_has_the_condition_number_of_the_text(size: int) -> None:
    moment = plot_optimum.uniform_moment(size).numpy()
    # E[x²] = 1/3, and E[xy] = 1/4 for independent x and y.
    np.testing.assert_allclose(moment, np.where(np.eye(size) == 1, 1 / 3, 1 / 4))
    assert np.linalg.cond(moment) == pytest.approx(3 * size + 1)


def test_conditioned_targets_have_the_spectrum_that_they_are_named_for() -> None:
    values = np.linalg.svd(plot_optimum.conditioned(1e3, seed=0).numpy(), compute_uv=False)
    assert values[0] / values[4] == pytest.approx(1e3)
    assert values[5] / values[4] == pytest.approx(0.5)
