"""Training sees what its method says that it sees: images of probes, entries, observed entries; and nothing else."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import scipy.sparse.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from commandline import Train
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import Tensor

from eckart import config
from eckart.data import probes, targets
from eckart.linalg.conversion import as_operator
from eckart.linalg.operators import Dense, Operator
from eckart.linalg.reference import Reference
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.factorized_linear import FactorizedLinear
from eckart.methods.matrix import MatrixMethod
from eckart.methods.probing import ProbingMethod
from eckart.optim import fit as driver
from eckart.optim.objectives import KnownTarget
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import ALS
from eckart.runs.recorder import Recorder

ADAM = functools.partial(torch.optim.Adam, lr=1e-2)
CASES: dict[str, dict[str, Any]] = {
    "one orthogonal set": {},
    "two orthogonal sets": {"vectors": 24},
    "uniform": {"probes": "uniform", "vectors": 50},
    "gaussian by Adam": {"probes": "gaussian", "vectors": 50, "batch_size": 16, "optimizer": ADAM, "max_steps": 30},
    "by ALS": {"optimizer": ALS},
    "fewer than columns": {"vectors": 7},
    "fewer, gaussian": {"vectors": 7, "probes": "gaussian"},
    "fewer, and the transpose": {"vectors": 7, "transpose": True},
    "fewer, and the transpose, by Adam": {"vectors": 7, "transpose": True, "optimizer": ADAM, "max_steps": 30},
}
# Images that training asks for, and images of the transpose.
COUNTS = {
    "one orthogonal set": (12, 0),
    "two orthogonal sets": (24, 0),
    "uniform": (50, 0),
    "gaussian by Adam": (50, 0),
    "by ALS": (12, 0),
    "fewer than columns": (7, 0),
    "fewer, gaussian": (7, 0),
    "fewer, and the transpose": (7, 7),
    "fewer, and the transpose, by Adam": (7, 7),
}
METHODS: list[Callable[..., ProbingMethod]] = [BottleneckNet, FactorizedLinear]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(kind: Callable[..., ProbingMethod], operator: Operator, **options: Any) -> ProbingMethod:
    stack = operator.stack
    common = {"ranks": [3] * stack, "seeds": list(range(stack)), "optimizer": RiemannianCG}
    return kind(operator, **common | {"max_steps": 500, "tolerance": 1e-10} | options)


def fit(method: MatrixMethod, *callbacks: Recorder) -> tuple[Tensor, Tensor]:
    quiet: dict[str, Any] = dict.fromkeys(
        ["logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"], False
    )
    Trainer(accelerator="cpu", max_epochs=-1, num_sanity_val_steps=0, callbacks=list(callbacks), **quiet).fit(method)
    left, right = method.factors()
    return left.detach(), right.detach()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", METHODS)
def test_a_target_that_is_lost_after_its_images_changes_no_bit(kind: Callable[..., ProbingMethod], case: str) -> None:
    target = torch.stack([targets.gaussian(10, 12, seed) for seed in range(2)])
    clean = fit(make(kind, Dense(target.clone()), **CASES[case]))
    poisoned = target.clone()
    method = make(kind, Dense(poisoned), **CASES[case])
    method.losses(0)
    poisoned.fill_(torch.nan)
    for found, expected in zip(fit(method), clean, strict=True):
        assert expected.isfinite().all()
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", METHODS)
def test_measuring_changes_no_bit_of_what_is_trained(kind: Callable[..., ProbingMethod]) -> None:
    target = targets.gaussian(10, 12, 0)
    alone = fit(make(kind, Dense(target)))
    another = Reference(Dense(targets.gaussian(10, 12, 1)), [3])
    for found, expected in zip(fit(make(kind, Dense(target)), Recorder(another)), alone, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", METHODS)
def test_images_are_counted_exactly(kind: Callable[..., ProbingMethod], case: str) -> None:
    asked = {"images": 0, "transpose": 0}
    target = targets.gaussian(10, 12, 0)

    class Asked(Dense):
        def images(self, x: Tensor) -> Tensor:
            asked["images"] += x.shape[1]
            return super().images(x)

        def transpose_images(self, y: Tensor) -> Tensor:
            asked["transpose"] += y.shape[1]
            return super().transpose_images(y)

    method = make(kind, Asked(target), **CASES[case])
    fit(method)
    images, transpose = COUNTS[case]
    # The layer's bias is the teacher's output of one more vector, x = 0.
    images += kind is FactorizedLinear
    assert (asked["images"], asked["transpose"]) == (images, transpose)
    fields = method.fields(0)
    assert (fields["images"], fields["transpose_images"]) == (images, transpose)


def test_fresh_probes_are_counted_at_each_step() -> None:
    method = make(
        BottleneckNet,
        Dense(targets.gaussian(10, 12, 0)),
        probes="gaussian",
        optimizer=ADAM,
        max_steps=20,
        record_every=10,
    )
    fit(method)
    # 20 steps of 32, and the loss of three records.
    assert method.images.count == 23 * 32


@pytest.mark.parametrize("method", ["bottleneck", "factorized_linear"])
def test_probes_that_are_not_finite_end_the_run_with_one_line(
    method: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(count: int, size: int, generator: torch.Generator) -> Tensor:
        return torch.full((count, size), torch.nan, dtype=torch.float64)

    monkeypatch.setitem(probes.LAWS, "orthogonal", broken)
    ended = train(f"method={method}", "data=uniform", "data.rows=30", "data.cols=30", "rank=5", "logger=none")
    assert ended.code == 1
    assert ended.stderr == "The probes must be finite. Found 900 NaN or infinite entries.\n"


def blur(n: int) -> Any:
    gain = np.exp(-30 * np.abs(np.fft.fftfreq(n)))

    def apply(x: Any) -> Any:
        return np.fft.ifft(np.fft.fft(x, axis=0) * (gain if x.ndim == 1 else gain[:, None]), axis=0).real

    return scipy.sparse.linalg.LinearOperator((n, n), matvec=apply, matmat=apply, dtype=float)


class Jacobian:
    """Of a small net at a point, by forward differentiation: nothing but ``@``."""

    shape = (9, 14)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(*size, generator=generator).double() for size in ((20, 14), (9, 20))]
        self.point = torch.randn(14, generator=generator).double()

    def __matmul__(self, columns: Any) -> Any:
        def net(x: Tensor) -> Tensor:
            return self.weights[1] @ torch.tanh(self.weights[0] @ x)

        tangents = torch.from_numpy(np.ascontiguousarray(columns)).T
        return torch.stack([torch.func.jvp(net, (self.point,), (tangent,))[1] for tangent in tangents]).T.numpy()


@pytest.mark.parametrize("operator", [blur(24), Jacobian()], ids=["FFT", "Jacobian"])
@pytest.mark.parametrize("kind", METHODS)
def test_an_operator_that_has_only_products_is_learned_as_well_as_a_matrix(
    kind: Callable[..., ProbingMethod], operator: Any
) -> None:
    matrix = torch.from_numpy(np.asarray(operator @ np.eye(operator.shape[1])).copy())
    left, right = fit(make(kind, as_operator(operator)))
    spectrum = torch.linalg.svdvals(matrix)
    residual = torch.linalg.svdvals(matrix - left[0] @ right[0])
    assert residual[0] - spectrum[3] <= 1e-8 * spectrum[0]
    assert residual.norm() - spectrum[3:].norm() <= 1e-8 * spectrum.norm()
    with pytest.raises(ValueError, match=r"^Images of the transpose need an operator that has one\. Found none\.$"):
        fit(make(kind, as_operator(operator), vectors=5, transpose=True))


@pytest.mark.parametrize("count", [3, 5, 8, 11])
def test_fewer_probes_find_the_best_matrix_on_their_span(count: int) -> None:
    target = targets.gaussian(10, 12, 0)
    method = make(BottleneckNet, Dense(target), vectors=count, probes="gaussian")
    left, right = fit(method)
    x = method.probes.all[0]
    basis = torch.linalg.qr(x.T).Q
    coordinates = torch.linalg.svd(x @ basis / count**0.5)
    # W = [A X^T / sqrt(N)]_k taken back by the pseudo-inverse.
    u, s, vh = torch.linalg.svd(target @ x.T / count**0.5, full_matrices=False)
    expected = (u[:, :3] * s[:3]) @ vh[:3] @ torch.linalg.pinv(x.T / count**0.5)
    assert coordinates.S.min() > 0
    torch.testing.assert_close(left[0] @ right[0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("count", [3, 5, 8, 11])
def test_the_transpose_finds_the_best_matrix_in_the_range_of_the_images(count: int) -> None:
    target = targets.gaussian(10, 12, 0)
    method = make(BottleneckNet, Dense(target), vectors=count, transpose=True)
    left, right = fit(method)
    basis = torch.linalg.qr(target @ method.probes.all[0].T).Q
    u, s, vh = torch.linalg.svd(basis.T @ target, full_matrices=False)
    torch.testing.assert_close(left[0] @ right[0], basis @ (u[:, :3] * s[:3]) @ vh[:3], rtol=0, atol=1e-7)


def at_a_saddle() -> tuple[Tensor, Tensor, Tensor]:
    target = torch.diag(torch.arange(8, 0, -1.0, dtype=torch.float64))[None]
    # The third and the sixth triplet in place of the two leading ones: the gradient is zero.
    left = torch.zeros(1, 8, 2, dtype=torch.float64)
    left[0, 2, 0], left[0, 5, 1] = 6**0.5, 3**0.5
    return target, left, left.mT.clone()


@pytest.mark.parametrize("solver", [functools.partial(RiemannianCG, warm_up=0), ALS])
def test_a_saddle_is_left_before_a_fit_is_called_converged(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target, left, right = at_a_saddle()
    objective = KnownTarget(target)
    found = driver.fit(objective, left, right, solver)
    assert found.converged.all()
    np.testing.assert_allclose(found.loss, sum(value**2 for value in range(1, 7)), rtol=1e-12)
    monkeypatch.setattr(driver, "leave_saddles", lambda *args, **options: torch.zeros(1, dtype=torch.bool))
    stuck = driver.fit(objective, left, right, solver)
    assert stuck.converged.all()
    assert stuck.loss > 1.5 * found.loss


def test_the_excess_stops_a_run_only_where_it_is_asked_to(train: Train) -> None:
    small = ("method=bottleneck", "data=uniform", "data.rows=30", "data.cols=30", "rank=5", "logger=csv")
    for path in (config.config_dir() / "method").glob("[!_]*.yaml"):
        assert config.plain(cast(DictConfig, OmegaConf.load(path)), resolve=False).get("stop", "gradient") == "gradient"
    steps = []
    for stop in ("gradient", "excess"):
        ended = train(*small, f"method.stop={stop}")
        assert ended.code == 0
        assert ("stopped by method.stop=excess" in ended.stdout) == (stop == "excess")
        assert ("the gradient in the scaled metric" in ended.stdout) == (stop == "gradient")
        steps.append(ended.result["steps"])
    assert steps[1] < steps[0]
