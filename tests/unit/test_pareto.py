"""What the accuracy of nets costs: the figure, its script, and the plot of the page."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from records import ours

from eckart.reports import pareto_plot
from eckart.results.aggregate import Spread
from eckart.results.figures.pareto import Net, front, pareto
from eckart.results.published import PUBLISHED
from eckart.results.result import write_result

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
plot_pareto = importlib.import_module("plot_pareto")
sys.path.remove(SCRIPTS)

# Budget, parameters, accuracy of two seeds, seconds for one sample and for 256.
NETS = (
    (0.02, 9_000, (0.95, 0.97), (1e-4, 2e-3)),
    (0.04, 17_000, (0.97, 0.99), (1e-4, 3e-3)),
    (0.10, 43_000, (0.96, 0.98), (2e-4, 9e-3)),
)


def fields(budget: float, parameters: int, accuracy: float, seconds: tuple[float, float], seed: int) -> dict[str, Any]:
    config: dict[str, Any] = {"budget": budget, "seed": seed, "model": {"_target_": "eckart.nn.lenet5.LeNet5"}}
    latency: dict[str, Any] = {
        "device": "cpu",
        "dense": {"1": 9e-4, "256": 5e-2},
        "factorized": dict(zip(("1", "256"), seconds, strict=True)),
    }
    given: dict[str, Any] = {
        "method": "compression",
        "data": "mnist",
        "rank": None,
        "budget": budget,
        "seed": seed,
        "shape": None,
    }
    given |= {
        "accuracy": accuracy,
        "accuracy_dense": 0.98 + seed / 100,
        "parameters": parameters,
        "dense_parameters": 431_080,
        "latency": latency,
    }
    return given | {"status": "completed", "config": config, "fingerprint": ""}


def every() -> list[dict[str, Any]]:
    return [
        fields(budget, parameters, accuracy, seconds, seed)
        for budget, parameters, accuracies, seconds in NETS
        for seed, accuracy in enumerate(accuracies)
    ]


def test_the_front_is_what_nothing_beats() -> None:
    costs, gains = [3, 1, 2, 2, 5], [0.9, 0.5, 0.7, 0.8, 0.9]
    beaten = {
        place
        for place in range(5)
        if any(
            costs[other] <= costs[place]
            and gains[other] >= gains[place]
            and (costs[other], gains[other]) != (costs[place], gains[place])
            for other in range(5)
        )
    }
    assert front(costs, gains) == [1, 3, 0] and {1, 3, 0} == set(range(5)) - beaten


def test_the_script_draws_means_beside_published_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, result in enumerate(every()):
        write_result(tmp_path / "sweep" / str(place), result)
    kept: list[Figure] = []
    monkeypatch.setattr("eckart.results.figures.pareto.save", lambda figure, path: kept.append(figure) or path)  # type: ignore[func-returns-value]
    out = tmp_path / "pareto.svg"
    monkeypatch.setattr(sys, "argv", ["plot_pareto.py", str(tmp_path / "sweep"), "--out", str(out)])
    plot_pareto.main()
    assert capsys.readouterr().out == f"{out}\n"
    (figure,) = kept
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "parameters, both factors and all biases",
        "seconds of a pass, batch 1, cpu",
        "seconds of a pass, batch 256, cpu",
    ]
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    own: Any = figure.axes[0].containers[0]
    assert list(own.lines[0].get_xdata()) == [9_000, 17_000, 43_000]
    assert list(own.lines[0].get_ydata()) == pytest.approx([96, 98, 97])
    dense: Any = figure.axes[1].containers[1]
    assert dense.get_label() == "dense" and list(dense.lines[0].get_xdata()) == [9e-4]
    assert list(dense.lines[0].get_ydata()) == pytest.approx([98.5])
    theirs = lines["DLRT (repository), published, counted here by the ranks"]
    counted = [row.counted for row in PUBLISHED if row.method == "DLRT (repository)"]
    assert np.asarray(theirs.get_xdata()).tolist() == counted


def test_no_net_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_result(tmp_path / "run", {"status": "completed", "method": "svd", "data": "photo", "rank": 1, "config": {}})
    monkeypatch.setattr(sys, "argv", ["plot_pareto.py", str(tmp_path), "--out", str(tmp_path / "a.png")])
    with pytest.raises(SystemExit, match=r"There must be a completed net on mnist with an accuracy\. Found none\.$"):
        plot_pareto.main()
    with pytest.raises(ValueError, match=r"at least one net to draw"):
        pareto(tmp_path / "a.png", {}, title="none")


def test_a_panel_for_what_all_nets_have(tmp_path: Path) -> None:
    timed, not_timed = Net(Spread(0.9, None), 10, {"1": 1e-3}), Net(Spread(0.8, None), 5, {})
    assert pareto(tmp_path / "a.png", {"a": [timed], "b": [not_timed]}, title="two").is_file()


def test_the_page_draws_means_the_front_and_what_was_published() -> None:
    records = [ours(fields=result, budget=result["budget"], seed=result["seed"]) for result in every()]
    found = {plot.key: plot for plot in pareto_plot.plots(records)}
    assert list(found) == ["nets-parameters", "nets-batch-1", "nets-batch-256"]
    points = found["nets-parameters"].rows["points"]
    assert [(row["cost"], row["mean"], row["seeds"]) for row in points] == [
        (9_000, pytest.approx(0.96), 2),
        (17_000, pytest.approx(0.98), 2),
        (43_000, pytest.approx(0.97), 2),
    ]
    assert points[0]["name"] == "compression, LeNet5 on mnist, budget 0.02"
    assert points[0]["high"] - points[0]["mean"] == pytest.approx(0.01 * 2**0.5)
    assert [row["cost"] for row in found["nets-parameters"].rows["front"]] == [9_000, 17_000]
    # Of equal times the more accurate one.
    assert [row["cost"] for row in found["nets-batch-1"].rows["front"]] == [1e-4]
    published = found["nets-parameters"].rows["published"]
    assert {row["method"] for row in published} == {"DLRT (repository)", "DLRT (paper)", "LC rank selection"}
    assert "published" not in found["nets-batch-1"].rows
    assert "2 of 3" in found["nets-parameters"].titles[""]


def test_a_page_without_nets_has_no_such_plot() -> None:
    assert pareto_plot.plots([ours(rank=rank) for rank in (1, 2)]) == []
    one = every()[0]
    assert pareto_plot.plots([ours(fields=one, budget=one["budget"])]) == []
