"""What plots are made of, against the runs that they show."""

import itertools
import random
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from records import foreign, ours

from eckart.reports import metrics_plot, parallel_plot, rank_plots, spectra, step_plots, trade_plots
from eckart.reports.axes import FLOOR, decades
from eckart.reports.lines import lines
from eckart.reports.plot import Plot
from eckart.reports.record import Record

RUNS = [
    ours(method=method, rank=rank, seed=seed, excess=excess * (1 + seed), optimum=1 / (1 + rank), fields={"steps": 5})
    for method, excess in (("bottleneck", 1e-3), ("svd", -1e-17))
    for rank in (1, 2, 4)
    for seed in range(3)
]


def fields(node: Any) -> Iterator[str]:
    """Names of the fields that the encodings of a chart read."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "field" and isinstance(value, str):
                yield value
            yield from fields(value)
    elif isinstance(node, list):
        for item in node:
            yield from fields(item)


def all_plots() -> list[Plot]:
    histories = {"train/loss": ([0, 1, 9], [3.0, 2.0, 1.0]), "excess_frobenius": ([0, 9], [1.0, 0.0])}
    drawn = [ours(rank=run.fields["rank"], seed=run.fields["seed"], history=histories) for run in RUNS]
    records = [
        *drawn,
        *(ours(method="classifier", rank=rank, fields={"accuracy": rank / 9, "parameters": rank}) for rank in (2, 3)),
    ]
    known = lines(records)
    curves = step_plots.curves(dict(enumerate(records)), known)
    found: list[Plot | None] = [rank_plots.errors(known, norm) for norm in rank_plots.NORMS]
    found += [rank_plots.excess(known, norm) for norm in rank_plots.NORMS]
    found += [rank_plots.accuracy(known), parallel_plot.plot(records, known), *trade_plots.plots(records, known)]
    found += step_plots.plots(curves, known, records, epochs=False)
    plots = [plot for plot in found if plot is not None]
    assert len(plots) == 9
    return plots


def test_charts_read_the_fields_of_their_rows_and_their_numbers_fit_their_headers() -> None:
    told = {"run", "name", "line", "color", "panel", "rank", "step", "value"}
    for plot in all_plots():
        rows = list(itertools.chain(*plot.rows.values()))
        given = set().union(*(row.keys() for row in rows)) | (told if plot.curves else set())
        assert set(fields(plot.data()["spec"])) <= given, plot.key
        if plot.numbers:
            assert {len(row) for row in plot.numbers.rows} <= {len(plot.numbers.headers)}, plot.key


@pytest.mark.parametrize(("optimum", "side"), [(0.5, "below"), (1e-3, "above"), (0.0, "above"), (0.2, "below")])
def test_the_label_of_the_optimum_keeps_off_the_axis(optimum: float, side: str) -> None:
    plot = rank_plots.errors(lines([ours(rank=1, excess=0.6, optimum=optimum)]), "2norm")
    assert plot is not None
    (row,) = plot.rows["optimum"]
    assert (row["first"], row["side"]) == (True, side)
    filters = [part for layer in plot.chart.to_dict()["layer"] for part in layer.get("transform", [])]
    assert {"filter": f"datum.first && datum.side == '{side}'"} in filters


def test_errors_are_means_over_the_seeds_above_the_optimum() -> None:
    plot = rank_plots.errors(lines(RUNS), "frobenius")
    assert plot is not None
    for row in plot.rows["points"]:
        values = [
            run.fields["relative_frobenius"]
            for run in RUNS
            if (run.fields["method"], run.fields["rank"]) == (row["line"], row["rank"])
        ]
        assert row["mean"] == pytest.approx(statistics.fmean(values))
        assert row["high"] - row["mean"] == pytest.approx(statistics.stdev(values))
        assert row["seeds"] == 3
    assert [row["rank"] for row in plot.rows["optimum"]] == [1, 2, 4]
    assert [row["mean"] for row in plot.rows["optimum"]] == pytest.approx([1 / 2, 1 / 3, 1 / 5])
    assert plot.titles["uniform"].endswith("bottleneck is farthest above the optimum, by 0.002 at rank 4")


def test_an_excess_of_rounding_is_drawn_at_the_floor_and_told_as_it_is() -> None:
    plot = rank_plots.excess(lines(RUNS), "2norm")
    assert plot is not None and plot.numbers is not None
    shown = {(row["line"], row["rank"]): row for row in plot.rows["points"]}
    assert shown["svd", 1]["shown"] == FLOOR and shown["svd", 1]["median"] < 0
    assert shown["bottleneck", 1]["median"] == pytest.approx(2e-3)
    assert ["uniform", "svd", "1", "3", "-3.0e-17", "-2.0e-17", "-1.0e-17"] in plot.numbers.rows
    assert plot.titles["uniform"] == "Excess of the 2-norm error: 1 of 2 lines reach the optimum at every rank"


def test_failed_and_diverged_runs_are_in_no_mean() -> None:
    runs = [*RUNS, ours(method="svd", rank=1, seed=7, excess=5.0, status="diverged")]
    plot = rank_plots.errors(lines(runs), "2norm")
    assert plot is not None
    assert next(row for row in plot.rows["points"] if row["line"] == "svd")["seeds"] == 3


def test_a_line_is_named_by_the_settings_in_which_its_method_differs() -> None:
    runs = [ours(optimizer=name, seed=seed) for name in ("adam", "sgd") for seed in (0, 1)]
    runs += [ours(method="svd", optimizer="none", data="gaussian"), ours(method="svd", optimizer="none", data__rows=9)]
    known = lines(runs)
    assert {line.label for line in known.all} == {"bottleneck, optimizer=Adam", "bottleneck, optimizer=SGD", "svd"}
    assert set(known.panels) == {"uniform, rows=12", "uniform, rows=9", "gaussian"}
    assert known.panels[0] == "uniform, rows=12"
    assert known.line(runs[0]) != known.line(runs[2]) and known.line(runs[0]) == known.line(runs[1])
    assert known.line(foreign()) is None


def test_more_lines_than_colors_are_colored_by_their_method() -> None:
    runs = [ours(method=method, optimizer__lr=lr / 10) for method in ("bottleneck", "other") for lr in range(5)]
    known = lines(runs)
    assert len(known.all) == 10 and known.domain == ["bottleneck", "other"]


def test_the_front_is_what_nothing_beats() -> None:
    draw = random.Random(0)
    points = [(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(60)]
    beaten = {
        place for place, (x, y) in enumerate(points) if any((a <= x and b <= y) and (a, b) != (x, y) for a, b in points)
    }
    front = trade_plots.front(points)
    assert {points[place] for place in front} == {points[place] for place in set(range(60)) - beaten}
    assert [points[place][0] for place in front] == sorted({points[place][0] for place in front})


def test_a_diverged_curve_ends_where_it_leaves_the_scale_of_the_others() -> None:
    good = ours(history={"train/loss": ([0, 1], [4.0, 1.0])})
    bad = ours(seed=1, status="diverged", history={"train/loss": ([0, 1, 2], [4.0, 39.0, 1e200])})
    known = lines([good, bad])
    series = step_plots.curves({0: good, 1: bad}, known)["loss-step"]
    assert series == [[0, [0, 1], [4.0, 1.0]], [1, [0, 1], [4.0, 39.0]]]


def test_classifiers_are_drawn_by_epoch() -> None:
    history = {"accuracy": ([23, 46], [0.5, 0.6]), "epoch": ([23, 46], [1.0, 2.0])}
    run = ours(method="classifier", history=history)
    assert step_plots.curves({0: run}, lines([run])) == {"accuracy-epoch": [[0, [1.0, 2.0], [0.5, 0.6]]]}


def test_a_page_of_ten_thousand_runs_draws_three_hundred_of_all_kinds() -> None:
    places = step_plots.chosen([None] * 10_000)  # type: ignore[list-item]
    assert len(places) == step_plots.RUNS and places[0] == 0 and max(np.diff(places)) <= 34


def test_axes_of_settings_place_numbers_by_size_and_words_apart() -> None:
    rank = parallel_plot.dimension("rank", [1, None, 100, 10])
    assert rank.places == [0.0, None, 1.0, 0.5]
    assert [label for _, label in rank.labels] == ["1", "10", "100"]
    words = parallel_plot.dimension("optimizer._target_", ["torch.optim.SGD", None, "torch.optim.Adam"])
    assert words.title == "optimizer" and words.places == [0.5, 1.0, 0.0]


def test_decades_hold_what_they_label() -> None:
    for low, high in ((1e-9, 1e3), (0.02, 0.9), (2.0, 3000.0)):
        ticks = decades(low, high)
        assert 2 <= len(ticks) <= 9 and ticks == sorted(ticks)


def test_metrics_of_other_programs_are_colored_by_name_or_group() -> None:
    runs = [foreign(f"run {place}", identity={"group": f"g{place % 2}"}) for place in range(9)]
    assert metrics_plot.colors(runs) == ["g0", "g1"] * 4 + ["g0"]
    assert metrics_plot.colors(runs[:3]) == ["run 0", "run 1", "run 2"]
    series = metrics_plot.curves(dict(enumerate(runs)))
    assert list(series) == ["metric loss"] and len(series["metric loss"]) == 9
    plot = metrics_plot.plot(series, runs)
    assert plot is not None and plot.labels == ["g0", "g1"]


def test_singular_values_are_those_of_the_product(tmp_path: Any) -> None:
    from safetensors.numpy import save_file

    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(7, 3)), draw.normal(size=(3, 5))
    save_file({"left": left, "right": right}, tmp_path / "factors.safetensors")
    found = spectra.singular_values(tmp_path / "factors.safetensors")
    assert found == pytest.approx(np.linalg.svd(left @ right, compute_uv=False)[:3])
    (tmp_path / "damaged").write_bytes(b"\xff" * 100)
    assert spectra.singular_values(tmp_path / "damaged").size == 0
    assert spectra.singular_values(tmp_path / "none").size == 0


def test_runs_without_numbers_have_no_plots() -> None:
    records: list[Record] = [ours(status="failed", fields=dict.fromkeys(("relative_2norm", "excess_2norm")))]
    known = lines(records)
    assert rank_plots.errors(known, "2norm") is None and rank_plots.excess(known, "2norm") is None
    assert rank_plots.accuracy(known) is None and parallel_plot.plot(records, known) is None
    assert trade_plots.plots(records, known) == [] and spectra.plot(known) is None
