"""The metrics that runs log: their names, their axis, and how a summary takes them."""

from dataclasses import dataclass
from typing import Literal

STEP, EPOCH = "step", "epoch"
"""Axes, logged with every row: the steps of the optimizer; the classifier also logs its passes over the data."""

RANK = "rank"
"""Logged once, with the last errors of a run: a chart over ranks has one point of each run."""

PICTURES = "figures/"
"""What the names of a run's pictures begin with, such as ``figures/approximation``."""

CHOICES = "choices"
"""Key of a run's config under which the names stand that were chosen: ``choices.method``, ``choices.data``, …"""


@dataclass(frozen=True)
class Metric:
    """A number that a run logs while it trains.

    Attributes:
        name: Its name, as in ``history.csv``.
        title: What a chart of it is called.
        unit: Its unit; empty for a number without one.
        summary: What is kept of it at the end: the last value, which for all fields of ``result.json`` is that field,
            or the least one.
        log: Whether a chart of it has a logarithmic scale.
        axes: What it is drawn against: the step, the epoch, or the epoch in runs that count epochs and else the step.
        tracked_only: Whether trackers alone receive it, and ``history.csv`` does not, since ``result.json`` says it.

    Example:
        >>> METRICS["train/loss"].summary_key, METRICS["accuracy"].summary_key
        ('train/loss.min', 'accuracy')
        >>> [METRICS[name].axis(epochs=True) for name in ("train/loss", "accuracy", "excess_2norm")]
        ['epoch', 'epoch', 'step']
        >>> [METRICS[name].axis(epochs=False) for name in ("train/loss", "accuracy", "excess_2norm")]
        ['step', None, 'step']
    """

    name: str
    title: str
    unit: str = ""
    summary: Literal["last", "min"] = "last"
    log: bool = False
    axes: tuple[str, ...] = (STEP,)
    tracked_only: bool = False

    @property
    def summary_key(self) -> str:
        """Name of the value in W&B's summary."""
        return self.name if self.summary == "last" else f"{self.name}.{self.summary}"

    def axis(self, *, epochs: bool) -> str | None:
        """Name of the metric that it is drawn against; None if the run does not log it.

        Args:
            epochs: Whether the run counts epochs, as the classifier does.
        """
        kept = (EPOCH, STEP) if epochs else (STEP,)
        return next((axis for axis in kept if axis in self.axes), None)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("train/loss", "Training loss", summary="min", log=True, axes=(EPOCH, STEP)),
        # The errors of the last step are the result: a method is not to be judged by the best step on its way.
        Metric("relative_2norm", "Relative 2-norm error", log=True),
        Metric("relative_frobenius", "Relative Frobenius error", log=True),
        Metric("excess_2norm", "2-norm excess over the optimum", log=True),
        Metric("excess_frobenius", "Frobenius excess over the optimum", log=True),
        Metric("optimum_2norm", "Optimum: relative 2-norm error of the SVD", log=True, tracked_only=True),
        Metric("optimum_frobenius", "Optimum: relative Frobenius error of the SVD", log=True, tracked_only=True),
        Metric("relative_observed", "Relative error on the observed entries", log=True),
        Metric("relative_withheld", "Relative error on the observed entries that were withheld as a check", log=True),
        Metric("relative_held_out", "Relative error on the held-out entries", log=True),
        Metric("rmse", "RMSE on the held-out ratings", unit="units of the ratings"),
        Metric("mae", "Mean absolute error on the held-out ratings", unit="units of the ratings"),
        Metric("largest_output_difference", "Largest output difference", unit="units of the outputs", log=True),
        # Its largest value would be that of an epoch chosen by the test set.
        Metric("accuracy", "Test accuracy", unit="fraction correct", axes=(EPOCH,)),
        Metric("validation_accuracy", "Accuracy on the held-out training samples", unit="fraction", axes=(EPOCH,)),
        Metric("train/loss_sum", "Training cross-entropy, summed over batches", unit="nats", axes=(EPOCH,)),
    )
}
"""Every metric of the methods, by name. What callbacks log, such as ``lr-Adam``, is logged beside them by step."""
