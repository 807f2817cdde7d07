"""The table of a net: before, as it was factorized, and at the end; and what each layer got, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from eckart.printable import visible
from eckart.results.numbers import NONE, fixed, scientific
from eckart.results.screen import PAGE, Screen, left, length, right

_GAP = "  "
_NAME, _NUMBER = 22, 13
# Layers that are named of those with one reason.
_NAMED = 4


def is_net(result: Mapping[str, Any]) -> bool:
    """Whether a result is that of a net, which is held against labels and not against a matrix.

    Example:
        >>> is_net({"shape": [3, 2]}), is_net({"shape": None, "dense_parameters": 6})
        (False, True)
    """
    return result.get("shape") is None and result.get("dense_parameters") is not None


def title(result: Mapping[str, Any]) -> str:
    """What was run, in one line.

    Example:
        >>> config = {"model": {"_target_": "eckart.nn.lenet5.LeNet5"}}
        >>> run = {"method": "compression", "data": "mnist", "rank": None, "budget": 0.04, "seed": 0}
        >>> title(run | {"config": config})
        'compression of LeNet5 on mnist, budget 0.04, seed 0'
    """
    config = result.get("config") or {}
    model = str((config.get("model") or {}).get("_target_", "")).rpartition(".")[2]
    limit = config.get("rank")
    held_to = f"budget {result['budget']:g}" if result.get("budget") is not None else f"rank {limit}"
    of = f" of {visible(model)}" if model else ""
    what = f"{visible(result['method'])}{of} on {visible(result['data'])}"
    return ", ".join(
        [what, *([held_to] if result.get("budget") is not None or limit else []), f"seed {result['seed']}"]
    )


def figures(result: Mapping[str, Any], screen: Screen = PAGE) -> list[str]:
    """Lines on accuracy, parameters, multiply-adds and latency: of the dense net, and of the net of low rank.

    Args:
        result: The result, as in ``result.json``.
        screen: What they are printed on.

    Example:
        >>> net = {"accuracy": 0.99, "accuracy_dense": 0.995, "accuracy_factorized": 0.9}
        >>> sizes = {"parameters": 50, "dense_parameters": 1000, "multiply_adds": 40, "dense_multiply_adds": 400}
        >>> print(*figures(net | sizes | {"latency": None}), sep=chr(10))
                                      dense   factorized        tuned
        test accuracy                0.9950       0.9000       0.9900
        parameters                    1,000           50           50
        multiply-adds                   400           40           40
    """
    staged = result.get("accuracy_factorized") is not None
    heads = ["dense", *(["factorized", "tuned"] if staged else ["low rank"])]
    accuracies = [
        result.get("accuracy_dense"),
        *([result["accuracy_factorized"]] if staged else []),
        result["accuracy"],
    ]
    rows = [("test accuracy", [NONE if value is None else f"{value:.4f}" for value in accuracies])]
    for name, key in (("parameters", "parameters"), ("multiply-adds", "multiply_adds")):
        if result.get(key) is not None:
            own = [_count(result[key])] * (len(heads) - 1)
            rows.append((name, [_count(result.get(f"dense_{key}")), *own]))
    for name, before, after in _latencies(result.get("latency")):
        rows.append((name, [_time(before), *[_time(after)] * (len(heads) - 1)]))
    lines = [screen.paint(_row("", heads), "dim")]
    return [*lines, *(_row(name, cells) for name, cells in rows)]


def layers(result: Mapping[str, Any], screen: Screen = PAGE) -> list[str]:
    """Lines on the layers: shape, rank, parameters, error on their inputs, excess over the optimum, and why.

    Args:
        result: The result, as in ``result.json``.
        screen: What they are printed on.
    """
    found = [layer for layer in result.get("layers") or [] if isinstance(layer, Mapping)]
    if not found:
        return []
    heads = ("layer", "shape", "rank", "parameters", "error", "excess")
    rows = [heads, *(_cells(layer) for layer in found)]
    widths = [max(map(length, column)) for column in zip(*rows, strict=True)]
    lines = [
        _GAP.join([left(row[0], widths[0]), *(right(cell, w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    by_reason: dict[str, list[str]] = {}
    for layer in found:
        if layer.get("why"):
            by_reason.setdefault(visible(str(layer["why"])), []).append(visible(str(layer.get("path"))))
    reasons = [line for why, paths in by_reason.items() for line in screen.wrap(f"{_named(paths)}: {why}")]
    return [screen.paint(lines[0], "dim"), *lines[1:], *([""] if reasons else []), *reasons]


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cells(layer: Mapping[str, Any]) -> tuple[str, ...]:
    shape = layer.get("shape")
    size = "×".join(map(str, shape)) if isinstance(shape, Sequence) and not isinstance(shape, str) else NONE
    rank = layer.get("rank")
    error, over = layer.get("error"), layer.get("excess")
    return (
        visible(str(layer.get("path"))),
        size,
        "dense" if rank is None else str(rank),
        _count(layer.get("parameters")),
        fixed(error, 4, significant=2) if isinstance(error, float | int) else NONE,
        scientific(over) if isinstance(over, float | int) else NONE,
    )


def _latencies(latency: Any) -> list[tuple[str, float, float]]:
    """Name, seconds before and seconds after, of each size of a batch."""
    if not isinstance(latency, Mapping):
        return []
    device, before, after = (latency.get(name) for name in ("device", "dense", "factorized"))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    where = f"{visible(str(device))}, " if device else ""
    return [
        (f"time, {where}batch {visible(str(size))}", before[size], after[size])
        for size in before
        if isinstance(before[size], float) and isinstance(after.get(size), float)
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return left(name, _NAME) + "".join(right(cell, _NUMBER) for cell in cells)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else NONE


def _time(seconds: float) -> str:
    """A time to three digits, in the unit that suits it.

    Example:
        >>> _time(0.00123), _time(2.5), _time(4.5e-5)
        ('1.23 ms', '2.5 s', '45 µs')
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit or unit == 1e-6:
            return f"{seconds / unit:.3g} {name}"
    return NONE
