"""Bars of trainings and sweeps: what they tell, and how good the estimates of the time that is left are."""

import functools
import math
import re
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ptys import frames, terminal

import eckart
from eckart.linalg.blocks import Blocked, Stored
from eckart.linalg.operators import Dense
from eckart.linalg.reference import Reference
from eckart.methods.factorization import Factorization
from eckart.methods.svd import SVD
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.results import bar
from eckart.runs import progress
from eckart.runs.progress import Decay, TrainingBar, show_passes
from eckart.runs.recorder import Recorder
from eckart.sweeps.progress import Board, Pace

TARGET = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 9, 7)))
# Its singular values lie far apart, so that it is learned in fewer steps.
TARGET[1] = torch.from_numpy(np.eye(9, 7) * 9.0 / 10.0 ** np.arange(7))
CERTIFIED: dict[str, Any] = {"max_steps": 500, "tolerance": 1e-10, "optimizer": RiemannianCG}


def test_a_straight_decay_is_extrapolated_to_its_end() -> None:
    decay = Decay(1e-10)
    for second in range(50):
        decay.add(10.0 ** -(second / 10), second)
    assert decay.left(49.0) == pytest.approx(51.0) and decay.left(60.0) == pytest.approx(40.0)
    assert decay.done == pytest.approx(0.49)


def test_a_decay_that_becomes_steeper_is_followed_and_steps_up_are_no_loss_of_way() -> None:
    decay = Decay(1e-8)
    for second in range(100):
        slow, fast = 0.01 * min(second, 50), 0.1 * max(second - 50, 0)
        decay.add(10.0 ** -(slow + fast), second)
    # The last half of the time: 0.1 decades a second, of which 2.6 are left.
    assert decay.left(99.0) == pytest.approx((8 - 0.5 - 4.9) / 0.1, rel=0.05)
    done = decay.done
    decay.add(1e-2, 100.0)
    assert decay.done == done


@pytest.mark.parametrize(
    "values",
    [[], [1.0, 0.1, 0.01], [1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0, 1.0], [0.0, -1.0, math.inf, math.nan] * 2],
)
def test_there_is_no_estimate_where_nothing_falls(values: list[float]) -> None:
    decay = Decay(1e-10)
    for second, value in enumerate(values):
        decay.add(value, second)
    assert decay.left(10.0) is None


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_the_estimate_of_a_noisy_decay_is_right_within_a_third(ratio: float) -> None:
    random, decay, second = np.random.default_rng(1), Decay(1e-10), 0
    end = math.log(1e-10) / math.log(ratio)
    for second in range(int(end * 0.6)):
        decay.add(ratio**second * math.exp(random.normal(0, 0.5)), second)
    assert decay.left(second) == pytest.approx(end - second, rel=1 / 3)


def telling(
    monkeypatch: pytest.MonkeyPatch, method: Any, seconds_a_step: float = 1.0
) -> tuple[TrainingBar, Recorder, Callable[[], tuple[float, str]]]:
    """The bar of a method, its recorder, and what the bar tells, at a pace that is given."""
    clock = SimpleNamespace(monotonic=lambda: method.driver.step_count * seconds_a_step)
    monkeypatch.setattr(progress, "time", clock)
    recorder = Recorder(Reference(Dense(TARGET[: method.stack]), method.ranks))
    bar = TrainingBar(method, recorder, hidden=True)

    def told() -> tuple[float, str]:
        done, fields = bar._told()
        return done, "  ".join(field.longer or field.text for field in fields if field.text)

    return bar, recorder, told


def test_a_training_tells_loss_excess_gradient_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Factorization(TARGET[:1], ranks=[2], seeds=[0], **CERTIFIED)
    _, recorder, told = telling(monkeypatch, method)
    seen: list[tuple[float, float, float, str]] = []

    def look() -> None:
        recorder.take(method)
        loss, excess = (float(recorder.last[name][0]) for name in ("train/loss", "excess_frobenius"))
        seen.append((loss, excess, *told()))

    method.learn(look)
    loss, excess, way, text = seen[6]
    assert 0.1 < way < 0.5
    number = r"[-\d.]+e-?\d+"
    match = re.fullmatch(
        rf"(\d+) of ≤ 500 steps  loss ({number})  excess ({number})  gradient ({number}) → 1e-10"
        rf"  1.0 steps/s  ([≈≤]) (\S+) left",
        text,
    )
    assert match is not None, text
    assert float(match[2]) == pytest.approx(loss, rel=0.05) and float(match[3]) >= excess * 0.95
    # The steps took a second each, so the time that was left is known now.
    took = method.driver.step_count
    for *_, text in seen[len(seen) // 2 : -1]:
        step, minutes, seconds = map(int, re.match(r"(\d+) of .*≈ (\d+):(\d+) left", text).groups())  # type: ignore[union-attr]
        assert abs(60 * minutes + seconds - (took - step)) <= took / 4, (text, took)
    ways = [way for _, _, way, _ in seen]
    assert ways == sorted(ways) and ways[-1] == 1.0


def test_a_training_without_a_tolerance_takes_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    adam = functools.partial(torch.optim.Adam, lr=0.01)
    method = Factorization(TARGET[:1], ranks=[2], seeds=[0], optimizer=adam, max_steps=40, tolerance=0.0)
    _, recorder, told = telling(monkeypatch, method, seconds_a_step=2.0)
    seen: list[str] = []

    def look() -> None:
        recorder.take(method)
        seen.append(told()[1])

    method.learn(look)
    assert "gradient" not in seen[10] and "≤" not in seen[10]
    assert seen[10].startswith("10 of 40 steps  loss ") and seen[10].endswith("0.5 steps/s  01:00 left")


def test_of_a_stack_the_member_that_is_the_furthest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Factorization(TARGET, ranks=[2, 2], seeds=[0, 1], **CERTIFIED)
    _, recorder, told = telling(monkeypatch, method)
    seen: list[tuple[str, str]] = []

    def look() -> None:
        recorder.take(method)
        pairs = zip(recorder.last["train/loss"].tolist(), method.driver.active.tolist(), strict=True)
        trained = [loss for loss, active in pairs if active]
        if trained:
            seen.append((told()[1], f"loss {progress._brief(max(trained), 2)}  "))

    method.learn(look)
    assert all(loss in text for text, loss in seen)
    assert {text.split("  ")[0] for text, _ in seen} == {"0 of 2 done", "1 of 2 done"}


def test_a_stop_by_the_excess_is_estimated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Factorization(TARGET[:1], ranks=[2], seeds=[0], stop="excess", **CERTIFIED)
    _, recorder, told = telling(monkeypatch, method)
    seen: list[tuple[float, float]] = []

    def look() -> None:
        recorder.take(method)
        seen.append((told()[0], float(method.driver.stationarity[0])))

    method.learn(look)
    # It ends where the excess has reached the tolerance, and the gradient has not.
    way, gradient = seen[-1]
    assert way == 1.0 and gradient > CERTIFIED["tolerance"]


def test_a_decomposition_has_no_figures_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    method = SVD(Dense(TARGET[:1]), ranks=[2], seeds=[0], max_steps=1, tolerance=0.0, record_every=None)
    _, _, told = telling(monkeypatch, method)
    assert told() == (0.0, "0 of 1 steps")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_fit_on_a_terminal_draws_lines_that_fit_and_leaves_none(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = functools.partial(torch.optim.Adam, lr=1e-4)
    # A line is drawn also on a fast machine.
    monkeypatch.setattr("eckart.results.bar._DELAY", 1e-3)
    with terminal(columns) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        eckart.fit(TARGET[0], 2, "factorization", optimizer=make, max_steps=700, record_every=10, verbose=True)
        seen = frames(opened.close(), columns)
    lines = {rows[0] for rows in seen if rows[0]}
    assert lines and all(re.search(r"\d+ (steps|of ≤ 700 steps)  loss \S+  excess \S+ .* left$", row) for row in lines)
    assert seen[-1] == [""]
    assert "stopped at max_steps=700" in capsys.readouterr().out


@pytest.mark.parametrize("hidden", [None, True])
def test_passes_over_a_target_in_blocks_are_shown(hidden: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Stored):
        def read(self, first: int, out: torch.Tensor) -> None:
            time.sleep(0.02)
            super().read(first, out)

    monkeypatch.setattr(bar, "_DELAY", 0.0)
    operator = Blocked(Slow(torch.ones(200, 3), height=10))
    show_passes(operator, hidden=hidden)
    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        operator.squares()
        operator.images(torch.ones(1, 1, 3))
        written = opened.close()
    if hidden:
        assert written == ""
        return
    seen = [rows[0] for rows in frames(written, 80)]
    for number in (1, 2):
        assert any(re.search(rf"pass {number} over the target  \d+ %  00:00 left$", line) for line in seen)
    assert seen[-1] == ""


def test_the_pace_of_one_method_is_not_that_of_another() -> None:
    now = 0.0
    pace = Pace(["svd"] * 10 + ["net"] * 10, clock=lambda: now)
    assert pace.left() is None
    pace.begin("svd", 5)
    assert pace.left() is None
    now = 5.0
    pace.end("svd", 5)
    # One second a job, of every method as far as is known.
    assert pace.left() == 15.0
    pace.begin("net", 5)
    now = 55.0
    pace.end("net", 5)
    assert pace.left() == pytest.approx(5 * 1 + 5 * 10)
    pace.begin("net", 5)
    now = 75.0
    assert pace.left() == pytest.approx(5 * 1 + 50 - 20)
    # It takes longer than the five before it did: nobody knows how much longer.
    now = 500.0
    assert pace.left() is None


def test_the_pace_of_groups_that_run_side_by_side_is_that_of_all() -> None:
    now = 0.0
    pace = Pace(["svd"] * 10, clock=lambda: now)
    now = 6.0
    pace.end("svd", 4)
    assert pace.left() == 9.0


def test_a_board_tells_what_is_done_what_failed_and_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        with Board(["svd"] * 30 + ["bottleneck"] * 29, completed=1) as board:
            board.begin("svd", 30)
            board.add("svd", [True] * 29 + [False])
            board.begin("bottleneck", 29)
        seen = frames(opened.close(), 80)
    lines = [rows[0] for rows in seen]
    assert any(line.endswith("1 of 60 jobs  starting") for line in lines)
    assert any(line.endswith("1 of 60 jobs  svd ×30") for line in lines)
    assert any(re.search(r"31 of 60 jobs  1 failed  bottleneck ×29  ≈ 00:\d\d left$", line) for line in lines)
    assert seen[-1] == [""]


def test_a_board_is_hidden_where_the_progress_bar_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80) as opened:
        monkeypatch.setattr(sys, "stderr", opened.stream)
        with Board(["svd"], completed=0, hidden=True) as board:
            board.begin("svd", 1)
            board.add("svd", [True])
        assert opened.close() == ""
