"""Claims of the source documents: what each experiment file says its document found, and whether that comes back."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eckart import config

PRINTED = 5e-5
"""Figures closer than this are equal: documents print four decimals."""
_NOT_AN_ERROR = ("accuracy", "numerical_rank", "effective_rank", "parameters", "dense_parameters")


@dataclass(frozen=True)
class Point:
    """One figure of a document, or one that it does not give.

    Attributes:
        label: What tells it from the claim's others, such as ``rank 3``; empty where it is the only one.
        overrides: What is composed beside the experiment, such as ``method.hidden=paper``.
        rank: Rank that it is for; None for the experiment's own.
        quantity: Field of ``result.json``, or the name of what is computed from it.
        place: Which value of a field that is a list; None for one that is a number.
        value: The document's figure; text where it is told in words, None where it is not told.
    """

    label: str
    overrides: tuple[str, ...]
    rank: int | None
    quantity: str
    place: int | None
    value: float | str | None


@dataclass(frozen=True)
class Claim:
    """A claim, as the block ``claim:`` of its experiment file states it.

    Attributes:
        name: Name of the experiment.
        headline: The claim in one line.
        settings: The block.
        data: What the experiment sets of its data, as overrides.
    """

    name: str
    headline: str
    settings: dict[str, Any]
    data: tuple[str, ...]

    @property
    def points(self) -> list[Point]:
        """The figures that are compared.

        ``values:`` holds them by rank, or by the values of the key that ``over:`` names; ``value:`` holds the only
        one, or one for each of several quantities. A value that is a list is for a field that is one.
        """
        if "values" in self.settings:
            over, quantity = self.settings.get("over"), self.settings["quantity"]
            return [
                Point(f"rank {key}", (), int(key), quantity, None, value)
                if over is None
                else Point(f"{over}={key}", (f"{over}={key}",), None, quantity, None, value)
                for key, value in self.settings["values"].items()
            ]
        quantities, values = self.settings["quantity"], self.settings["value"]
        if not isinstance(quantities, list):
            return [Point("", (), None, quantities, None, values)]
        points = []
        for quantity, value in zip(quantities, values, strict=True):
            for place, single in enumerate(value) if isinstance(value, list) else [(None, value)]:
                label = quantity if place is None else f"{quantity}, {place + 1}"
                points.append(Point(label.replace("_", " "), (), None, quantity, place, single))
        return points

    def verdict(
        self, point: Point, here: Sequence[float], ours: Sequence[float], optima: Sequence[float | None]
    ) -> tuple[bool | None, bool]:
        """Whether a document's figure comes back in its own recipe, and whether our recipe beats it.

        A figure that is a mean (``of:`` so many draws) comes back if it is within two standard errors of our mean, its
        own error counted in. One of a single draw is held against the median and the median absolute deviation, since
        seeds that go astray would make a standard deviation too kind. Four equal decimals are always enough. One told
        in words comes back if the median is ``at_least:`` what they say. A figure is beaten if our recipe is lower than
        both it and what comes out of its recipe here, on the same data; as excess where the document gives the error of
        its SVD too.

        Args:
            point: The figure.
            here: What the document's recipe gives here, by seed.
            ours: What our recipe gives, by seed.
            optima: The least that any matrix of the rank gives, by seed of ours; None where that is not known.

        Returns:
            ``(comes back, beaten)``; the first is None where the document gives no figure.
        """
        if point.value is None:
            return None, False
        draws = self.settings.get("of", 1)
        center = statistics.median if draws == 1 else statistics.mean
        middle, reached = center(here), center(ours)
        better = point.quantity not in _NOT_AN_ERROR and reached < middle - PRINTED
        if isinstance(point.value, str):
            return middle >= self.settings["at_least"], better and reached < self.settings["at_least"]
        # 1.4826 makes the median absolute deviation of normal draws their standard deviation.
        spread = 1.4826 * center([abs(value - middle) for value in here]) if draws == 1 else _deviation(here)
        error = 2 * spread * math.sqrt(1 / draws + 1 / len(here))
        back = abs(middle - point.value) <= max(error, PRINTED)
        value = float(point.value)
        known = [optimum for optimum in optima if optimum is not None]
        if "svd_value" in self.settings and known:
            value -= self.settings["svd_value"]
            reached -= center(known)
        return back, better and reached < value - PRINTED

    def describe(self, verdicts: Sequence[tuple[bool | None, bool]]) -> str:
        """Say the verdict on some of the claim's points in words.

        Example:
            >>> Claim("a", "A claim", {"why": "no seed given"}, ()).describe([(False, True)])
            'does not come back: no seed given; beaten'
        """
        told = [(back, beaten) for back, beaten in verdicts if back is not None]
        if not told:
            return "not given"
        came, beaten = sum(back is True for back, _ in told), sum(beaten for _, beaten in told)
        why = f": {self.settings['why']}" if "why" in self.settings else ""
        if len(told) == 1:
            but = f", but {self.settings['but']}" if "but" in self.settings else ""
            words = f"reproduced{but}" if came else f"does not come back{why}"
            return f"{words}; beaten" if beaten else words
        words = f"{came} of {len(told)} reproduced" + (why if came < len(told) else "")
        return f"{words}; {'all' if beaten == len(told) else beaten} beaten" if beaten else words


def read_claims() -> dict[str, Claim]:
    """All claims by the name of their experiment, in the order of the names.

    Example:
        >>> read_claims()["lab_svd"].points[0].value
        0.1219
    """
    read = (_read(path) for path in sorted((config.config_dir() / "experiment").glob("[!_]*.yaml")))
    return {claim.name: claim for claim in read if claim.settings}


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _read(path: Path) -> Claim:
    lines = path.read_text(encoding="utf-8").splitlines()
    headline = next(line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line)
    loaded = OmegaConf.load(path)
    assert isinstance(loaded, DictConfig)
    data = tuple(f"data.{key}={value}" for key, value in loaded.get("data", {}).items())
    return Claim(path.stem, headline, config.plain(loaded.get("claim")), data)
