"""Settings of jobs: their names, which of them decide a result, and in which of them jobs differ."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

AUTO = "auto"
"""The word that stands for a rank that a rule of ``selection=`` chooses."""
CHOICES = ("method", "data")
LEADING = (*CHOICES, "rank", "seed")
"""Settings that stand first wherever settings are listed."""
_DECIDING = (
    *("method", "data", "model", "selection", "optimizer", "schedule", "callbacks"),
    *("rank", "budget", "seed", "ckpt"),
)


def decides(name: str) -> bool:
    """Whether a setting decides the result: two jobs that are equal in all of these have the same result.

    Loggers, folders, progress bars and the device do not decide. Everything of the method, the data, the model, the
    optimizer, the schedule and the callbacks, which can stop a training, does; so do rank, budget, seed, the checkpoint
    and the precision.

    Args:
        name: Name of the setting, as on the command line.

    Example:
        >>> decides("optimizer.lr"), decides("trainer.precision"), decides("trainer.accelerator"), decides("name")
        (True, True, False, False)
    """
    return name.partition(".")[0] in _DECIDING or name == "trainer.precision"


def settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a job: the method and data chosen, rank, seed, and each value of its config under its path.

    Args:
        result: The result, as in ``result.json``.

    Returns:
        Values by name, as they are written on the command line; lists are values.

    Example:
        >>> config = {"rank": 2, "seed": 0, "method": {"hidden": [8, 4]}, "logger": {"wandb": {"project": "eckart"}}}
        >>> settings({"method": "bottleneck", "data": "photo", "rank": 2, "seed": 0, "config": config})
        {'method': 'bottleneck', 'data': 'photo', 'rank': 2, 'seed': 0,
         'method.hidden': [8, 4], 'logger.wandb.project': 'eckart'}
    """
    leading = {name: result.get(name) for name in LEADING}
    return {**leading, **flatten(result.get("config") or {}), **leading}


def is_chosen(result: Mapping[str, Any]) -> bool:
    """Whether a rule chose the rank of a job, or was to choose it.

    Example:
        >>> is_chosen({"rank": 7, "config": {"rank": "auto", "selection": {"rule": "best"}}}), is_chosen({"rank": 7})
        (True, False)
    """
    config = result.get("config")
    return isinstance(config, Mapping) and bool(config.get("selection"))


def flatten(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Values of nested mappings under dotted names.

    Example:
        >>> flatten({"rank": 2, "method": {"hidden": [8, 4], "probes": {}}})
        {'rank': 2, 'method.hidden': [8, 4]}
    """
    return dict(_leaves(mapping, ""))


def names(jobs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that any job has: method, data, rank, seed, then the others in alphabetical order."""
    return [*LEADING, *sorted({name for job in jobs for name in job}.difference(LEADING))]


def differing(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that tell jobs apart.

    Left out are settings that vary but add nothing: those that come with the choice of a method, data or an optimizer
    (only some methods have a ``method.solver``) or with ``rank=auto``, and those that repeat another setting in every
    job, as ``data.seed`` repeats the seed.

    Args:
        jobs: The settings of each job.

    Returns:
        Names, in the order of ``names``. Jobs that are equal in these are equal in all.

    Example:
        >>> svd = {"method": "svd", "rank": 2, "seed": 0, "method.solver": "exact", "data.seed": 0}
        >>> net = {"method": "bottleneck", "rank": 2, "seed": 0, "method.tolerance": 0.1, "data.seed": 0}
        >>> differing([svd, net, net | {"seed": 1, "data.seed": 1}])
        ['method', 'seed']
        >>> differing([svd, net, net | {"method.tolerance": 0.2}])
        ['method', 'method.tolerance']
    """
    every = names(jobs)
    found: dict[str, list[Any]] = {}
    # The setting that others repeat has the shorter path: seed before data.seed.
    for name in sorted(every, key=lambda name: name.count(".")):
        column, choices = [hashable(job.get(name)) for job in jobs], [hashable(_choice(name, job)) for job in jobs]
        by_choice = defaultdict(set)
        for choice, value in zip(choices, column, strict=True):
            by_choice[choice].add(value)
        alike = [values for other, values in found.items() if other.rpartition(".")[2] == name.rpartition(".")[2]]
        repeats = any(
            all(
                value == known or by_choice[choice] == {None}
                for choice, value, known in zip(choices, column, values, strict=True)
            )
            for values in alike
        )
        if not repeats and any(len(values) > 1 for values in by_choice.values()):
            found[name] = column
    return [name for name in every if name in found]


def hashable(value: Any) -> Any:
    """A value by which jobs can be grouped; 1 and 1.0 are equal."""
    if isinstance(value, Mapping):
        return tuple((key, hashable(item)) for key, item in value.items())
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def _leaves(config: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _choice(name: str, job: Mapping[str, Any]) -> Any:
    group, _, rest = name.partition(".")
    if not rest:
        return None
    if group in CHOICES:
        return job.get(group)
    if group == "selection":
        # Jobs of a given rank have no rule, which is no difference to those that have one.
        return job.get("selection.rule") is None if rest == "rule" else job.get("selection.rule")
    # A method can bring its own optimizer, schedule or trainer.
    return job.get("method") if rest == "_target_" else job.get(f"{group}._target_")
