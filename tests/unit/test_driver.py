"""The driver, on problems whose every step is known in closed form."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from eckart.optim import driver as module
from eckart.optim.driver import Driver

INF, NAN = float("inf"), float("nan")


class Halving:
    """A step halves the number of each active member; its loss is the square, its certificate the number itself."""

    def __init__(self, *start: float) -> None:
        self.value = torch.tensor(start, dtype=torch.float64)[:, None]
        self.asked: list[int] = []
        self.saddles: list[tuple[bool, list[bool]]] = []
        self.moves = torch.zeros(len(start), dtype=torch.bool)
        self.after: Callable[[int], None] = lambda step: None

    def advance(self, step: int, active: Tensor) -> Tensor | None:
        self.asked.append(step)
        before = self.value[:, 0].square()
        self.value[active] /= 2
        self.after(step)
        return before

    def tensors(self) -> list[Tensor]:
        return [self.value]

    def loss(self, step: int) -> Tensor:
        return self.value[:, 0].square()

    def size(self) -> Tensor:
        return self.value[:, 0].abs().nan_to_num(0)

    def certificate(self) -> Tensor | None:
        return self.value[:, 0].abs()

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        self.saddles.append((always, members.tolist()))
        return self.moves & members


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, r"^max_steps must be an integer of at least 1\. Found 0\.$"),
        ({"max_steps": 5, "record_every": 0}, r"^record_every must be an integer of at least 1\. Found 0\.$"),
        ({"max_steps": 5, "tolerance": -1e-3}, r"^tolerance must not be negative\. Found -0\.001\.$"),
        ({"max_steps": 5, "tolerance": NAN}, r"^tolerance must not be negative\. Found nan\.$"),
    ],
)
def test_numbers_out_of_their_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Driver(1, **options)  # type: ignore[arg-type]


def test_a_new_driver_knows_nothing() -> None:
    driver = Driver(2, max_steps=5)
    assert driver.steps.tolist() == driver.checked.tolist() == [0, 0]
    assert driver.active.tolist() == [True, True]
    assert driver.diverged.tolist() == [False, False]
    assert driver.recorded.tolist() == [-1, -1]
    assert driver.loss.isnan().all() and driver.loss.dtype == torch.float64
    assert driver.stationarity.tolist() == [INF, INF] and driver.stationarity.dtype == torch.float64
    assert (driver.tolerance, driver.step_count, driver.seconds, driver.done) == (0.0, 0, 0.0, False)
    assert set(driver.state_dict()) == {"steps", "active", "diverged", "checked", "recorded"}
    assert driver.recorded.dtype == driver.checked.dtype == driver.steps.dtype == torch.long


def test_records_are_dense_at_first_and_ever_further_apart() -> None:
    driver, places = Driver(1, max_steps=10**6), [0]
    while places[-1] < 1000:
        places.append(driver.next_record(places[-1]))
    assert places[:30] == [*range(21), 22, 24, 26, 28, 30, 33, 36, 39, 42]
    assert sum(100 < place <= 1000 for place in places) == pytest.approx(25, abs=3)
    # From any step in between, the next one is the same.
    for step in range(1000):
        assert driver.next_record(step) == min(place for place in places if place > step)


@pytest.mark.parametrize(("step", "expected"), [(0, 7), (6, 7), (7, 14), (20, 21), (21, 25), (25, 25)])
def test_records_lie_at_multiples_of_record_every_and_at_the_end(step: int, expected: int) -> None:
    assert Driver(1, max_steps=25, record_every=7).next_record(step) == expected


@pytest.mark.parametrize(("step", "expected"), [(20, 21), (23, 23)])
def test_the_last_step_is_recorded(step: int, expected: int) -> None:
    assert Driver(1, max_steps=expected).next_record(step) == expected


def test_a_block_takes_the_steps_up_to_the_next_record() -> None:
    driver, problem = Driver(2, max_steps=12, record_every=5), Halving(1.0, 3.0)
    driver.active[1] = False
    assert driver.block(problem)
    assert problem.asked == [0, 1, 2, 3, 4]
    assert (driver.step_count, driver.steps.tolist()) == (5, [5, 0])
    assert problem.value[:, 0].tolist() == [2**-5, 3.0]
    # The loss before the last step; the member that is frozen keeps what it had.
    assert driver.loss[0] == 4.0**-4 and driver.loss[1].isnan()
    assert driver.block(problem) and driver.block(problem)
    assert (driver.step_count, driver.done) == (12, True)
    assert problem.asked == list(range(12))


def test_a_block_that_ends_early_is_not_to_be_recorded() -> None:
    driver, problem = Driver(1, max_steps=12, record_every=5), Halving(1.0)
    assert not driver.block(problem, stop=3)
    assert driver.step_count == 3
    assert driver.block(problem, stop=9)
    assert driver.step_count == 5
    assert not driver.block(problem, pauses=lambda: driver.step_count == 7)
    assert driver.step_count == 7
    # A pause at the record does not stop it from being recorded.
    assert driver.block(problem, pauses=lambda: driver.step_count == 10)


def test_a_block_of_no_steps_changes_nothing() -> None:
    driver, problem = Driver(1, max_steps=12), Halving(1.0)
    assert not driver.block(problem, stop=0)
    assert (driver.step_count, driver.active.tolist(), driver.diverged.tolist()) == (0, [True], [False])
    assert problem.value.tolist() == [[1.0]]


def test_a_block_ends_when_the_problem_has_stopped_every_member() -> None:
    driver, problem = Driver(2, max_steps=50, record_every=20), Halving(1.0, 1.0)

    def stop_at_three(step: int) -> None:
        if step == 3:
            driver.stop(torch.tensor([True, True]))

    problem.after = stop_at_three
    assert driver.block(problem)
    assert (driver.step_count, driver.steps.tolist(), driver.done) == (3, [3, 3], True)


def spoil(kind: str, problem: Halving) -> None:
    problem.value[1] = {"nan": NAN, "inf": INF, "too large to square": 1e200}[kind]


@pytest.mark.parametrize("kind", ["nan", "inf", "too large to square"])
def test_a_member_that_diverges_keeps_its_last_finite_state_and_its_neighbors_continue(kind: str) -> None:
    driver, problem = Driver(3, max_steps=12, record_every=2), Halving(1.0, 8.0, 3.0)
    problem.after = lambda step: spoil(kind, problem) if step == 3 else None
    driver.block(problem)
    driver.record(problem)
    driver.block(problem)
    assert driver.diverged.tolist() == [False, True, False]
    assert driver.active.tolist() == [True, False, True]
    # The state and the loss of the last record before.
    assert problem.value[1, 0] == 8.0 / 4 and driver.loss[1] == 4.0
    assert driver.loss[0] == 4.0**-3
    driver.record(problem)
    assert not driver.done
    while not driver.done:
        driver.block(problem)
        driver.record(problem)
    assert driver.steps.tolist() == [12, 4, 12]
    assert problem.value[:, 0].tolist() == [2.0**-12, 2.0, 3.0 * 2**-12]
    assert driver.diverged.tolist() == [False, True, False]
    assert driver.reason(1) == "diverged after 4 steps: its loss is no longer finite"
    assert driver.reason(0) == "stopped at max_steps=12"


def test_a_loss_that_is_not_finite_is_a_divergence_too() -> None:
    class Lost(Halving):
        def advance(self, step: int, active: Tensor) -> Tensor | None:
            super().advance(step, active)
            return torch.tensor([1.0, NAN])

    driver, problem = Driver(2, max_steps=9), Lost(1.0, 1.0)
    driver.block(problem)
    assert driver.diverged.tolist() == [False, True]
    assert problem.value[:, 0].tolist() == [0.5, 1.0]
    assert driver.loss[0] == 1.0 and driver.loss[1].isnan()


def test_a_problem_that_does_not_know_its_loss_is_held_by_its_parameters() -> None:
    class Unknown(Halving):
        def advance(self, step: int, active: Tensor) -> Tensor | None:
            super().advance(step, active)
            return None

    driver, problem = Driver(2, max_steps=9), Unknown(1.0, 1.0)
    problem.after = lambda step: spoil("nan", problem)
    driver.block(problem)
    assert driver.diverged.tolist() == [False, True]
    assert problem.value[:, 0].tolist() == [0.5, 1.0]
    assert driver.loss.isnan().all()
    driver.record(problem)
    assert driver.loss.tolist() == [0.25, 1.0]


def test_nothing_that_a_step_writes_reaches_a_frozen_member_of_any_shape() -> None:
    class Careless(Halving):
        def __init__(self) -> None:
            super().__init__(1.0, 1.0)
            self.matrices = torch.ones(2, 3, 4)

        def advance(self, step: int, active: Tensor) -> Tensor | None:
            self.matrices += 1
            return super().advance(step, active)

        def tensors(self) -> list[Tensor]:
            return [self.value, self.matrices]

    driver, problem = Driver(2, max_steps=9, record_every=3), Careless()
    driver.stop(torch.tensor([False, True]))
    driver.block(problem)
    assert (problem.matrices[0] == 4).all() and (problem.matrices[1] == 1).all()
    # It was stopped, and has not diverged.
    assert not driver.diverged.any()
    problem.matrices[0, 2, 3] = NAN
    driver.block(problem)
    assert driver.diverged.tolist() == [True, False]


def test_a_member_converges_at_the_tolerance_itself() -> None:
    driver, problem = Driver(3, max_steps=99, tolerance=0.25, record_every=1), Halving(1.0, 8.0, 0.25)
    driver.record(problem)
    assert driver.active.tolist() == [True, True, False]
    assert problem.saddles[0] == (False, [False, False, True])
    while not driver.done:
        driver.block(problem)
        driver.record(problem)
    assert driver.steps.tolist() == [2, 5, 0]
    assert driver.stationarity.tolist() == [0.25, 0.25, 0.25]
    assert driver.reason(0) == "converged: the gradient in the scaled metric is 2.5e-01, relative"
    assert driver.step_count == 5


def test_without_a_tolerance_nothing_stops_and_no_saddle_is_looked_for() -> None:
    driver, problem = Driver(1, max_steps=3), Halving(0.0)
    driver.record(problem)
    assert driver.active.all() and driver.stationarity.tolist() == [0.0] and problem.saddles == []


def test_a_problem_without_a_certificate_is_never_called_converged() -> None:
    class Uncertain(Halving):
        def certificate(self) -> Tensor | None:
            return None

    driver, problem = Driver(1, max_steps=3, tolerance=1.0), Uncertain(0.0)
    driver.record(problem)
    assert driver.active.all() and driver.stationarity.tolist() == [INF] and problem.saddles == []
    assert driver.loss.tolist() == [0.0]


def test_a_member_that_is_moved_off_a_saddle_is_trained_on_and_one_that_rests_twice_stays() -> None:
    driver, problem = Driver(2, max_steps=99, tolerance=0.5, record_every=2), Halving(2.0, 2.0)
    problem.moves[0] = True
    driver.block(problem)
    driver.record(problem)
    # Both rest; the first was moved.
    assert problem.saddles == [(False, [True, True]), (True, [False, False])]
    assert driver.active.tolist() == [True, False]
    assert driver.checked.tolist() == [2, 2]
    problem.moves[0] = False
    driver.record(problem)
    assert problem.saddles[2] == (False, [True, False])
    assert driver.active.tolist() == [False, False]
    # Neither has moved since it was looked at, and neither is looked at again.
    problem.moves[:] = True
    driver.record(problem)
    assert problem.saddles[4:] == [(False, [False, False]), (True, [False, False])]
    assert driver.active.tolist() == [False, False]


def test_a_member_that_the_problem_itself_has_stopped_is_held_against_a_saddle() -> None:
    driver, problem = Driver(1, max_steps=99, tolerance=0.5, record_every=4), Halving(2.0)
    problem.after = lambda step: driver.stop(torch.tensor([step == 2]))
    driver.block(problem)
    problem.moves[0] = True
    driver.record(problem)
    assert problem.saddles[0] == (False, [True])
    assert driver.active.tolist() == [True]


def test_a_diverged_member_is_neither_converged_nor_moved() -> None:
    driver, problem = Driver(2, max_steps=99, tolerance=0.5, record_every=2), Halving(2.0, 0.0)
    problem.after = lambda step: spoil("nan", problem)
    problem.moves[:] = True
    driver.block(problem)
    driver.record(problem)
    assert problem.saddles[0] == (False, [True, False])
    assert driver.active.tolist() == [True, False]
    assert driver.diverged.tolist() == [False, True]
    assert driver.reason(1).startswith("diverged")


def test_a_member_that_has_not_converged_in_100_steps_is_moved_again_and_again() -> None:
    driver = Driver(3, max_steps=400, tolerance=1e-300, record_every=10)
    problem = Halving(1.0, 1.0, 1.0)
    problem.certificate = lambda: torch.ones(3)  # type: ignore[method-assign]
    driver.stop(torch.tensor([False, False, True]))
    problem.moves[0] = True
    slow = []
    while not driver.done:
        driver.block(problem)
        driver.record(problem)
        always, members = problem.saddles[-1]
        assert always
        if any(members):
            slow.append((driver.step_count, members))
    assert module._SLOW == 100
    # The one that was stopped is not looked at.
    assert slow == [(step, [True, True, False]) for step in (100, 200, 300, 400)]
    assert all(not any(members) for always, members in problem.saddles if not always)
    assert driver.checked.tolist() == [400, 400, 0]


def test_a_loss_that_is_not_finite_does_not_replace_the_recorded_one() -> None:
    driver, problem = Driver(2, max_steps=9), Halving(3.0, 2.0)
    driver.record(problem)
    assert driver.loss.tolist() == [9.0, 4.0]
    spoil("nan", problem)
    problem.value[0] = 1.0
    driver.record(problem)
    assert driver.loss.tolist() == [1.0, 4.0]


def test_the_loss_is_asked_for_at_the_step_and_without_gradients() -> None:
    class Watched(Halving):
        def loss(self, step: int) -> Tensor:
            asked.append((step, torch.is_grad_enabled()))
            return super().loss(step)

    asked: list[tuple[int, bool]] = []
    driver, problem = Driver(1, max_steps=9, record_every=4), Watched(1.0)
    driver.block(problem)
    driver.record(problem)
    assert asked == [(4, False)]


def test_seconds_add_up_what_blocks_and_records_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(Halving):
        def advance(self, step: int, active: Tensor) -> Tensor | None:
            clock[0] += 2
            return super().advance(step, active)

        def loss(self, step: int) -> Tensor:
            clock[0] += 0.25
            return super().loss(step)

    driver, problem = Driver(1, max_steps=9, record_every=3), Slow(1.0)
    for _ in range(2):
        driver.block(problem)
        driver.record(problem)
        clock[0] += 1000
    np.testing.assert_allclose(driver.seconds, 12.5)


def test_parameters_of_a_net_can_be_frozen() -> None:
    class Net(Halving):
        def __init__(self) -> None:
            super().__init__(1.0, 1.0)
            self.parameter = torch.nn.Parameter(torch.ones(2, 2))

        def advance(self, step: int, active: Tensor) -> Tensor | None:
            with torch.no_grad():
                self.parameter[1] = NAN
            return (self.parameter.sum(1) + self.value[:, 0]).nan_to_num(1)

        def tensors(self) -> list[Tensor]:
            return [self.parameter]

    driver, problem = Driver(2, max_steps=9), Net()
    driver.block(problem)
    assert problem.parameter.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert driver.loss.tolist()[0] == 3.0 and not driver.loss.requires_grad
