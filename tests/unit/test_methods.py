import functools
import itertools
import math
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # type: ignore[import-untyped, unused-ignore]
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from matrices import observed_of
from numpy.typing import NDArray
from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from eckart import config
from eckart.data.together import together
from eckart.linalg.operators import Dense
from eckart.linalg.random import stream
from eckart.linalg.reference import Reference
from eckart.methods.bottleneck import INITIALIZATIONS, BottleneckNet, layer_widths
from eckart.methods.classifier import Classifier
from eckart.methods.completion import Completion
from eckart.methods.factorization import Factorization
from eckart.methods.factorized_linear import FactorizedLinear
from eckart.methods.matrix import MatrixMethod
from eckart.methods.processes import Processes
from eckart.methods.svd import SVD
from eckart.nn.low_rank_linear import LowRankLinear
from eckart.optim.entrywise_sgd import EntrywiseSGD
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.solver import ALS
from eckart.results.history import History
from eckart.runs.callbacks import LastState
from eckart.runs.loggers import StackLogger
from eckart.runs.recorder import Recorder

Matrix = NDArray[np.float64]
Make = Callable[..., MatrixMethod]
TRAINED: dict[str, Make] = {
    "factorization": Factorization,
    "bottleneck": BottleneckNet,
    "factorized_linear": FactorizedLinear,
    "completion": Completion,
}
ADAM = functools.partial(torch.optim.Adam, lr=1e-2)
CPU = functools.partial(
    Trainer,
    accelerator="cpu",
    devices=1,
    max_epochs=-1,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    num_sanity_val_steps=0,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # On matrices this small threads only wait for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
        yield
    torch.set_num_threads(threads)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


REFERENCES: weakref.WeakKeyDictionary[MatrixMethod, Reference] = weakref.WeakKeyDictionary()


def make(method: Make, target: Tensor, rank: int = 2, optimizer: Any = RiemannianCG, **options: Any) -> MatrixMethod:
    """A method, given what a run would give it; its target is remembered for measuring."""
    options = {"ranks": [rank] * len(target), "seeds": list(range(len(target))), "max_steps": 500} | options
    observed: Any = options.pop("observed", None)
    kind = method.func if isinstance(method, functools.partial) else method
    seen: Any = target if kind is Factorization else Dense(target)
    if kind is Completion:
        observed = torch.ones_like(target, dtype=torch.bool) if observed is None else observed
        seen = observed_of(target, observed)
    if kind is not SVD:
        options["optimizer"] = optimizer
    made = method(seen, **options)
    if target.abs().max() > 0:
        REFERENCES[made] = Reference(Dense(target), made.ranks, observed=observed)
    return made


def measured(method: MatrixMethod) -> dict[str, Tensor]:
    return REFERENCES[method].errors(*method.factors()) | method.own_figures()


def fit(
    method: MatrixMethod,
    *,
    precision: Any = "64-true",
    callbacks: Sequence[Callback] = (),
    logger: Any = False,
    checkpoint: Path | None = None,
) -> MatrixMethod:
    trainer = CPU(precision=precision, logger=logger, callbacks=[Recorder(REFERENCES[method]), *callbacks])
    trainer.fit(method, ckpt_path=checkpoint, weights_only=True)
    return method


def products(method: MatrixMethod) -> Matrix:
    left, right = method.factors()
    return np.asarray((left.double() @ right.double()).detach().numpy())


def check_against_lapack(method: MatrixMethod, target: Tensor, atol: float = 1e-8) -> None:
    """Hold the errors that a method measures against numpy's, and these against the optimum."""
    errors = measured(method)
    for member, (matrix, rank) in enumerate(zip(target.numpy(), method.ranks, strict=True)):
        spectrum = np.append(scipy.linalg.svdvals(matrix), 0.0)
        residual = scipy.linalg.svdvals(matrix - products(method)[member])
        norm = np.linalg.norm(spectrum)
        for key, error, best in (
            ("2norm", residual[0] / spectrum[0], spectrum[rank] / spectrum[0]),
            ("frobenius", np.linalg.norm(residual) / norm, np.linalg.norm(spectrum[rank:]) / norm),
        ):
            np.testing.assert_allclose(errors[f"relative_{key}"][member], error, atol=1e-9)
            np.testing.assert_allclose(errors[f"excess_{key}"][member], error - best, atol=1e-9)
            assert abs(error - best) <= atol, (member, key)


def composed(*overrides: str) -> Any:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return compose("train", overrides=["trainer=cpu", "logger=none", *overrides])


SMALL = {
    "target": ["data=gaussian", "data.rows=12", "data.cols=9", "rank=3"],
    "entries": ["data=low_rank", "data.rows=30", "data.cols=25", "data.rank=2", "rank=2", "data.observed=0.6"],
    "labels": ["data=digits", "data.pixels=scaled", "rank=8", "method.epochs=2", "optimizer=adam", "optimizer.lr=1e-2"],
}


SMALL["images"] = SMALL["target"]


# A method that is added need not reach the optimum: its loss can be another one.
@pytest.mark.parametrize("name", [*TRAINED, "svd", "classifier"])
def test_method_of_the_configs_comes_near_the_optimum(name: str) -> None:
    needs = composed(f"method={name}").method.needs
    cfg = composed(f"method={name}", *SMALL[needs])
    data = instantiate(cfg.data)
    data.setup()
    keywords = {key: together([part]) for key, part in data.supply(needs).items()}
    if cfg.optimizer.get("_target_") is not None:
        keywords["optimizer"] = instantiate(cfg.optimizer)
    factory = instantiate(OmegaConf.masked_copy(cfg.method, [key for key in cfg.method if key != "needs"]))
    if needs == "labels":
        method = factory(**keywords, ranks=[cfg.rank], seeds=[cfg.seed], dtype=torch.float32)
        CPU(precision="32-true", logger=False, max_epochs=method.max_epochs).fit(method, datamodule=data)
        assert method.accuracy > 0.6
        taken = torch.tensor(method.fields(0)["confusion"])
        assert torch.equal(taken.sum(1), data.samples.test_labels.bincount(minlength=10))
        assert method.accuracy == pytest.approx(float(taken.trace() / taken.sum()))
        predicted = method(data._inputs(data.samples.test_inputs)).argmax(1)
        assert torch.equal(taken.sum(0), predicted.bincount(minlength=10))
        assert method.train_loss_sum_per_epoch[1] < method.train_loss_sum_per_epoch[0]
        errors = Reference(data.operator(), [cfg.rank]).errors(*method.factors())
        assert max(abs(float(errors[f"excess_{key}"])) for key in ("2norm", "frobenius")) < 1e-8
        return
    method = factory(**keywords, ranks=[cfg.rank], seeds=[cfg.seed])
    REFERENCES[method] = Reference(data.operator(), method.ranks)
    fit(method)
    check_against_lapack(method, data.target[None], atol=1e-7)
    for error in measured(method).values():
        assert error.shape == (1,)
        assert error.dtype == torch.float64
    assert not method.driver.diverged.any()
    assert method.stop_reason(0).startswith(("converged", "computed"))


TARGETS = {
    "square": gaussian(2, 10, 10),
    "tall": gaussian(2, 14, 6),
    "wide": gaussian(2, 6, 14),
    "identity": torch.eye(12, dtype=torch.float64)[None],
    "of lower rank": gaussian(1, 10, 1) @ gaussian(1, 1, 8, seed=1),
    "tiny": 1e-6 * gaussian(1, 8, 8),
    "huge": 1e6 * gaussian(1, 8, 8),
    "one row": gaussian(1, 1, 7),
    "one column": gaussian(1, 7, 1),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TRAINED)
def test_optimum_is_reached_on_every_kind_of_target(name: str, target: str) -> None:
    matrices = TARGETS[target]
    rank = min(3, *matrices.shape[1:])
    method = fit(make(TRAINED[name], matrices, rank, tolerance=1e-10))
    check_against_lapack(method, matrices, atol=1e-7)


@pytest.mark.parametrize("name", TRAINED)
def test_matrix_of_one_entry_is_learned_from_any_seed(name: str) -> None:
    # Factors that start with the wrong sign are drawn to zero, a saddle of the loss.
    seeds = list(range(8))
    target = torch.full((len(seeds), 1, 1), -3.0, dtype=torch.float64)
    method = fit(make(TRAINED[name], target, 1, seeds=seeds, tolerance=1e-10))
    np.testing.assert_allclose(products(method), target, rtol=1e-7)


@pytest.mark.parametrize("solver", ["exact", "gram", "randomized"])
def test_svd_is_lapacks(solver: str) -> None:
    target = gaussian(3, 20, 9)
    method = fit(make(SVD, target, ranks=[1, 4, 9], seeds=[0, 1, 2], solver=solver))
    for member, rank in enumerate([1, 4, 9]):
        u, s, vh = scipy.linalg.svd(target[member].numpy(), full_matrices=False)
        np.testing.assert_allclose(products(method)[member], (u[:, :rank] * s[:rank]) @ vh[:rank], atol=1e-8)
    assert [method.stop_reason(member) for member in range(3)] == ["computed"] * 3


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(("optimizer", "max_steps", "tolerance"), [(RiemannianCG, 25, 1e-8), (ADAM, 100, 1e-5)])
def test_stack_is_its_members_alone(name: str, optimizer: Any, max_steps: int, tolerance: float) -> None:
    target, ranks, seeds = gaussian(3, 9, 8), [2, 5, 1], [7, 7, 3]
    options: dict[str, Any] = {"optimizer": optimizer, "max_steps": max_steps}
    masks = torch.from_numpy(np.random.default_rng(1).random(target.shape) < np.array([0.95, 0.9, 0.6])[:, None, None])
    extra: dict[str, Any] = {"observed": masks} if name == "completion" else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*degrees of freedom")
        stacked = fit(make(TRAINED[name], target, ranks=ranks, seeds=seeds, **options, **extra))
        for member in range(3):
            part = slice(member, member + 1)
            own: dict[str, Any] = {key: value[part] for key, value in extra.items()}
            alone = fit(make(TRAINED[name], target[part], ranks=ranks[part], seeds=seeds[part], **options, **own))
            together, apart = products(stacked)[member], products(alone)[0]
            assert np.linalg.norm(together - apart) <= tolerance * np.linalg.norm(apart)
            np.testing.assert_allclose(stacked.driver.loss[member], alone.driver.loss[0], rtol=100 * tolerance)
    for factor, axis in zip(stacked.factors(), (1, 0), strict=True):
        for member, rank in enumerate(ranks):
            assert (factor[member].narrow(axis, rank, 5 - rank) == 0).all()


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("optimizer", [RiemannianCG, ALS, ScaledGD, ADAM], ids=lambda made: str(made))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_numbers_do_not_depend_on_the_neighbors(name: str, optimizer: Any, dtype: torch.dtype) -> None:
    # Odd sizes, and more members than a processor takes at once: some are at the end of its vectors, others not.
    every = list(range(35))
    target, ranks, seeds = gaussian(35, 7, 9), [1 + member % 5 for member in every], [member // 5 for member in every]
    masks = torch.stack([torch.randperm(63, generator=stream(member, "mask")).view(7, 9) < 50 for member in every])
    options: dict[str, Any] = {"optimizer": optimizer, "max_steps": 24, "dtype": dtype, "record_every": 12}
    if name in ("bottleneck", "factorized_linear"):
        options |= {"vectors": 50, "batch_size": 16, "probes": "uniform"}
    if name == "bottleneck":
        options["hidden"] = [] if optimizer is ScaledGD else [8]

    def state(places: list[int], width: int | None) -> list[list[float]]:
        part: dict[str, Any] = {"ranks": [ranks[place] for place in places]}
        part["seeds"] = [seeds[place] for place in places]
        if name == "completion":
            part["observed"] = masks[places]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*degrees of freedom")
            method = make(TRAINED[name], target[places], width=width, **options, **part)
            fit(method, precision="64-true" if dtype == torch.float64 else "32-true")
        figures = [
            *method.factors(),
            *measured(method).values(),
            method.driver.loss,
            method.driver.steps,
            method.driver.stationarity,
        ]
        return [[number for figure in figures for number in figure[j].flatten().tolist()] for j in range(len(places))]

    whole = state(every, None)
    for places in ([16], [7, 2], [34, 4, 5, 8, 10, 11, 33]):
        np.testing.assert_array_equal(state(places, 5), [whole[place] for place in places])


@pytest.mark.parametrize("solver", ["exact", "gram", "randomized"])
def test_svd_does_not_depend_on_the_neighbors(solver: str) -> None:
    target = gaussian(5, 9, 7)
    whole = fit(make(SVD, target, ranks=[1, 2, 3, 4, 5], seeds=[0] * 5, solver=solver))
    part = fit(make(SVD, target[1:3], ranks=[2, 3], seeds=[0] * 2, solver=solver, width=5))
    for found, expected in zip(part.factors(), whole.factors(), strict=True):
        assert torch.equal(found, expected[1:3])


@pytest.mark.parametrize("name", ["bottleneck", "factorized_linear", "factorization"])
def test_descent_is_along_the_gradient(name: str) -> None:
    options: dict[str, Any] = {"hidden": [6, 7]} if name == "bottleneck" else {}
    if name != "factorization":
        options |= {"probes": "gaussian", "batch_size": 5}
    method = make(TRAINED[name], gaussian(3, 4, 6), optimizer=ADAM, ranks=[1, 3, 2], **options)
    losses = method.descend(7)
    found = [parameter.grad for parameter in method.parameters()]
    expected = torch.autograd.grad(method.losses(7).sum(), list(method.parameters()))
    torch.testing.assert_close(losses, method.losses(7).detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found, list(expected), rtol=1e-12, atol=1e-14)


@dataclass(frozen=True)
class Share(Processes):
    """One of several processes, of which the others are played by the test."""

    def sum(self, parts: Sequence[Tensor]) -> None:
        """Leave this one's part as it is."""


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("name", ["bottleneck", "factorized_linear"])
@pytest.mark.parametrize("options", [{"batch_size": 5}, {"vectors": 11, "batch_size": 5}, {"vectors": 5}], ids=str)
def test_shares_of_a_batch_add_up_to_it(name: str, options: dict[str, Any], count: int) -> None:
    method = make(TRAINED[name], gaussian(2, 4, 6), optimizer=ADAM, ranks=[1, 3], probes="uniform", **options)

    def descend() -> list[Tensor]:
        return [method.descend(2), *(parameter.grad for parameter in method.parameters() if parameter.grad is not None)]

    expected, parts = descend(), []
    for place in range(count):
        method.processes = Share(count, place)
        parts.append(descend())
    assert len(expected) > 2
    torch.testing.assert_close([sum(part) for part in zip(*parts, strict=True)], expected, rtol=1e-12, atol=1e-14)


def test_jobs_are_stacked_where_nothing_else_depends_on_the_rank() -> None:
    adam, lbfgs = ADAM, functools.partial(torch.optim.LBFGS, lr=1.0)
    keys = [method.stack_key(2, RiemannianCG, {}) for method in (Factorization, Completion, FactorizedLinear)]
    assert None not in keys
    for method in (Factorization, Completion, FactorizedLinear):
        assert method.stack_key(2, adam, {"max_steps": 3}) == method.stack_key(5, adam, {"max_steps": 3}) is not None
        assert method.stack_key(2, lbfgs, {}) is method.stack_key(2, torch.optim.LBFGS, {}) is None
    assert SVD.stack_key(2, None, {"solver": "gram"}) == SVD.stack_key(3, None, {"solver": "gram"}) is not None
    assert Classifier.stack_key(2, adam, {}) is None
    for hidden, stacked in (("paper", True), ([8], True), ("powers_of_two", False)):
        one, other = (BottleneckNet.stack_key(rank, adam, {"hidden": hidden}) for rank in (2, 3))
        assert (one == other) == stacked
        assert one is not None
        assert BottleneckNet.stack_key(2, lbfgs, {"hidden": hidden}) is None


def test_members_stop_by_themselves() -> None:
    target = torch.stack([torch.eye(8, dtype=torch.float64), gaussian(8, 8)])
    method = fit(make(Factorization, target, 3, tolerance=1e-9))
    assert method.driver.steps[0] < method.driver.steps[1] < 500
    assert all(method.stop_reason(member).startswith("converged") for member in range(2))
    check_against_lapack(method, target)


def test_steps_end_at_the_limit() -> None:
    method = fit(make(Factorization, gaussian(1, 8, 8), max_steps=7))
    assert method.driver.steps.tolist() == [7]
    assert method.stop_reason(0) == "stopped at method.max_steps=7"


@pytest.mark.parametrize(
    ("every", "expected"),
    [(5, [0, 5, 10, 12]), (None, [0, *range(1, 13)]), (100, [0, 12])],
)
def test_errors_are_recorded_at_the_cadence(every: int | None, expected: list[int]) -> None:
    histories = [History(None), History(None)]
    target = gaussian(2, 7, 6)
    method = make(Factorization, target, max_steps=12, record_every=every)
    fit(method, logger=StackLogger(histories))
    for member, history in enumerate(histories):
        assert history.column("relative_2norm")[0] == expected
        _, excess = history.column("excess_frobenius")
        assert min(excess) >= -1e-12
        _, losses = history.column("train/loss")
        residual = np.linalg.norm(products(method)[member] - target[member].numpy())
        np.testing.assert_allclose(losses[-1], residual**2, rtol=1e-9)


@pytest.mark.parametrize("name", ["factorization", "bottleneck", "factorized_linear"])
@pytest.mark.parametrize("optimizer", [RiemannianCG, ADAM])
def test_loss_and_errors_of_a_record_are_of_one_state(name: str, optimizer: Any) -> None:
    target = 30 * gaussian(1, 6, 5)
    history = History(None)
    method = make(TRAINED[name], target, optimizer=optimizer, max_steps=9, record_every=1)
    fit(method, logger=StackLogger([history]))
    # Without noise the mean squared error is that of the factors, over the outputs.
    errors = np.array(history.column("relative_frobenius")[1]) * float(torch.linalg.matrix_norm(target))
    expected = errors**2 / (1 if name == "factorization" else 6)
    losses = np.array(history.column("train/loss")[1])
    np.testing.assert_allclose(losses, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["bottleneck", "factorized_linear"])
@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_solver_finds_the_minimizer_on_the_probes_given(name: str, law: str) -> None:
    target = gaussian(1, 6, 5)
    method: Any = fit(make(TRAINED[name], target, probes=law, vectors=40, tolerance=1e-10))
    x = method.probes.all[0].numpy()
    root = scipy.linalg.sqrtm(x.T @ x / len(x))
    u, s, vh = scipy.linalg.svd(target[0].numpy() @ root)
    best = (u[:, :2] * s[:2]) @ vh[:2] @ scipy.linalg.inv(root)
    np.testing.assert_allclose(products(method)[0], best, atol=1e-7)


@pytest.mark.parametrize("name", ["factorization", "completion"])
def test_single_precision_comes_near(name: str) -> None:
    target = gaussian(2, 10, 10)
    method = fit(make(TRAINED[name], target, dtype=torch.float32, tolerance=1e-10), precision="32-true")
    assert all(parameter.dtype == torch.float32 for parameter in method.parameters())
    check_against_lapack(method, target, atol=1e-5)


@pytest.mark.parametrize(
    "optimizer", [functools.partial(EntrywiseSGD, lr=0.01), functools.partial(torch.optim.SGD, lr=0.01)]
)
def test_member_that_diverges_keeps_a_finite_state_and_harms_no_other(optimizer: Any) -> None:
    target = gaussian(3, 5, 4)
    options: dict[str, Any] = {"optimizer": optimizer, "initialization": "uniform", "max_steps": 60}
    if optimizer.func is torch.optim.SGD:
        # Gradient methods see targets at unit scale, so it is the start that is out of bounds.
        options["initialization"] = "normal"
        method = make(Factorization, target, **options)
        assert isinstance(method, Factorization)
        method.left.data[1] *= 1e3
    else:
        target[1] *= 1e4
        method = make(Factorization, target, **options)
    fit(method)
    assert method.driver.diverged.tolist() == [False, True, False]
    assert method.stop_reason(1).startswith("diverged after")
    assert all(parameter.isfinite().all() for parameter in method.parameters())
    assert method.driver.steps[1] < 60
    for member in (0, 2):
        part = slice(member, member + 1)
        alone = fit(make(Factorization, target[part], **options, seeds=[member]))
        assert not alone.driver.diverged.any()
        np.testing.assert_allclose(products(method)[member], products(alone)[0], rtol=1e-12)
        for key, error in measured(method).items():
            np.testing.assert_allclose(error[member], measured(alone)[key][0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["factorization", "bottleneck", "factorized_linear"])
@pytest.mark.parametrize("lr", [1e1, 1e3, 1e6])
def test_run_that_diverges_says_so_and_keeps_finite_errors(name: str, lr: float) -> None:
    method = fit(make(TRAINED[name], gaussian(1, 5, 5), optimizer=functools.partial(torch.optim.SGD, lr=lr)))
    assert method.stop_reason(0).startswith("diverged after")
    assert method.driver.diverged.tolist() == [True]
    assert np.isfinite(products(method)).all()
    assert all(error.isfinite().all() for error in measured(method).values())


class SaveAt(Callback):
    """Keeps the state of one moment in the middle of a run, as a run that is killed leaves it."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, MatrixMethod)
        if pl_module.driver.step_count == self.step:
            trainer.save_checkpoint(self.path)


RESUMED: dict[str, tuple[Make, Any]] = {
    "adam": (Factorization, ADAM),
    "riemannian_cg": (Factorization, RiemannianCG),
    "entrywise_sgd": (Factorization, functools.partial(EntrywiseSGD, lr=0.01)),
    "bottleneck adam": (functools.partial(BottleneckNet, probes="gaussian", batch_size=8), ADAM),
    "bottleneck riemannian_cg": (BottleneckNet, RiemannianCG),
    "factorized_linear riemannian_cg": (FactorizedLinear, RiemannianCG),
    "completion riemannian_cg": (Completion, RiemannianCG),
}


@pytest.mark.parametrize("moment", ["end", "middle"])
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_goes_on_to_the_same_iterates(name: str, moment: str, tmp_path: Path) -> None:
    method, optimizer = RESUMED[name]
    target, path = gaussian(2, 8, 7), tmp_path / "last.ckpt"
    build = functools.partial(make, method, target, ranks=[2, 3], optimizer=optimizer, record_every=4)
    if method is Completion:
        build = functools.partial(build, observed=gaussian(2, 8, 7, seed=3) < 1.0)
    whole = fit(build(max_steps=20))
    if moment == "end":
        fit(build(max_steps=8), callbacks=[LastState(path)])
    else:
        fit(build(max_steps=20), callbacks=[SaveAt(path, 8)])
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["eckart"]["step_count"] == 8
    resumed = fit(build(max_steps=20), checkpoint=path)
    assert resumed.driver.steps.tolist() == whole.driver.steps.tolist() == [20, 20]
    np.testing.assert_allclose(products(resumed), products(whole), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(resumed.driver.loss, whole.driver.loss, rtol=1e-10)


def test_resumed_run_that_was_done_stays_as_it_is(tmp_path: Path) -> None:
    target, path = gaussian(1, 8, 7), tmp_path / "last.ckpt"
    done = fit(make(Factorization, target, tolerance=1e-9), callbacks=[LastState(path)])
    resumed = fit(make(Factorization, target, tolerance=1e-9), checkpoint=path)
    np.testing.assert_array_equal(products(resumed), products(done))
    assert resumed.driver.steps.tolist() == done.driver.steps.tolist()
    check_against_lapack(resumed, target)


def test_factorized_linear_layer_does_what_its_teacher_does() -> None:
    target = gaussian(1, 10, 2) @ gaussian(1, 2, 10, seed=1)
    method = fit(make(FactorizedLinear, target, 2, tolerance=1e-10))
    assert isinstance(method, FactorizedLinear)
    layer = method.layer()
    assert isinstance(layer, LowRankLinear)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * (10 + 10) + 10
    x = gaussian(50, 10, seed=9)
    expected = x.numpy() @ target[0].numpy().T + method.teacher_bias[0].numpy()
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-7)
    np.testing.assert_allclose(method(x[None])[0].detach(), expected, atol=1e-7)
    assert measured(method)["largest_output_difference"] < 1e-7


def test_factorized_linear_can_start_at_the_optimum() -> None:
    target = gaussian(1, 9, 7)
    method = fit(make(FactorizedLinear, target, 3, initialization="svd", tolerance=1e-10))
    assert method.driver.steps.tolist() == [0]
    check_against_lapack(method, target)


def test_completion_never_sees_held_out_entries() -> None:
    target = gaussian(1, 12, 2) @ gaussian(1, 2, 10, seed=1)
    observed = torch.from_numpy(np.random.default_rng(0).random((1, 12, 10)) < 0.8)
    changed = torch.where(observed, target, 5 * gaussian(1, 12, 10, seed=4))
    first, second = (fit(make(Completion, part, observed=observed, tolerance=1e-12)) for part in (target, changed))
    np.testing.assert_array_equal(products(first), products(second))
    errors = measured(first)
    assert errors["relative_observed"] < 1e-8
    assert errors["relative_held_out"] < 1e-8
    residual = changed[0].numpy() - products(second)[0]
    held_out = ~observed[0].numpy()
    expected = np.linalg.norm(residual[held_out]) / np.linalg.norm(changed[0].numpy()[held_out])
    np.testing.assert_allclose(measured(second)["relative_held_out"], expected, rtol=1e-9)


def test_completion_warns_where_the_entries_do_not_determine_the_matrix() -> None:
    observed = torch.tensor([[[1, 1, 1], [0, 1, 1], [1, 0, 1]]]).bool()
    message = "^7 entries are observed, fewer than the 8 degrees of freedom of a 3×3 matrix of rank 2: many matrices"
    with pytest.warns(UserWarning, match=message):
        method = make(Completion, gaussian(1, 3, 3), 2, observed=observed, tolerance=1e-12)
    assert measured(fit(method))["relative_observed"] < 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(Completion, gaussian(1, 3, 3), 1, observed=observed)


LAWS: dict[str, Callable[[int, int], float]] = {
    "he_normal": lambda before, after: math.sqrt(2 / before),
    "he_uniform": lambda before, after: math.sqrt(2 / before),
    "glorot_normal": lambda before, after: math.sqrt(2 / (before + after)),
    "glorot_uniform": lambda before, after: math.sqrt(2 / (before + after)),
    "orthogonal": lambda before, after: 1 / math.sqrt(max(before, after)),
}


@pytest.mark.parametrize("law", INITIALIZATIONS)
def test_initial_weights_follow_keras(law: str) -> None:
    target = torch.ones(2, 60, 300, dtype=torch.float64)
    method = make(BottleneckNet, target, ranks=[40, 50], hidden=[200], initialization=law, vectors=None)
    assert isinstance(method, BottleneckNet)
    for member, rank in enumerate([40, 50]):
        for weight, (before, after) in zip(method.net.weights, itertools.pairwise([300, 200, rank, 60]), strict=True):
            drawn = weight[member].detach()
            assert (drawn[after:] == 0).all()
            assert (drawn[:, before:] == 0).all()
            own = drawn[:after, :before].numpy()
            deviation = LAWS[law](before, after)
            assert own.std() == pytest.approx(deviation, rel=0.05)
            assert abs(own.mean()) < 5 * deviation / math.sqrt(own.size)
            if law.endswith("normal"):
                # Keras's scale of a normal cut off at two deviations.
                assert 1.9 * deviation < np.abs(own).max() * 0.87962566103423978 <= 2 * deviation * (1 + 1e-12)
            if law.endswith("uniform"):
                assert 1.7 * deviation < np.abs(own).max() <= math.sqrt(3) * deviation
            if law == "orthogonal":
                gram = own @ own.T if before >= after else own.T @ own
                np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


@pytest.mark.parametrize(
    ("hidden", "rank", "rows", "cols", "widths"),
    [
        ("powers_of_two", 2, 10, 10, [10, 8, 4, 2, 4, 8, 10]),
        ("powers_of_two", 5, 10, 10, [10, 8, 5, 8, 10]),
        ("powers_of_two", 9, 10, 10, [10, 9, 10]),
        ("powers_of_two", 10, 256, 256, [256, 128, 64, 32, 16, 10, 16, 32, 64, 128, 256]),
        ("powers_of_two", 1, 3, 20, [20, 16, 8, 4, 2, 1, 2, 3]),
        ("paper", 10, 400, 300, [300, 300, 10, 400]),
        ([7, 6], 3, 5, 8, [8, 7, 6, 3, 5]),
        ([], 3, 5, 8, [8, 3, 5]),
    ],
)
def test_widths(hidden: str | list[int], rank: int, rows: int, cols: int, widths: list[int]) -> None:
    found, place = layer_widths(hidden, rank, rows, cols)
    assert found == widths
    assert found[place] == rank == min(found)


@pytest.mark.parametrize("hidden", ["paper", "powers_of_two", [6], []])
@pytest.mark.parametrize("initialization", ["he_normal", "orthogonal"])
def test_nets_of_all_widths_reach_the_optimum(hidden: Any, initialization: str) -> None:
    target = gaussian(2, 7, 9)
    ranks = [4, 4] if hidden == "powers_of_two" else [2, 4]
    options: dict[str, Any] = {"ranks": ranks, "hidden": hidden, "initialization": initialization}
    method = fit(make(BottleneckNet, target, **options, tolerance=1e-10))
    check_against_lapack(method, target, atol=1e-7)
    assert isinstance(method, BottleneckNet)
    x = gaussian(2, 4, 9, seed=3)
    np.testing.assert_allclose(method(x).detach(), x.numpy() @ products(method).transpose(0, 2, 1), atol=1e-10)


ERRORS: list[tuple[Make, dict[str, Any], str]] = [
    (Factorization, {"rank": 6}, "The rank must satisfy 1 <= rank <= min(m, n) = 5. Found 6."),
    (Factorization, {"rank": 0}, "The rank must satisfy 1 <= rank <= min(m, n) = 5. Found 0."),
    (Factorization, {"max_steps": 0}, "max_steps must be an integer of at least 1. Found 0."),
    (Factorization, {"record_every": 0}, "record_every must be an integer of at least 1. Found 0."),
    (Factorization, {"tolerance": -1.0}, "tolerance must not be negative. Found -1.0."),
    (
        Factorization,
        {"initialization": "zeros"},
        "initialization must be one of: normal, uniform. Found 'zeros'.",
    ),
    (
        Completion,
        {"initialization": "zeros"},
        "initialization must be one of: normal, uniform. Found 'zeros'.",
    ),
    (
        BottleneckNet,
        {"initialization": "zeros"},
        "initialization must be one of: he_normal, glorot_normal, he_uniform, glorot_uniform, orthogonal. "
        "Found 'zeros'.",
    ),
    (
        FactorizedLinear,
        {"initialization": "zeros"},
        "initialization must be one of: random, svd. Found 'zeros'.",
    ),
    (
        BottleneckNet,
        {"hidden": "deep"},
        "hidden must be paper, powers_of_two or a list of widths. Found 'deep'.",
    ),
    (Factorization, {"width": 1}, "The width of a stack must be at least its largest rank, 2. Found 1."),
    (
        BottleneckNet,
        {"hidden": "powers_of_two", "width": 3},
        "hidden=powers_of_two stacks nets of one rank alone. Found ranks [2].",
    ),
    (BottleneckNet, {"hidden": [9, 1]}, "The widths of hidden must be at least the rank, 2. Found 1."),
    (
        BottleneckNet,
        {"probes": "cauchy"},
        "probes must be one of: gaussian, uniform, orthogonal. Found 'cauchy'.",
    ),
    (BottleneckNet, {"vectors": 1}, "vectors must be at least the rank, 2. Found 1."),
    (
        BottleneckNet,
        {"vectors": 5, "transpose": True},
        "vectors must be a number below the n = 5 columns where transpose=true. Found 5.",
    ),
    (BottleneckNet, {"stop": "never"}, "stop must be one of: gradient, excess. Found 'never'."),
]


@pytest.mark.parametrize(("method", "options", "message"), ERRORS)
def test_errors_state_the_law_and_the_value(method: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(method, gaussian(1, 6, 5), **options)


@pytest.mark.parametrize("name", TRAINED)
def test_target_of_zeros_is_refused(name: str) -> None:
    zeros = torch.zeros(1, 3, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"must not (all be|be all) zero"):
        make(TRAINED[name], zeros).configure_optimizers()
    with pytest.raises(ValueError, match=r"^The target must not be all zero: .* Found norm 0\.$"):
        Reference(Dense(zeros), [1])


def test_observed_zeros_are_refused() -> None:
    target = torch.eye(3, dtype=torch.float64)[None]
    message = r"^The entries that are seen must not be all zero, or none\. Found norm 0\.$"
    for observed in (target == 0, torch.zeros(1, 3, 3).bool()):
        with pytest.raises(ValueError, match=message), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(Completion, target, 1, observed=observed)


def test_solver_needs_probes_that_stay() -> None:
    with pytest.raises(ValueError, match=r"^This optimizer needs probes that stay the same: .* Found fresh ones"):
        fit(make(BottleneckNet, gaussian(1, 6, 5), probes="gaussian"))


def test_unknown_solver_of_the_svd_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^solver must be one of: auto, exact, gram, randomized\. Found 'fast'\.$"):
        make(SVD, gaussian(1, 3, 3), ranks=[1], seeds=[0], solver="fast")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": [7]}, "The rank must satisfy 1 <= rank <= min(m, n) = 6. Found 7."),
        ({"epochs": 0}, "epochs must be an integer of at least 1. Found 0."),
        ({"hidden": [5, 0]}, "hidden must be an integer of at least 1. Found 0."),
        ({"optimizer": RiemannianCG}, "The classifier needs an optimizer like optimizer=adam. Found RiemannianCG."),
    ],
)
def test_errors_of_the_classifier(options: dict[str, Any], message: str) -> None:
    good = {
        "inputs": gaussian(1, 20, 6).float(),
        "labels": torch.arange(20)[None] % 3,
        "ranks": [2],
        "seeds": [0],
        "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
    }
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Classifier(**{**good, **options})


def test_classifier_projects_on_the_leading_singular_vectors() -> None:
    inputs = gaussian(1, 40, 6).float()
    adam = functools.partial(torch.optim.Adam, lr=0.1)
    state = torch.random.get_rng_state()
    method, again, other = (
        Classifier(inputs, torch.arange(40)[None] % 3, ranks=[2], seeds=[seed], optimizer=adam) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    _, _, vh = scipy.linalg.svd(inputs[0].double().numpy(), full_matrices=False)
    x = gaussian(5, 6, seed=2)
    reduced = x.numpy() @ vh[:2].T @ vh[:2]
    np.testing.assert_allclose(method(x).detach(), method.net(torch.from_numpy(reduced).float()).detach(), atol=1e-5)
    assert torch.equal(method(x), again(x))
    assert not torch.equal(method(x), other(x))


def test_layers_follow_a_solver_where_somebody_can_look_at_them() -> None:
    target = gaussian(2, 7, 6)

    class Looking(Callback):
        looks = 0

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.looks += 1
            for found, expected in zip(pl_module.net.factors(), pl_module.factors(), strict=True):
                torch.testing.assert_close(found.detach(), expected.detach())

    looking = Looking()
    conducted = fit(make(BottleneckNet, target, max_steps=12), callbacks=[looking])
    assert looking.looks == 12
    alone = make(BottleneckNet, target, max_steps=12)
    assert isinstance(alone, BottleneckNet) and isinstance(conducted, BottleneckNet)
    alone.learn()
    for method in (conducted, alone):
        for found, expected in zip(method.net.factors(), method.factors(), strict=True):
            torch.testing.assert_close(found.detach(), expected.detach())
    # The factors are the solver's own, however often the layers were set to them.
    for found, expected in zip(alone.factors(), conducted.factors(), strict=True):
        assert torch.equal(found, expected)
