"""The claims of the source documents, trained again: with the document's recipe, and with this package's."""

import copy
import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from eckart import config, laws
from eckart.reproduction.claims import Claim, Point
from eckart.reproduction.verdicts import Verdict
from eckart.results.result import FACTORS
from eckart.runs.job import Job
from eckart.runs.stack import Stack

STACK = 90
"""Jobs that are trained as one tensor program, at most."""
_QUIET = ("figures=false", "trainer.enable_progress_bar=false")


@dataclass(frozen=True)
class Trained:
    """A finished job: its result, and the folder that holds its factors."""

    result: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class Row:
    """One value of a document beside the values that are trained here.

    Attributes:
        claim: The claim.
        point: The document's value.
        here: Values that the document's recipe gives here, by seed.
        ours: Values that our recipe gives, by seed.
        optima: Least value that any matrix of the rank gives, by seed of ours; None where it is not known.
        excess: Largest excess of our recipe over the proven optimum, in both norms; None where it has no meaning.
    """

    claim: Claim
    point: Point
    here: list[float]
    ours: list[float]
    optima: list[float | None]
    excess: float | None

    @property
    def margin(self) -> float | None:
        """Largest difference from the document's value with which it counts as reproduced."""
        return self.claim.margin(self.point, self.here)

    @property
    def verdict(self) -> tuple[Verdict, bool]:
        """Verdict on the document's value, and whether our recipe beats it."""
        claim, point = self.claim, self.point
        return claim.verdict(point, self.here), claim.beaten(point, self.here, self.ours, self.optima)


@dataclass(frozen=True)
class Comparison:
    """All rows of a claim, the runs that its pictures are drawn from, and the seconds that it took."""

    claim: Claim
    rows: list[Row]
    seconds: float
    document: Trained | None = None
    ours: Trained | None = None
    target: Trained | None = None
    truncated: Trained | None = None


@dataclass
class Reproduction:
    """Trains claims under one folder; runs that several claims share are trained once.

    Args:
        folder: Where the runs are written.
        seeds: Seeds of every claim; None takes each claim's own number.
    """

    folder: Path
    seeds: int | None = None
    _done: dict[str, Trained] = field(default_factory=dict)

    def missing(self, claim: Claim) -> str | None:
        """Line that says why a claim cannot be trained on this machine; None if it can."""
        _, base = _composed([f"experiment={claim.name}"])
        root = base.data.get("root")
        if root is None or (Path(root) / "MNIST" / "raw").is_dir():
            return None
        return f"{claim.name} is left out: MNIST is not under {root}. Set ECKART_DATA to the folder that holds it."

    def compare(self, claim: Claim) -> Comparison:
        """Train a claim in both recipes and compare it with its document, value by value."""
        began = time.perf_counter()
        points = claim.points
        experiment = f"experiment={claim.name}"
        own_recipe = _our_overrides(claim, *_composed([experiment]))
        document = self._train(claim, "document", points, [experiment])
        ours = self._train(claim, "ours", points, own_recipe)
        rows = []
        for point, theirs, own in zip(points, document, ours, strict=True):
            here = [self._value(point, trained) for trained in theirs]
            reached = [self._value(point, trained) for trained in own]
            optima = [_optimum(point.quantity, trained.result) for trained in own]
            excesses = [_excess(trained.result) for trained in own]
            known = [value for value in excesses if value is not None and not point.quantity.endswith("parameters")]
            excess = max(known, default=None)
            rows.append(Row(claim, point, here, reached, optima, excess))
        if "picture" not in claim.settings:
            return Comparison(claim, rows, time.perf_counter() - began)
        shown = [point.rank in (None, claim.settings["picture"]) for point in points].index(True)
        truncated, target = self._decompose(document[shown][0])
        seconds = time.perf_counter() - began
        return Comparison(claim, rows, seconds, document[shown][0], ours[shown][0], target, truncated)

    def _train(
        self, claim: Claim, recipe: str, points: Sequence[Point], overrides: Sequence[str]
    ) -> list[list[Trained]]:
        """Runs of each point, by seed. Points that differ in rank alone share their stacks."""
        count = self.seeds or claim.settings["seeds"]
        logger = "csv" if claim.settings.get("loss_curve") else "none"
        stacks: dict[tuple[str, ...], list[Job]] = {}
        jobs: list[list[Job]] = []
        for point in points:
            composed = (*overrides, *point.overrides, f"logger={logger}", *_QUIET)
            choices, base = _composed(composed)
            rank = point.rank or base.rank
            own = []
            for seed in range(count):
                cfg = copy.deepcopy(base)
                cfg.rank, cfg.seed = rank, seed
                name = config.folder_name(",".join([*point.overrides, f"rank={rank}", f"seed={seed}"]), seed)
                own.append(Job(cfg, choices, self.folder / "runs" / claim.name / recipe / name))
            jobs.append(own)
            stacks.setdefault(composed, []).extend(own)
        for stack in stacks.values():
            self._run(stack)
        return [[self._done[job.fingerprint] for job in own] for own in jobs]

    def _run(self, jobs: Iterable[Job]) -> None:
        from eckart.runs.run import run

        new = [job for key, job in {job.fingerprint: job for job in jobs}.items() if key not in self._done]
        for job in new[:1]:
            laws.check(job.config, job.choices)
        # Labeled samples are trained on alone: a classifier has no stack, and 60,000 images are a large target.
        size = 1 if new and new[0].config.data.get("labeled") else STACK
        for start in range(0, len(new), size):
            stack = new[start : start + size]
            for job, result in zip(stack, run(Stack(stack)), strict=True):
                if result["status"] != "completed":
                    raise ValueError(f"{job.folder}: {result['error']}.")
                self._done[job.fingerprint] = Trained(result, job.folder)

    def _decompose(self, trained: Trained) -> tuple[Trained, Trained]:
        """Truncated SVD of the target of a run, at the run's rank and in full."""
        choices, base = _composed([f"data={trained.result['data']}", "method=svd", "logger=none", *_QUIET])
        base.data = trained.result["config"]["data"]
        base.seed = base.data.seed = trained.result["seed"]
        jobs = []
        for rank in (trained.result["rank"], min(trained.result["shape"])):
            cfg = copy.deepcopy(base)
            cfg.rank = rank
            jobs.append(Job(cfg, choices, trained.folder.parent / f"svd,rank={rank}"))
        self._run(jobs)
        return self._done[jobs[0].fingerprint], self._done[jobs[1].fingerprint]

    def _value(self, point: Point, trained: Trained) -> float:
        result = trained.result
        if point.quantity == "squared_error":
            svd, _ = self._decompose(trained)
            squared_norm = svd.result["loss"] / svd.result["optimum_frobenius"] ** 2
            return float(result["relative_frobenius"] ** 2 * squared_norm)
        if point.quantity == "effective_rank":
            return _effective_rank(trained.folder)
        value = result[point.quantity]
        return float(value if point.place is None else value[point.place])


def product(folder: Path) -> Any:
    """Product of the factors of a run, as a numpy array of shape ``(m, n)``."""
    left, right = _factors(folder)
    return (left @ right).numpy()


def _our_overrides(claim: Claim, choices: dict[str, str], document: DictConfig) -> list[str]:
    """The document's method, data and rank with this package's defaults, except for what ``ours:`` sets."""
    own = list(claim.settings.get("ours", [f"method={choices['method']}"]))
    return [f"data={choices['data']}", *claim.data, f"rank={document.rank}", *own]


def _composed(overrides: Sequence[str]) -> tuple[dict[str, str], DictConfig]:
    """The choice in each group, and the config of a run without Hydra's own part."""
    choices, cfg = _compose_once(tuple(overrides))
    return choices, copy.deepcopy(cfg)


@functools.cache
def _compose_once(overrides: tuple[str, ...]) -> tuple[dict[str, str], DictConfig]:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides), return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    own = config.without_hydra(cfg)
    OmegaConf.set_struct(own, False)
    return choices, own


def _factors(folder: Path) -> tuple[Any, Any]:
    from safetensors.torch import load_file

    factors = load_file(folder / FACTORS)
    return factors["left"].double(), factors["right"].double()


def _effective_rank(folder: Path) -> float:
    from eckart.linalg.svd import factor_singular_values

    values = factor_singular_values(*_factors(folder))
    return float((values > 0.01 * values[0]).sum())


def _excess(result: dict[str, Any]) -> float | None:
    # Training on the observed entries, or on labels, does not approach the whole target.
    if result["relative_observed"] is not None or result["accuracy"] is not None:
        return None
    return float(max(result["excess_2norm"], result["excess_frobenius"]))


def _optimum(quantity: str, result: dict[str, Any]) -> float | None:
    """Least value of a quantity over all matrices of the rank; None where that is not known."""
    if quantity == "loss":
        return float(result["loss"] * (result["optimum_frobenius"] / result["relative_frobenius"]) ** 2)
    known = {
        "relative_2norm": result["optimum_2norm"],
        "relative_frobenius": result["optimum_frobenius"],
        "excess_2norm": 0.0,
        "numerical_rank": float(min(result["rank"], result["target_rank"])),
    }
    return known.get(quantity)
