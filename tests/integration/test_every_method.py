from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from commandline import SMALL, Train, choices, history
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from wandb_records import WandbRun, read_run

from eckart import config
from eckart.data.targets import low_rank, uniform
from eckart.results.numbers import fixed
from eckart.tracking.metrics import METRICS
from eckart.tracking.offline import read_offline_run

FIELDS = {
    *("status", "error", "method", "data", "rank", "seed", "shape", "loss"),
    *("relative_2norm", "relative_frobenius", "optimum_2norm", "optimum_frobenius", "excess_2norm"),
    *("excess_frobenius", "numerical_rank", "parameters", "dense_parameters", "steps", "fit_seconds"),
    *("total_seconds", "accuracy", "train_loss_sum_per_epoch", "wandb_run", "fingerprint", "config", "versions"),
}
FIGURES = ("relative_2norm", "relative_frobenius", "excess_2norm", "excess_frobenius")
RANK = 2
_logged: set[str] = set()


# Those that train a net have a test of their own.
MATRIX_METHODS = [name for name in choices("method") if config.settings_of("method", name).needs != config.NETS]


@pytest.mark.parametrize("method", MATRIX_METHODS)
def test_a_run_leaves_all_that_it_promises(method: str, train: Train) -> None:
    node = _composed(method)
    labeled = node.needs == "labels"
    data = ["data=digits"] if labeled else SMALL
    short = [f"method.{key}={value}" for key, value in (("max_steps", 200), ("epochs", 2)) if key in node]
    if node.needs == "entries":
        # Enough of them for some to be withheld, of a matrix that they determine.
        short = []
        data = ["data=low_rank", "data.rows=12", "data.cols=9", "data.rank=2", "data.observed=0.8"]
    logger = ("logger=wandb", "logger.wandb.tags=[mine]", "logger.wandb.notes=why")
    ended = train(f"method={method}", *data, f"rank={RANK}", "seed=3", *logger, *short)
    assert (ended.code, ended.stderr) == (0, "")

    target = _digits() if labeled else uniform(12, 9, seed=3).numpy()
    if node.needs == "entries":
        target = low_rank(12, 9, rank=2, seed=3).numpy()
    result = ended.result
    _check_result(result, target)
    assert (result["method"], result["data"], result["seed"]) == (method, data[0].removeprefix("data="), 3)
    factors = load_file(ended.folder / "factors.safetensors")
    assert factors.keys() == {"left", "right"}
    assert factors["left"].shape == (len(target), RANK) and factors["right"].shape == (RANK, target.shape[1])
    _check_errors(result, target, factors["left"] @ factors["right"])
    assert result["numerical_rank"] == np.linalg.matrix_rank(factors["left"] @ factors["right"])

    _check_history(history(ended.folder), result)
    checkpoint = torch.load(ended.folder / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"].keys() and "eckart" in checkpoint
    _check_figures(ended.folder / "figures")
    written = OmegaConf.load(ended.folder / ".hydra" / "config.yaml")
    kept = OmegaConf.to_container(written, resolve=True)
    assert isinstance(kept, dict)
    # A rank that is given needs no rule.
    kept.pop("selection")
    assert kept == result["config"]
    _check_wandb(ended.folder, result, epochs=labeled)
    assert ended.folder.name in ended.stdout
    assert fixed(result["relative_frobenius"], 10) in ended.stdout


def _composed(method: str) -> DictConfig:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return compose("train", [f"method={method}"]).method  # type: ignore[no-any-return]


def _digits() -> npt.NDArray[np.float64]:
    inputs: npt.NDArray[np.float64] = load_digits().data
    train = np.arange(len(inputs)) % 5 != 4
    return np.asarray(inputs[train], dtype=np.float64)


def _check_result(result: dict[str, Any], target: npt.NDArray[np.float64]) -> None:
    rows, cols = target.shape
    assert result.keys() >= FIELDS
    assert (result["status"], result["error"], result["rank"]) == ("completed", None, RANK)
    assert result["shape"] == [rows, cols]
    assert result["parameters"] == RANK * (rows + cols) and result["dense_parameters"] == rows * cols
    assert result["steps"] >= 1 and 0 < result["fit_seconds"] < result["total_seconds"]
    assert result["config"]["rank"] == RANK and torch.__version__.startswith(result["versions"]["torch"])


def _check_errors(
    result: dict[str, Any], target: npt.NDArray[np.float64], approximation: npt.NDArray[np.float64]
) -> None:
    spectrum = np.linalg.svd(target, compute_uv=False)
    for name, order, size, best in (
        ("2norm", 2, spectrum[0], spectrum[RANK]),
        ("frobenius", "fro", np.linalg.norm(spectrum), np.linalg.norm(spectrum[RANK:])),
    ):
        error = np.linalg.norm(target - approximation, order) / size  # type: ignore[arg-type]
        assert result[f"relative_{name}"] == pytest.approx(error, abs=1e-10)
        assert result[f"optimum_{name}"] == pytest.approx(best / size, abs=1e-12)
        assert result[f"relative_{name}"] >= result[f"optimum_{name}"] - 1e-12
        excess = result[f"relative_{name}"] - result[f"optimum_{name}"]
        assert result[f"excess_{name}"] == pytest.approx(excess, abs=1e-15)


def _check_history(rows: list[dict[str, str]], result: dict[str, Any]) -> None:
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == result["steps"]
    for name in ("train/loss", *FIGURES):
        values = [float(row[name]) for row in rows if row[name]]
        expected = result["loss" if name == "train/loss" else name]
        # While it trains, a large target's 2-norm is measured to 1e-6 only.
        assert values and values[-1] == pytest.approx(expected, rel=2e-6, abs=1e-12)


def _check_figures(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    assert {"approximation.png", "singular_values.png"} < {path.name for path in paths}
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG" and min(image.size) > 100
            image.load()
            assert len(image.convert("L").getcolors() or range(256)) > 2


def _check_wandb(folder: Path, result: dict[str, Any], epochs: bool) -> None:
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    assert Path(result["wandb_run"]) == path.parent
    run = read_run(path)
    assert run.project == "eckart"
    assert run.name == f"{result['method']}-{result['data']}-rank{RANK}-seed3"
    assert (run.job_type, run.tags, run.notes) == (result["method"], ["mine", result["method"], result["data"]], "why")
    assert run.exit_code == 0
    config = {name: value for name, value in run.config.items() if name != "_wandb"}
    chosen = config.pop("choices")
    assert config == result["config"]
    assert (chosen["method"], chosen["data"]) == (result["method"], result["data"])

    axes = {"step", "epoch", "rank"} if epochs else {"step", "rank"}
    # W&B 0.30 also writes the fields of each picture.
    assert {name: kept for name, kept in run.metrics.items() if not name.startswith("figures/")} == {
        "*": ("step", []),
        **{axis: ("", []) for axis in axes},
        **{
            name: (axis, [] if metric.summary == "last" else [metric.summary])
            for name, metric in METRICS.items()
            if (axis := metric.axis(epochs=epochs))
        },
    }
    logged = {key for row in run.history for key in row if not key.startswith("_")}
    assert any(key.startswith("figures/approximation") for key in logged)
    numbers = {key for key in logged if not key.startswith("figures/")}
    assert numbers - axes <= METRICS.keys() and axes <= numbers
    _logged.update(numbers - axes)
    # All that history.csv has, value by value, but for what is not known; and beside each error the optimum.
    rows = [{name: value for name, value in row.items() if name in numbers} for row in run.history]
    floor = {name: result[name] for name in ("optimum_2norm", "optimum_frobenius")}
    assert [row["step"] for row in rows] == [row["_step"] for row in run.history]
    expected = [
        {name: float(value) for name, value in row.items() if value not in ("", "nan")}
        | (floor if row["relative_frobenius"] else {})
        for row in history(folder)
    ]
    # For charts over ranks, the last row alone has the rank, and all errors.
    ends = {name: result[name] for name in METRICS if result.get(name) is not None}
    expected[-1] = {"rank": RANK, **ends, **expected[-1]}
    assert rows == expected
    for field in result.keys() - {"config", "wandb_run", "total_seconds"}:
        assert run.summary.get(field) == result[field]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert run.summary["train/loss"] == {"min": min(losses)}
    _check_reader(path, run)


def _check_reader(path: Path, run: WandbRun) -> None:
    """What the package reads of the file is what the tests' own reader reads."""
    found = read_offline_run(path)
    assert (found.problem, found.exit_code, list(found.tags)) == (None, run.exit_code, run.tags)
    assert found.config == {name: value for name, value in run.config.items() if name != "_wandb"}
    assert "train/loss" in found.history and found.media
    for name, (_, values) in found.history.items():
        assert values == [row[name] for row in run.history if name in row]


def test_each_metric_of_the_table_is_logged_by_some_method() -> None:
    if not _logged:
        pytest.skip("no method was run before")
    # Runs on ratings and of nets log these, as tests of their own see.
    assert _logged == METRICS.keys() - {"rmse", "mae", "validation_accuracy"}
