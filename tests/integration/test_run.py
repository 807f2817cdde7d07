import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import QUIET, SMALL, Train, history, result
from safetensors.numpy import load_file
from torch import Tensor

from eckart.data.targets import uniform
from eckart.methods.factorization import Factorization

DECIDED = ("loss", "relative_2norm", "relative_frobenius", "excess_2norm", "excess_frobenius")


def test_divergence_is_no_success(train: Train) -> None:
    ended = train("method=factorization", "optimizer=entrywise_sgd", "optimizer.lr=10", *SMALL, "rank=2", "logger=csv")
    result = ended.result
    assert ended.code == 1 and result["error"] in ended.line
    assert result["status"] == "diverged" and "diverged" in result["error"]
    factors = load_file(ended.folder / "factors.safetensors")
    assert all(np.isfinite(factor).all() for factor in factors.values())
    target = uniform(12, 9, seed=0).numpy()
    error = np.linalg.norm(target - factors["left"] @ factors["right"]) / np.linalg.norm(target)
    assert result["relative_frobenius"] == pytest.approx(error, rel=1e-12)
    assert float(history(ended.folder)[-1]["relative_frobenius"]) == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        ("method=factorization", "optimizer=riemannian_cg"),
        ("method=bottleneck", "optimizer=riemannian_cg"),
        ("method=factorization", "optimizer=adam"),
        ("method=bottleneck", "optimizer=adam", "method.vectors=null", "method.probes=gaussian"),
    ],
    ids=" ".join,
)
def test_a_checkpoint_goes_on_as_if_never_stopped(arguments: tuple[str, ...], train: Train) -> None:
    common = (*arguments, "data=gaussian", "data.rows=30", "data.cols=20", "rank=3", "logger=csv", "figures=false")
    whole = train(*common, "method.max_steps=20")
    part = train(*common, "method.max_steps=5")
    rest = train(*common, "method.max_steps=20", f"ckpt={part.folder / 'last.ckpt'}")
    assert (whole.code, part.code, rest.code) == (0, 0, 0)
    assert [ended.result["steps"] for ended in (whole, part, rest)] == [20, 5, 20]
    for field in DECIDED:
        assert rest.result[field] == pytest.approx(whole.result[field], rel=1e-12, abs=1e-12)
    assert part.result["loss"] != pytest.approx(whole.result["loss"], rel=1e-3)
    steps = [int(row["step"]) for row in history(rest.folder)]
    assert steps[0] == 5 and steps[-1] == 20
    assert part.result["fingerprint"] != whole.result["fingerprint"]


def test_a_classifier_goes_on_as_if_never_stopped(train: Train) -> None:
    common = ("method=classifier", "data=digits", "rank=4", *QUIET)
    whole = train(*common, "method.epochs=2").result
    part = train(*common, "method.epochs=1")
    rest = train(*common, "method.epochs=2", f"ckpt={part.folder / 'last.ckpt'}").result
    assert rest["train_loss_sum_per_epoch"] == pytest.approx(whole["train_loss_sum_per_epoch"], rel=1e-6)
    assert (rest["accuracy"], rest["steps"]) == (whole["accuracy"], whole["steps"])


def test_single_precision_is_measured_in_double(train: Train) -> None:
    ended = train(
        "method=factorization", "trainer.precision=32-true", "method.tolerance=1e-5", *SMALL, "rank=2", *QUIET
    )
    assert (ended.code, ended.stderr) == (0, "")
    factors = load_file(ended.folder / "factors.safetensors")
    assert factors["left"].dtype == factors["right"].dtype == np.float32
    target = uniform(12, 9, seed=0).numpy()
    approximation = factors["left"].astype(np.float64) @ factors["right"].astype(np.float64)
    error = np.linalg.norm(target - approximation) / np.linalg.norm(target)
    assert ended.result["relative_frobenius"] == pytest.approx(error, abs=1e-10)
    assert -1e-12 < ended.result["excess_frobenius"] < 1e-5


def test_a_collapsed_rank_is_warned_of(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Factorization.factors

    def collapsed(self: Factorization) -> tuple[Tensor, Tensor]:
        left, right = (factor.detach().clone() for factor in honest(self))
        left[:, :, 1:] = 0
        return left, right

    monkeypatch.setattr(Factorization, "factors", collapsed)
    ended = train("method=factorization", *SMALL, "rank=3", *QUIET)
    assert ended.code == 0 and ended.result["numerical_rank"] == 1
    assert ended.line == "warning: the approximation has numerical rank 1, below the rank 3 asked for"


def test_a_target_of_lower_rank_is_no_collapse(train: Train) -> None:
    ended = train(
        "method=factorization", "data=low_rank", "data.rows=12", "data.cols=9", "data.rank=2", "rank=3", *QUIET
    )
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.result["optimum_frobenius"] < 1e-14 and ended.result["relative_frobenius"] < 1e-7


def test_too_few_observed_entries_are_warned_of(train: Train) -> None:
    ended = train("method=completion", "data.observed=0.2", "method.max_steps=5", *SMALL, "rank=3", *QUIET)
    assert ended.code == 0
    assert ended.line.startswith("warning: 22 entries are observed, fewer than the 54 degrees of freedom")


@pytest.mark.parametrize(
    ("arguments", "left_behind"),
    [
        (("logger=none", "figures=false"), {"factors.safetensors", "last.ckpt", "result.json"}),
        (("logger=csv", "figures=false"), {"factors.safetensors", "history.csv", "last.ckpt", "result.json"}),
        (
            ("logger=none", "figures=true"),
            {"factors.safetensors", "figures", "last.ckpt", "preview.png", "result.json"},
        ),
    ],
)
def test_only_what_was_asked_for_is_left(arguments: tuple[str, ...], left_behind: set[str], train: Train) -> None:
    ended = train("method=svd", "data=lab", "rank=1", *arguments)
    assert ended.code == 0
    visible = {path.name for path in ended.folder.iterdir() if not path.name.startswith(".")}
    assert visible == left_behind
    assert {path.name for path in ended.folder.iterdir()} - visible == {".hydra"}
    assert ended.result["wandb_run"] is None


def test_other_users_may_read_all_files(train: Train) -> None:
    mask = os.umask(0o022)
    try:
        folder = train("method=svd", "data=lab", "rank=1", "logger=csv").folder
    finally:
        os.umask(mask)
    files: list[Any] = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in files} == {
        str(path.relative_to(folder)): "0o644" for path in files
    }


def test_a_run_writes_in_its_folder_alone(train: Train, tmp_path: Path) -> None:
    train("method=svd", "data=lab", "rank=1", "logger=wandb", "figures=false")
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_checkpoint_with_nothing_left_to_do_is_refused(train: Train) -> None:
    part = train("method=factorization", "method.max_steps=3", *SMALL, "rank=2", *QUIET)
    again = train(
        "method=factorization", "method.max_steps=3", f"ckpt={part.folder / 'last.ckpt'}", *SMALL, "rank=2", *QUIET
    )
    assert again.code == 1
    assert again.line.startswith("method.max_steps must be above the 3 that ckpt=")


def test_a_checkpoint_of_another_optimizer_is_refused(train: Train) -> None:
    part = train("method=factorization", "method.max_steps=3", *SMALL, "rank=2", *QUIET)
    other = train(
        "method=factorization", "optimizer=adam", f"ckpt={part.folder / 'last.ckpt'}", *SMALL, "rank=2", *QUIET
    )
    assert other.code == 1
    assert "must be of Factorization by Adam" in other.line and "Found Factorization by RiemannianCG" in other.line


def test_a_figure_that_cannot_be_drawn_loses_no_result(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr("eckart.results.figures.approximation", broken)
    ended = train("method=svd", *SMALL, "rank=2", "logger=none")
    assert ended.code == 0 and ended.result["status"] == "completed"
    assert "the result is whole, but not its figures: too large" in ended.stderr


HOLES = ("method=completion", "data=file", "data.path=holes.npy", "optimizer=riemannian_cg")


@pytest.fixture
def holes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = random.standard_normal((14, 2)) @ random.standard_normal((2, 11))
    np.save(tmp_path / "holes.npy", np.where(random.random(whole.shape) < 0.2, np.nan, whole))


@pytest.mark.usefixtures("holes")
def test_entries_that_are_missing_in_a_file(train: Train) -> None:
    ended = train(*HOLES, "rank=2", "logger=csv", "figures=true")
    assert (ended.code, ended.stderr) == (0, "")
    fields = ended.result
    assert fields["measured"] == "known on the observed entries alone" and fields["verdict"] == "recovered"
    assert fields["relative_observed"] < 1e-8 and fields["optimum_frobenius"] is fields["relative_held_out"] is None


@pytest.mark.usefixtures("holes")
def test_entries_held_out_of_a_file_with_missing_ones_are_measured(train: Train) -> None:
    ended = train("-m", *HOLES, "data.observed=0.9", "rank=1,2", *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    far, near = (result(folder)["relative_held_out"] for folder in ended.folders)
    assert near < 1e-8 < far


@pytest.mark.usefixtures("holes")
def test_a_rank_is_chosen_from_entries_some_of_which_are_missing(train: Train) -> None:
    ended = train(*HOLES, "rank=auto", *QUIET)
    assert (ended.code, ended.result["rank"]) == (0, 2)


def test_the_version_is_ours_and_that_of_hydra(train: Train) -> None:
    ended = train("--version")
    assert (ended.code, ended.folders) == (0, [])
    assert re.fullmatch(r"eckart \d\S*\nHydra \d\S*\n", ended.stdout)
