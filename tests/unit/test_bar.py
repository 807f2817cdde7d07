import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ptys import frames, terminal
from tqdm import tqdm

from eckart.results.bar import Bar, Field, arranged, time_left
from eckart.results.screen import length

FIELDS = [
    Field(1, "430 steps", "430 of ≤ 1000 steps"),
    Field(3, "loss 1.2e-3"),
    Field(4, ""),
    Field(5, "gradient 2e-6", "gradient 2.1e-6 → 1e-10"),
    Field(6, "12 steps/s"),
    Field(0, "00:12 left"),
]


def test_a_wide_line_has_everything_and_a_narrow_one_what_matters() -> None:
    assert arranged(0.5, FIELDS, 119).endswith(
        "430 of ≤ 1000 steps  loss 1.2e-3  gradient 2.1e-6 → 1e-10  12 steps/s  00:12 left"
    )
    # The bar is worth more than the rate, and no field is cut.
    assert arranged(0.5, FIELDS, 61, " #") == "[####    ]  430 steps  loss 1.2e-3  gradient 2e-6  00:12 left"
    assert arranged(0.5, FIELDS, 40, " #") == "430 steps  loss 1.2e-3  00:12 left"
    assert arranged(0.5, FIELDS, 25, " #") == "430 steps  00:12 left"
    assert arranged(0.5, FIELDS, 12, " #") == "00:12 left"


@given(
    st.floats(-1, 2),
    st.lists(
        st.builds(Field, st.integers(0, 8), st.text("矩abc ", max_size=30), st.text("x", max_size=40)), max_size=7
    ),
    st.integers(0, 250),
)
def test_no_line_is_wider_than_asked(done: float, fields: list[Field], width: int) -> None:
    assert length(arranged(done, fields, width)) <= width


@pytest.mark.parametrize("columns", [20, 60, 80, 200])
def test_a_bar_on_a_terminal_fits_it_and_leaves_nothing(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(columns) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        bar = Bar(lambda: (0.5, FIELDS), delay=0.0)
        bar.close()
        seen = frames(opened.close(), columns)
    assert any("00:12 left" in rows[0] for rows in seen)
    assert seen[-1] == [""]


def test_two_bars_a_message_and_a_terminal_that_becomes_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(100) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        outer, inner = Bar(lambda: (0.5, FIELDS), delay=0.0), Bar(lambda: (0.1, [Field(0, "inner")]), delay=0.0)
        tqdm.write("a message", file=opened.stream)
        wide = opened.columns
        opened.resize(40)
        outer.refresh()
        inner.refresh()
        inner.close()
        outer.close()
        written = opened.close()
    seen = frames(written, wide)
    both = [rows for rows in seen if len(rows) > 1 and "left" in rows[0] and "inner" in rows[1]]
    assert both
    assert [row for row in seen[-1] if row] == ["a message"]
    # What is drawn after the change fits the narrow terminal, padding too.
    changed = written.rindex("\x1b[J")
    assert all(
        len(part) <= 40 for part in written[changed + 3 :].replace("\x1b[A", "\n").replace("\r", "\n").split("\n")
    )


def test_the_fields_are_asked_for_only_when_the_line_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def told() -> tuple[float, list[Field]]:
        asked.append(1)
        return 0.5, FIELDS

    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        bar = Bar(told, delay=0.0)
        for _ in range(20_000):
            bar.move()
        elapsed = bar.format_dict["elapsed"]
        bar.close()
    # At most ten times a second, and once more at the start.
    assert len(asked) <= 2 + elapsed / 0.1


def test_what_is_over_soon_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        bar = Bar(lambda: (0.5, FIELDS))
        bar.move()
        bar.close()
        assert opened.close() == ""


@pytest.mark.parametrize("why", ["pipe", "hidden", "worker"])
def test_no_bar_is_drawn_where_it_would_disturb(
    why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal(80) as opened:
        if why != "pipe":
            monkeypatch.setattr(sys, "stderr", opened.stream)
        if why == "worker":
            monkeypatch.setattr("multiprocessing.current_process", lambda: threading.Thread(name="LokyProcess-1"))
        bar = Bar(lambda: (0.5, FIELDS), hidden=True if why == "hidden" else None, delay=0.0)
        bar.move()
        bar.refresh()
        bar.close()
        assert opened.close() == "" and capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "00:00 left"), (3599.9, "59:59 left"), (90000.0, "25:00:00 left")])
def test_time_that_is_left(seconds: float, text: str) -> None:
    assert time_left(seconds) == text and time_left(seconds, "≈") == f"≈ {text}"
