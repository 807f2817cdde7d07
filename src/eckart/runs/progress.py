"""The progress of a training on the terminal, and an estimate of the time that is left."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from eckart.linalg.blocks import Blocked
from eckart.linalg.operators import Operator
from eckart.methods.driven import DrivenMethod
from eckart.methods.method import Method
from eckart.results.bar import Bar, Field, time_left
from eckart.runs.recorder import Recorder

# Measures that an estimate is made of, and how many it takes at least.
_MOST, _LEAST = 100, 4


class Decay:
    """A measure on its way down to a tolerance: how much of the way is done, and how long the rest takes.

    A gradient falls by a factor in each step, more or less, so its logarithm is extrapolated: by the straight line
    through the measures of the last half of the time.

    Args:
        tolerance: Where the way ends.

    Example:
        >>> decay = Decay(1e-10)
        >>> for second in range(5):
        ...     decay.add(10.0**-second, float(second))
        >>> decay.done, round(decay.left(4.0), 6)
        (0.4, 6.0)
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.done = 0.0
        self.value: float | None = None
        self._first: float | None = None
        self._measures: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def add(self, value: float, now: float) -> None:
        """Take a measure; one that is equal to the last adds nothing."""
        if value == self.value or not 0 < value < math.inf:
            return
        self.value = value
        height = math.log(value / self.tolerance)
        self._first = height if self._first is None else self._first
        self._measures.append((now, height))
        if self._first > 0:
            self.done = max(self.done, min(1.0, 1.0 - height / self._first))

    def left(self, now: float) -> float | None:
        """Seconds that are left; None while the measures do not fall, or are too few."""
        if len(self._measures) < _LEAST:
            return None
        middle = (self._measures[0][0] + self._measures[-1][0]) / 2
        recent = [measure for measure in self._measures if measure[0] >= middle]
        recent = recent if len(recent) >= _LEAST else list(self._measures)[-_LEAST:]
        at, height = (sum(values) / len(recent) for values in zip(*recent, strict=True))
        spread = sum((second - at) ** 2 for second, _ in recent)
        slope = sum((second - at) * (value - height) for second, value in recent) / spread if spread else 0.0
        return None if slope >= 0 else max(0.0, at - height / slope - now)


class TrainingBar:
    """The bar of a training: loss, excess, the gradient that it stops by, and an estimate of the time that is left.

    Of a stack it shows the member that is the furthest from its end. A training that may end before its last step,
    since its gradient or its excess falls below a tolerance, shows an estimate where that falls (≈), and otherwise the
    time of all steps, which is a bound (≤).

    Args:
        method: What is trained; :meth:`Method.progress` has to be known.
        recorder: Knows the loss and the excess.
        hidden: Whether it is never drawn; None: unless standard error is a terminal.
    """

    def __init__(self, method: Method, recorder: Recorder, hidden: bool | None = None) -> None:
        self._method, self._recorder = method, recorder
        self._began, self._first = time.monotonic(), method.progress()[0]
        self._gradient, self._excess = (Decay(method.tolerance) if method.tolerance > 0 else None for _ in range(2))
        self._loss: Any = None
        self._bar = Bar(self._told, hidden=hidden)

    def move(self, loss: Any = None) -> None:
        """Draw the bar if it is time.

        Args:
            loss: Loss of the last batch, a number or a tensor; None where the recorder knows one.
        """
        self._loss = loss
        self._bar.move()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _told(self) -> tuple[float, Sequence[Field]]:
        now = time.monotonic() - self._began
        done, total = self._method.progress()
        rate = (done - self._first) / now if now > 0 else 0.0
        bound = (total - done) / rate if rate > 0 else None
        if not isinstance(self._method, DrivenMethod):
            return done / max(total, 1), [*self._epochs(done, total), *_pace(rate, "steps", time_left(bound))]
        loss, excess, gradient = self._figures(self._method)
        decays, values = [], (gradient, excess if self._method.stop == "excess" else None)
        for decay, value in zip((self._gradient, self._excess), values, strict=True):
            if decay is not None and value is not None and math.isfinite(value):
                decay.add(value, now)
                decays.append(decay)
        estimates = [seconds for decay in decays if (seconds := decay.left(now)) is not None]
        way = max([done / max(total, 1), *(decay.done for decay in decays)])
        left, aim, longer = time_left(bound), "", f"{done} of {total} steps"
        if decays:
            estimate = min(estimates, default=math.inf)
            sure = bound is not None and bound <= estimate
            left = time_left(bound, "≤") if sure or not estimates else time_left(estimate, "≈")
            aim, longer = f" → {_brief(self._method.tolerance, 1)}", f"{done} of ≤ {total} steps"
        return way, [
            _members(self._method),
            Field(1, f"{done} steps" if decays else longer, longer),
            _figure(3, "loss", loss, 2),
            _figure(4, "excess", excess),
            _figure(5, "gradient", gradient, more=aim),
            *_pace(rate, "steps", left),
        ]

    def _figures(self, method: DrivenMethod) -> tuple[float | None, float | None, float | None]:
        """Loss, excess and gradient of the members that are still trained, the largest of each."""
        last, active = self._recorder.last, method.driver.active.cpu()
        over = [last[name] for name in ("excess_2norm", "excess_frobenius") if last.get(name) is not None]
        excess = None if not over else _largest(torch.stack([part.cpu().double() for part in over]).amax(0), active)
        gradient = method.driver.stationarity if method.tolerance > 0 else None
        return _largest(last.get("train/loss"), active), excess, _largest(gradient, active)

    def _epochs(self, done: int, total: int) -> list[Field]:
        last, method, epochs = self._recorder.last, self._method, self._method.max_epochs
        loss, accuracy = last.get("train/loss", self._loss), last.get("accuracy")
        place = (
            f"epoch {min(method.current_epoch + 1, epochs)} of {epochs}" if epochs > 0 else f"{done} of {total} steps"
        )
        return [
            Field(1, place),
            Field(3, "" if loss is None else f"loss {float(torch.as_tensor(loss).max()):.4f}"),
            Field(4, "" if accuracy is None else f"accuracy {float(accuracy):.4f}"),
        ]


def show_passes(operator: Operator, *, hidden: bool | None = None) -> None:
    """Show a bar during each pass over a target that is read in blocks; of any other nothing is shown.

    Args:
        operator: The target.
        hidden: As of :class:`TrainingBar`.
    """
    if not isinstance(operator, Blocked):
        return

    @contextlib.contextmanager
    def watch(blocks: int) -> Iterator[Callable[[], object]]:
        done, began = 0, time.monotonic()

        def told() -> tuple[float, Sequence[Field]]:
            share, now = done / blocks, time.monotonic() - began
            left = time_left(now * (1 / share - 1) if done else None)
            place = Field(1, f"pass {operator.passes + 1} over the target")
            return share, [place, Field(2, f"{100 * share:.0f} %"), Field(0, left)]

        def move() -> None:
            nonlocal done
            done += 1
            bar.move()

        with contextlib.closing(Bar(told, hidden=hidden)) as bar:
            yield move

    operator.watch = watch


class Progress(Callback):
    """Shows the :class:`TrainingBar` of a run.

    Args:
        recorder: Knows the loss and the excess.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._bar: TrainingBar | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        assert isinstance(pl_module, Method)
        self._bar = TrainingBar(pl_module, self._recorder, None if trainer.is_global_zero else True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        assert self._bar is not None
        self._bar.move(outputs.get("loss") if isinstance(outputs, dict) else None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away, so that the error stands alone."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _members(method: DrivenMethod) -> Field:
    done = method.stack - int(method.driver.active.sum())
    return Field(2, f"{done} of {method.stack} done" if method.stack > 1 else "")


def _pace(rate: float, unit: str, left: str) -> list[Field]:
    digits = 0 if rate >= 100 else 1
    return [Field(6, f"{rate:.{digits}f} {unit}/s" if rate else ""), Field(0, left)]


def _figure(place: int, name: str, value: float | None, digits: int = 1, more: str = "") -> Field:
    if value is None or not math.isfinite(value):
        return Field(place, "")
    return Field(place, f"{name} {_brief(value, digits)}", f"{name} {_brief(value, 2)}{more}")


def _brief(value: float, digits: int) -> str:
    """A number in scientific notation, to some digits, with an exponent as short as it can be."""
    number, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{number}e{int(exponent)}"


def _largest(values: Tensor | None, members: Tensor) -> float | None:
    if values is None:
        return None
    values = values.cpu().double()
    chosen = values[members] if members.any() else values
    return float(chosen.max())
