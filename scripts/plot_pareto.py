"""Draw what the accuracy of nets costs in parameters and in time: ``--help``."""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eckart.reports.figure_command import figure_parser, write_figure
from eckart.results.aggregate import Spread, grouped
from eckart.results.published import PUBLISHED

if TYPE_CHECKING:
    from eckart.results.figures.pareto import Net


def main() -> None:
    """Read results, and write one figure."""
    parser = figure_parser(
        "Draw the test accuracy of nets of low rank against their parameters and the time of a pass, with "
        "what others published for the same net and data.",
        "of a sweep, or many sweeps",
    )
    parser.add_argument("--model", default="lenet5", metavar="NAME", help="whose published results; %(default)s")
    parser.add_argument("--data", default="mnist", metavar="NAME", help="on what; %(default)s")
    write_figure(parser, lambda asked, results: draw(asked.out, results, asked.model, asked.data))


def draw(path: Path, results: Iterable[Mapping[str, Any]], model: str, data: str) -> Path:
    """Draw the nets among results, a series for each method.

    Raises:
        ValueError: If there is no completed net with an accuracy.
    """
    from eckart.results.figures.pareto import pareto

    results = [result for result in results if result["status"] == "completed" and result["data"] == data]
    nets: dict[str, list[Net]] = {}
    for group in grouped(result for result in results if result.get("dense_parameters") and result.get("accuracy")):
        nets.setdefault(str(group.method), []).append(_net(group.results))
    if not nets:
        raise ValueError(f"There must be a completed net on {data} with an accuracy. Found none.")
    if (dense := _dense(results)) is not None:
        nets["dense"] = [dense]
    devices = {str((result.get("latency") or {}).get("device", "")) for result in results} - {""}
    peers = [row for row in PUBLISHED if row.model == model and row.data == data]
    seeds = sum(len(group.results) for group in grouped(results))
    title = f"Accuracy by parameters and time: {seeds} nets on {data}, means and deviations over seeds"
    return pareto(path, nets, title=title, peers=peers, device=", ".join(sorted(devices)))


def _dense(results: list[Mapping[str, Any]]) -> "Net | None":
    """The dense net that all were made of; None where it is not one, or was not trained."""
    by_seed = {result["seed"]: result for result in results if result.get("accuracy_dense") is not None}
    if len({result["dense_parameters"] for result in by_seed.values()}) != 1:
        return None
    return _net(list(by_seed.values()), "dense")


def _net(results: list[Mapping[str, Any]], which: str = "factorized") -> "Net":
    """The mean of nets, of low rank or dense ones."""
    from eckart.results.figures.pareto import Net

    accuracy, parameters = ("accuracy_dense", "dense_parameters") if which == "dense" else ("accuracy", "parameters")
    accuracies = [result[accuracy] for result in results]
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    times: dict[str, list[float]] = {}
    for result in results:
        for size, taken in ((result.get("latency") or {}).get(which) or {}).items():
            times.setdefault(size, []).append(taken)
    return Net(
        Spread(statistics.fmean(accuracies), deviation),
        statistics.fmean(result[parameters] for result in results),
        {size: statistics.median(taken) for size, taken in times.items() if len(taken) == len(results)},
    )


if __name__ == "__main__":
    main()
