"""Curves with few points keep what a plot shows of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eckart.reports import curves
from eckart.results.history import HISTORY, History


@given(st.lists(st.integers(0, 10**6), max_size=300).map(sorted), st.integers(2, 80))
def test_chosen_places_rise_and_hold_both_ends(steps: list[int], points: int) -> None:
    places = curves.spread(steps, points)
    assert places == sorted(set(places))
    assert len(places) == min(len(steps), points)
    if steps:
        assert (places[0], places[-1]) == (0, len(steps) - 1)


def test_early_steps_are_kept_closer_together() -> None:
    kept = curves.spread(range(10_001), 20)
    assert kept[:4] == [0, 1, 2, 3] and kept[-1] - kept[-2] > 1000


def write(folder: Path, rows: int) -> History:
    history = History(folder / HISTORY)
    for row in range(rows):
        values = {"train/loss": 1 / (1 + row), "excess_2norm": -1e-17 * row}
        # Some quantities are measured more seldom.
        history.add(7 * row, values | ({"accuracy": row / rows, "epoch": row / 10} if row % 10 == 0 else {}))
    return history


@pytest.mark.parametrize("rows", [1, 50, 400])
def test_a_file_is_read_as_its_own_reader_reads_it(tmp_path: Path, rows: int) -> None:
    written = write(tmp_path, rows)
    read = curves.read(tmp_path)
    assert set(read) == ({"train/loss", "excess_2norm", "accuracy", "epoch"})
    for name, (steps, values) in read.items():
        known = dict(zip(*written.column(name), strict=True))
        assert len(steps) == min(curves.POINTS, len(known))
        assert values == pytest.approx([known[int(step)] for step in steps], rel=1e-4)
        assert (steps[0], steps[-1]) == (min(known), max(known))


def test_a_row_that_was_cut_off_ends_the_curves(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = tmp_path / HISTORY
    whole = path.read_text()
    path.write_text(whole[:-4])
    assert curves.read(tmp_path)["train/loss"][0] == [0, 7, 14, 21]
    path.write_text(whole.replace("\n14,", "\n14x,"))
    assert curves.read(tmp_path)["train/loss"][0] == [0, 7]


def test_no_file_has_no_curves_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    assert curves.read(tmp_path) == {}
    (tmp_path / HISTORY).write_bytes(b"\x89PNG\r\n\x00\xff")
    with pytest.raises(ValueError, match="has no column step"):
        curves.read(tmp_path)


def test_values_that_are_not_finite_have_no_place() -> None:
    assert curves.thinned([0, 1, 2], [1.0, float("nan"), float("inf")]) == ([0], [1.0])
