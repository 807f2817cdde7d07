import io
from typing import Any

import pytest
from ptys import terminal

from eckart.results.screen import Screen, left, length, right, shows_colors

COLORS = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*COLORS, "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_screen_is_as_wide_as_the_terminal_and_has_its_colors(columns: int) -> None:
    with terminal(columns) as opened:
        assert Screen.of(opened.stream) == Screen(columns, colored=True)


def test_a_pipe_and_a_terminal_without_a_size_have_80_columns() -> None:
    assert Screen.of(io.StringIO()) == Screen(80, colored=False)
    with terminal(0) as opened:
        assert Screen.of(opened.stream).width == 80


@pytest.mark.parametrize(("asked", "width"), [("132", 132), ("0", 80), ("wide", 80), ("-4", 80)])
def test_columns_of_the_environment_count(asked: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", asked)
    assert Screen.of(io.StringIO()).width == width


@pytest.mark.parametrize(
    ("variables", "on_a_terminal", "in_a_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "3"}, True, True),
    ],
)
def test_colors_follow_the_conventions(variables: dict[str, str], on_a_terminal: bool, in_a_pipe: bool) -> None:
    found = [shows_colors({"TERM": "xterm", **variables}, terminal=terminal) for terminal in (True, False)]
    assert found == [on_a_terminal, in_a_pipe]


@pytest.mark.parametrize(("text", "columns"), [("rank", 4), ("矩陣", 4), ("e\u0301", 1), ("\x1b[31mred\x1b[0m", 3)])
def test_text_is_placed_by_the_columns_that_it_takes(text: str, columns: int) -> None:
    assert length(text) == columns
    assert left(text, 6) == text + " " * (6 - columns) and right(text, 6) == " " * (6 - columns) + text
    assert left(text, 1) == text


def test_what_is_blank_is_not_painted() -> None:
    screen: Any = Screen(colored=True)
    assert screen.paint("  ", "red") == "  " and screen.paint(" 1", "red") == "\x1b[31m 1\x1b[0m"


def test_lines_are_broken_between_words_and_words_that_are_longer_than_a_line() -> None:
    screen = Screen(width=10)
    assert screen.wrap("one two three") == ["one two", "  three"]
    assert screen.wrap("/a/path/that-is-long") == ["/a/path/th", "  at-is-lo", "  ng"]
