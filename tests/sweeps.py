"""Sweeps that nobody trained: folders as many runs of eckart leave them, made as fast as the disk writes.

The targets are diagonal, so the optimum of each run is known in closed form. The errors of a training fall towards it
as those of real trainings do: geometrically, from a start that depends on the seed, down to the last bits.
"""

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf, open_dict
from safetensors.numpy import save_file

from eckart import config
from eckart.results import preview
from eckart.results.result import FACTORS, write_result

SIDE = 40
RANKS = (1, 2, 3, 5, 8, 13, 21, 30)
CLASSIFIER_RANKS = (2, 4, 8, 16, 32, 64)
# Decay of the logarithm of the excess in one step, and seconds of a step.
METHODS = {"bottleneck": (0.02, 4e-4), "factorization": (0.03, 2e-4), "factorized_linear": (0.01, 5e-4), "svd": (0, 0)}
EPOCHS = 10
_RANK, _SEED = 987654321, 123456789


@dataclass(frozen=True)
class Planned:
    """A run that is to be written.

    Attributes:
        method: The method; ``classifier`` learns the digits, all others a diagonal matrix.
        rank: The rank.
        seed: The seed.
        status: As in ``result.json``; ``unfinished`` leaves no result at all.
        error: One line on why it failed.
        folder: Name of its folder; None: as a sweep over method, rank and seed names it.
        settings: Values of the config that are not those of the method's defaults, by dotted name.
        fields: Fields of the result that are not those of the run.
    """

    method: str
    rank: int
    seed: int
    status: str = "completed"
    error: str | None = None
    folder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Template:
    config: dict[str, Any]
    texts: dict[str, str]


def planned(runs: int) -> list[Planned]:
    """Runs of one sweep: methods × ranks × seeds, a tenth of them classifiers, some that failed and some that diverged.

    Args:
        runs: How many.
    """
    classifiers = itertools.islice(
        (Planned("classifier", rank, seed) for seed in itertools.count() for rank in CLASSIFIER_RANKS), runs // 10
    )
    matrices = itertools.islice(
        (_matrix_run(method, rank, seed) for seed in itertools.count() for rank in RANKS for method in METHODS),
        runs - runs // 10,
    )
    return sorted([*matrices, *classifiers], key=lambda run: (run.method, run.rank, run.seed))


def plant(folder: Path, runs: list[Planned], points: int = 200) -> dict[Path, dict[str, Any] | None]:
    """Write runs as jobs of a sweep.

    Args:
        folder: The folder of the sweep, which is made.
        runs: What to write.
        points: Rows of the history of a training.

    Returns:
        The results by the folder of the job; None for a run that has not finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    templates = {method: _template(method, folder) for method in dict.fromkeys(run.method for run in runs)}
    (folder / "multirun.yaml").write_text(next(iter(templates.values())).texts["multirun.yaml"], encoding="utf-8")
    # Each result waits for the disk.
    with ThreadPoolExecutor(8) as pool:
        return dict(pool.map(lambda run: _write(folder, run, templates[run.method], points), runs))


def _matrix_run(method: str, rank: int, seed: int) -> Planned:
    if method != "svd" and seed % 17 == 16:
        return Planned(method, rank, seed, "diverged", "diverged after 4 steps: its loss is no longer finite")
    if rank == RANKS[-1] and seed % 11 == 10:
        law = f"The rank must satisfy 1 <= rank <= min(m, n) = {SIDE}. Found 99."
        return Planned(method, 99, seed, "failed", law)
    return Planned(method, rank, seed)


def _template(method: str, folder: Path) -> _Template:
    """Config of a method as Hydra composes it, with a rank and a seed that are replaced in each run."""
    config.register()
    data = ["data=digits"] if method == "classifier" else ["data=diagonal", f"data.rows={SIDE}"]
    overrides = [f"method={method}", *data, f"rank={_RANK}", f"seed={_SEED}"]
    if method == "classifier":
        overrides.append(f"method.epochs={EPOCHS}")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        whole = compose("train", [*overrides, "hydra.mode=MULTIRUN"], return_hydra_config=True)
    with open_dict(whole):
        whole.hydra.sweep.dir = str(folder)
        whole.hydra.job.id, whole.hydra.job.num = "0", 0
        whole.hydra.runtime.output_dir = str(folder / "0")
    HydraConfig.instance().set_config(whole)
    own = copy.deepcopy(whole)
    with open_dict(own):
        del own["hydra"]
    hydra = OmegaConf.create({"hydra": OmegaConf.to_container(whole.hydra, resolve=False)})
    return _Template(
        config.plain(own),
        {
            "config.yaml": OmegaConf.to_yaml(own),
            "hydra.yaml": OmegaConf.to_yaml(hydra),
            "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(overrides)),
            "multirun.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": _swept(hydra), **own})),
        },
    )


def _swept(hydra: DictConfig) -> DictConfig:
    swept = copy.deepcopy(hydra.hydra)
    ranks, seeds = ",".join(map(str, RANKS)), "0,1,2"
    swept.overrides.task = ["method=" + ",".join(METHODS), f"data.rows={SIDE}", f"rank={ranks}", f"seed={seeds}"]
    return swept


def _write(folder: Path, run: Planned, template: _Template, points: int) -> tuple[Path, dict[str, Any] | None]:
    job = folder / (run.folder or f"method={run.method},rank={run.rank},seed={run.seed}")
    (job / ".hydra").mkdir(parents=True)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        text = template.texts[name].replace(str(_RANK), str(run.rank)).replace(str(_SEED), str(run.seed))
        (job / ".hydra" / name).write_text(text, encoding="utf-8")
    settings = copy.deepcopy(template.config) | {"rank": run.rank, "seed": run.seed}
    settings["data"]["seed"] = run.seed
    for name, value in run.settings.items():
        *groups, last = name.split(".")
        node = settings
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    measured: dict[str, Any] = {}
    if run.status != "failed":
        measured, columns = _learned(run) if run.method == "classifier" else _trained(run, points)
        (job / "history.csv").write_text("".join(_csv(columns)), encoding="utf-8")
        factors = _factors(run.rank)
        save_file(factors, job / FACTORS)
        product = factors["left"] @ factors["right"]
        preview.write(job, np.diag(np.arange(SIDE)), product, product, shape=(SIDE, SIDE), rank=run.rank)
    if run.status == "unfinished":
        return job, None
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    identity = {
        "status": run.status,
        "error": run.error,
        "method": run.method,
        "data": "digits" if run.method == "classifier" else "diagonal",
        "rank": run.rank,
        "seed": run.seed,
        "fingerprint": digest,
        "config": settings,
        "versions": {"python": "3.11.7", "torch": "2.14.1", "eckart": "0.1.0"},
    }
    return job, write_result(job, identity | measured | dict(run.fields))


def _trained(run: Planned, points: int) -> tuple[dict[str, Any], dict[str, NDArray[np.float64] | list[int]]]:
    rng = np.random.default_rng([run.rank, run.seed, len(run.method)])
    spectrum = np.arange(SIDE - 1, -1, -1.0)
    norm = float(np.linalg.norm(spectrum))
    best = {"2norm": spectrum[run.rank] / spectrum[0], "frobenius": float(np.linalg.norm(spectrum[run.rank :])) / norm}
    rate, seconds = METHODS[run.method]
    if run.status == "diverged":
        steps = list(range(5))
        growth = np.array([0.6, 7e3, 4e15, 5e50, 5e50])
        excess = {"2norm": growth * 2, "frobenius": growth}
    elif run.method == "svd":
        steps = [0, 1]
        excess = {name: np.array([1 - value, 1.1e-16]) for name, value in best.items()}
    else:
        # As History records: ever further apart.
        steps = sorted({int(step**1.4) if step > 1 else step for step in range(points)})
        slope = rate * rng.uniform(0.7, 1.3) / math.sqrt(run.rank)
        start = rng.uniform(0.15, 0.4) * np.exp(-np.log1p(steps) / 2 - slope * np.array(steps))
        bumps = 1 + 0.2 * rng.uniform(-1, 1, len(steps))
        last_bits = 1e-16 * rng.integers(-2, 3, (2, len(steps)))
        excess = {"2norm": 1.3 * start * bumps + last_bits[0], "frobenius": start + last_bits[1]}
    errors = {name: best[name] + excess[name] for name in best}
    loss = (errors["frobenius"] * norm) ** 2 / SIDE
    if run.method == "svd":
        loss[0] = math.nan
    last = steps[-1]
    took = {"steps": last, "fit_seconds": last * seconds * run.rank**0.3 + 0.002, "total_seconds": last * seconds + 0.9}
    converged = abs(float(excess["frobenius"][-1])) < 1e-10
    stop = "converged: the gradient in the scaled metric is 8.2e-11, relative" if converged else "ran method.max_steps"
    measured = {
        "shape": [SIDE, SIDE],
        "loss": float(loss[-1]),
        "measured": "exact",
        "images": None if run.method == "factorization" else SIDE,
        "transpose_images": None if run.method == "factorization" else 0,
        "numerical_rank": run.rank,
        "target_rank": SIDE - 1,
        "parameters": 2 * SIDE * run.rank,
        "dense_parameters": SIDE * SIDE,
        "stop_reason": "computed" if run.method == "svd" else run.error or stop,
        **took,
        **{f"optimum_{name}": float(best[name]) for name in best},
        **{f"relative_{name}": float(errors[name][-1]) for name in best},
        **{f"excess_{name}": float(excess[name][-1]) for name in best},
    }
    columns = {"step": steps, "train/loss": loss}
    columns |= {f"relative_{name}": errors[name] for name in best} | {f"excess_{name}": excess[name] for name in best}
    return measured, columns


def _learned(run: Planned) -> tuple[dict[str, Any], dict[str, NDArray[np.float64] | list[int]]]:
    rng = np.random.default_rng([run.rank, run.seed])
    epochs = np.arange(1, EPOCHS + 1)
    reached = 0.97 - 0.6 * math.exp(-run.rank / 6)
    accuracy = reached * (1 - 0.7 * np.exp(-epochs / 3)) + rng.uniform(-0.01, 0.01, EPOCHS)
    loss = 2.3 * np.exp(-epochs * reached / 6) + rng.uniform(0, 0.03, EPOCHS)
    best = {"2norm": 0.3 / run.rank, "frobenius": 0.7 * math.exp(-run.rank / 12)}
    steps = [23 * int(epoch) for epoch in epochs]
    measured = {
        "shape": [1438, 64],
        "loss": float(loss[-1]),
        "measured": "exact",
        "numerical_rank": run.rank,
        "target_rank": 61,
        "parameters": 1502 * run.rank,
        "dense_parameters": 92032,
        "steps": steps[-1],
        "stop_reason": f"ran method.epochs={EPOCHS}",
        "fit_seconds": 0.2 + 0.001 * run.rank,
        "total_seconds": 1.5,
        "accuracy": float(accuracy[-1]),
        "train_loss_sum_per_epoch": [float(value) for value in 23 * loss],
        **{f"{kind}_{name}": value for name, value in best.items() for kind in ("optimum", "relative")},
        **{f"excess_{name}": 0.0 for name in best},
    }
    return measured, {
        "step": steps,
        "train/loss": loss,
        "train/loss_sum": 23 * loss,
        "accuracy": accuracy,
        "epoch": epochs.astype(np.float64),
    }


def _factors(rank: int) -> dict[str, NDArray[np.float64]]:
    width = min(rank, SIDE)
    left, right = np.zeros((SIDE, width)), np.zeros((width, SIDE))
    for column in range(width):
        left[SIDE - 1 - column, column], right[column, SIDE - 1 - column] = SIDE - 1 - column, 1
    return {"left": left, "right": right}


def _csv(columns: Mapping[str, NDArray[np.float64] | list[int]]) -> Iterator[str]:
    yield ",".join(columns) + "\n"
    lists = [column if isinstance(column, list) else column.tolist() for column in columns.values()]
    for row in zip(*lists, strict=True):
        yield ",".join(map(repr, row)) + "\n"
