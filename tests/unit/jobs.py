"""Results of jobs with configs like those that Hydra composes."""

import json
import random
from typing import Any

from eckart.results.aggregate import AVERAGED, HELD_OUT, OF_NETS

TARGETS = {"adam": "torch.optim.Adam", "sgd": "torch.optim.SGD", "none": None}


def job(
    *,
    method: str = "bottleneck",
    data: str = "uniform",
    rank: int = 2,
    seed: int = 0,
    status: str = "completed",
    optimizer: str = "adam",
    data_seed: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Result of a job with a config like those that Hydra composes; ``a__b=c`` sets a.b to c."""
    drawn = seed if data_seed is None else data_seed
    config: dict[str, Any] = {
        "rank": rank,
        "seed": seed,
        "name": None,
        "ckpt": None,
        "data": {"source": {"rows": 12, "seed": drawn}, "rows": 12, "seed": drawn},
        "method": {"_target_": f"eckart.{method}", "max_steps": 100} if method != "svd" else {"solver": "exact"},
        "optimizer": {"_target_": TARGETS[optimizer], **({} if optimizer == "none" else {"lr": 0.1})},
        "schedule": {"_target_": None},
        "trainer": {"precision": None, "accelerator": "auto"},
        "logger": {"history": True},
    }
    for path, value in changes.items():
        *groups, last = path.split("__")
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    rng = random.Random(json.dumps([config, method, data]))
    measured = [name for name in AVERAGED if name not in ("accuracy", *HELD_OUT, *OF_NETS)]
    values = {name: rng.gauss(0, 1) if status == "completed" else None for name in measured}
    return {"status": status, "method": method, "data": data, "rank": rank, "seed": seed, "config": config, **values}


def seeds(count: int, **settings: Any) -> list[dict[str, Any]]:
    return [job(seed=seed, **settings) for seed in range(count)]
