"""What a run prints when it ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eckart.arguments import shown
from eckart.runs.job import Job


def table(result: Mapping[str, Any], folder: Path) -> str:
    """Table of a result: the optimum, what was trained, and the excess of the second over the first.

    Args:
        result: The result, as in ``result.json``.
        folder: The run's folder.

    Returns:
        The lines, to be printed as they are.
    """
    method, data = result["method"], result["data"]
    rows, cols = result["shape"]
    lines = [f"{method} on {data}, {rows}×{cols}, rank {result['rank']}, seed {result['seed']}", ""]
    lines.append(f"{'':<28}{'truncated SVD':>16}{_trained(method):>16}{'excess':>12}")
    for name, key in (("relative 2-norm error", "2norm"), ("relative Frobenius error", "frobenius")):
        best, error, excess = (result[f"{kind}_{key}"] for kind in ("optimum", "relative", "excess"))
        lines.append(f"{name:<28}{_number(best):>16}{_number(error):>16}{_scientific(excess):>12}")
    best_rank = min(result["rank"], result["target_rank"])
    lines.append(f"{'numerical rank':<28}{best_rank:>16}{result['numerical_rank']:>16}")
    lines.append(
        f"{'parameters of the factors':<28}{result['parameters']:>16}{result['parameters']:>16}"
        f"{'':>4}in place of {result['dense_parameters']}"
    )
    for name, key in (
        ("on the observed entries", "relative_observed"),
        ("on the held-out entries", "relative_held_out"),
        ("largest output difference", "largest_output_difference"),
    ):
        if result[key] is not None:
            lines.append(f"{name:<44}{_number(result[key]):>16}")
    if result["accuracy"] is not None:
        sums = ", ".join(f"{value:.2f}" for value in result["train_loss_sum_per_epoch"])
        lines += ["", f"test accuracy {result['accuracy']:.4f}; cross-entropy summed over batches, by epoch: {sums}"]
    lines += [
        "",
        f"{result['stop_reason']}; {result['steps']} steps in {result['fit_seconds']:.2f} s, "
        f"{result['total_seconds']:.1f} s in all",
        shown(folder),
        "  " + "  ".join(_files(folder)),
    ]
    return "\n".join(lines)


def line(result: Mapping[str, Any], folder: Path) -> str:
    """One line of a result, for a job of a sweep."""
    return (
        f"{result['status']}: relative Frobenius error {_number(result['relative_frobenius'])}, "
        f"excess {_scientific(result['excess_frobenius'])}, {result['steps']} steps, "
        f"{result['total_seconds']:.1f} s  {shown(folder)}"
    )


def failure(job: Job, result: Mapping[str, Any]) -> str:
    """What is said of a job of a sweep as soon as it has failed: what was asked for, why it failed, and where."""
    return f"{result['status']}: {job.title}: {result['error']}\n  {shown(job.folder)}"


def _files(folder: Path) -> list[str]:
    shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [
        f"{path.name}/{{{','.join(sorted(item.stem for item in path.iterdir()))}}}.png"
        if path.name == "figures"
        else f"{path.name}/"
        if path.is_dir()
        else path.name
        for path in shown
    ]


def _trained(method: str) -> str:
    return {"svd": "computed", "classifier": "reduction"}.get(method, "trained")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.10f}" if value >= 1e-4 or value == 0 else f"{value:.4e}"


def _scientific(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"
