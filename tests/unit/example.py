"""A config as a run resolves it, and the same with one value changed."""

from collections.abc import Mapping
from typing import Any

CONFIG: dict[str, Any] = {
    "rank": 2,
    "seed": 0,
    "name": None,
    "ckpt": None,
    "figures": True,
    "data": {"_target_": "a.B", "rows": 10, "scale": 1.0, "source": {"seed": 0}},
    "method": {"_target_": "a.C", "max_steps": 100, "hidden": "paper"},
    "optimizer": {"_target_": "a.D", "lr": 0.01},
    "trainer": {"accelerator": "auto", "precision": None, "enable_progress_bar": True},
    "logger": {"history": True, "wandb": {"project": "eckart"}},
}


def changed(path: str, value: Any, config: Mapping[str, Any] = CONFIG) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    return {**config, key: changed(rest, value, config[key]) if rest else value}
