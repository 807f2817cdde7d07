"""Claims of the source documents: the values that each experiment file says its document found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from eckart import config
from eckart.reproduction.verdicts import Sample, Verdict, compare, compare_bound, margin

_NOT_AN_ERROR = ("accuracy", "numerical_rank", "effective_rank", "parameters", "dense_parameters")


@dataclass(frozen=True)
class Point:
    """One value of a document, or one that it does not give.

    Attributes:
        label: Text that tells it from the claim's other values, such as ``rank 3``; empty where it is the only one.
        overrides: Overrides that are composed beside the experiment, such as ``method.hidden=paper``.
        rank: Rank that it belongs to; None for the experiment's own.
        quantity: Field of ``result.json``, or the name of a quantity that is computed from the factors.
        place: Which item of a field that is a list; None for a field that is a number.
        value: The document's value; text where it is told in words, None where it is not given.
        printed: Half a unit of the last decimal of the value, as the experiment file writes it; 0 for integers.
    """

    label: str
    overrides: tuple[str, ...]
    rank: int | None
    quantity: str
    place: int | None
    value: float | str | None
    printed: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A claim, as the block ``claim:`` of its experiment file states it.

    Attributes:
        name: Name of the experiment.
        headline: The claim in one line.
        settings: The block; numbers of ``value:`` and ``values:`` are the text that the file has.
        data: Overrides of the data that the experiment sets.
    """

    name: str
    headline: str
    settings: dict[str, Any]
    data: tuple[str, ...]

    @property
    def points(self) -> list[Point]:
        """The values that are compared.

        ``values:`` holds them by rank, or by the values of the key that ``over:`` names; ``value:`` holds the only
        one, or one for each of several quantities. A value that is a list belongs to a field that is a list.
        """
        if "values" in self.settings:
            over, quantity = self.settings.get("over"), self.settings["quantity"]
            return [
                Point(f"rank {key}", (), int(key), quantity, None, *_read_value(value))
                if over is None
                else Point(f"{over}={key}", (f"{over}={key}",), None, quantity, None, *_read_value(value))
                for key, value in self.settings["values"].items()
            ]
        quantities, values = self.settings["quantity"], self.settings["value"]
        if not isinstance(quantities, list):
            return [Point("", (), None, quantities, None, *_read_value(values))]
        points = []
        for quantity, value in zip(quantities, values, strict=True):
            for place, single in enumerate(value) if isinstance(value, list) else [(None, value)]:
                label = quantity if place is None else f"{quantity}, {place + 1}"
                points.append(Point(label.replace("_", " "), (), None, quantity, place, *_read_value(single)))
        return points

    def margin(self, point: Point, here: Sequence[float]) -> float | None:
        """Margin of a document's value, as in :func:`eckart.reproduction.verdicts.margin`; None where there is none."""
        if point.value is None:
            return None
        told_in_words = isinstance(point.value, str)
        return margin(Sample.of(here), None if told_in_words else self._draws, point.printed)

    def verdict(self, point: Point, here: Sequence[float]) -> Verdict:
        """Verdict on a document's value, by the rule of :mod:`eckart.reproduction.verdicts`.

        Args:
            point: The value.
            here: Values that the document's recipe gives here, by seed.
        """
        complete = "missing" not in self.settings
        if point.value is None:
            return Verdict.NOT_GIVEN
        if isinstance(point.value, str):
            return compare_bound(self.settings["at_least"], Sample.of(here), complete=complete)
        optimum = self.settings.get("svd_value", 0.0)
        return compare(
            point.value, point.printed, self._draws, Sample.of(here), optimum=float(optimum), complete=complete
        )

    def beaten(
        self, point: Point, here: Sequence[float], ours: Sequence[float], optima: Sequence[float | None]
    ) -> bool:
        """Whether our recipe beats a document's value, by the rule of :mod:`eckart.reproduction.verdicts`.

        Args:
            point: The value.
            here: Values that the document's recipe gives here, by seed.
            ours: Values that our recipe gives, by seed.
            optima: Least value that any matrix of the rank gives, by seed of ours; None where it is not known.
        """
        if point.value is None or point.quantity in _NOT_AN_ERROR:
            return False
        if Sample.of(ours).mean >= Sample.of(here).mean - point.printed:
            return False
        if isinstance(point.value, str):
            return max(ours) < float(self.settings["at_least"])
        known = [optimum for optimum in optima if optimum is not None]
        if "svd_value" in self.settings and known:
            above = max(value - optimum for value, optimum in zip(ours, known, strict=True))
            return above < point.value - float(self.settings["svd_value"]) - point.printed
        return max(ours) < point.value - point.printed

    def describe(self, verdicts: Sequence[tuple[Verdict, bool]]) -> str:
        """Say the verdicts on some of the claim's values, and which are beaten, in words.

        Example:
            >>> claim = Claim("a", "A claim", {"why": "no seed given"}, ())
            >>> claim.describe([(Verdict.NOT_REPRODUCED, True)])
            'not reproduced: no seed given; beaten'
            >>> claim.describe([(Verdict.NOT_REPRODUCED, True), (Verdict.REPRODUCED, False)])
            '1 of 2 reproduced, 1 not: no seed given; 1 beaten'
        """
        told = [(verdict, beaten) for verdict, beaten in verdicts if verdict is not Verdict.NOT_GIVEN]
        if not told:
            return str(Verdict.NOT_GIVEN)
        beaten = sum(beaten for _, beaten in told)
        if len(told) == 1:
            ((verdict, _),) = told
            words = str(verdict) + self._reason(verdict)
            return f"{words}; beaten" if beaten else words
        counts = {verdict: sum(found is verdict for found, _ in told) for verdict in Verdict}
        words = f"{counts[Verdict.REPRODUCED]} of {len(told)} reproduced"
        if counts[Verdict.UNDECIDED]:
            words += f", {counts[Verdict.UNDECIDED]} undecided"
        if counts[Verdict.NOT_REPRODUCED]:
            words += f", {counts[Verdict.NOT_REPRODUCED]} not{self._reason(Verdict.NOT_REPRODUCED)}"
        return f"{words}; {'all' if beaten == len(told) else beaten} beaten" if beaten else words

    @property
    def _draws(self) -> int:
        return int(self.settings.get("of", 1))

    def _reason(self, verdict: Verdict) -> str:
        missing = self.settings.get("missing")
        reasons = {
            Verdict.NOT_REPRODUCED: self.settings.get("why", missing),
            Verdict.UNDECIDED: missing or "the spread over seeds is too large",
        }
        reason = reasons.get(verdict)
        return f": {reason}" if reason else ""


def read_claims() -> dict[str, Claim]:
    """All claims by the name of their experiment, in the order of the names.

    Example:
        >>> read_claims()["lab_svd"].points[0].value
        0.1219
    """
    read = (_read(path) for path in sorted((config.config_dir() / "experiment").glob("[!_]*.yaml")))
    return {claim.name: claim for claim in read if claim.settings}


def _read(path: Path) -> Claim:
    text = path.read_text(encoding="utf-8")
    headline = next(line[1:].strip() for line in text.splitlines() if line.startswith("#") and "@package" not in line)
    node = OmegaConf.load(path)
    assert isinstance(node, DictConfig)
    data = tuple(f"data.{key}={value}" for key, value in node.get("data", {}).items())
    bases = [OmegaConf.load(path.with_name(f"{base}.yaml")) for base in node.defaults if isinstance(base, str)]
    merged = OmegaConf.merge(*bases, node)
    assert isinstance(merged, DictConfig)
    settings = config.plain(merged.get("claim"))
    if settings:
        # A number loses the zeros at its end, which say how many decimals the document prints.
        written = yaml.load(text, Loader=yaml.BaseLoader)["claim"]
        settings |= {key: written[key] for key in ("value", "values") if key in written}
    return Claim(path.stem, headline, settings, data)


def _read_value(text: Any) -> tuple[float | str | None, float]:
    """A value of a document and half a unit of its last decimal."""
    if text in (None, "null"):
        return None, 0.0
    try:
        value = float(text)
    except ValueError:
        return str(text), 0.0
    decimals = len(str(text).partition(".")[2])
    return value, 0.5 * 10.0**-decimals if decimals else 0.0
