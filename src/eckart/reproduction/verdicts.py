"""One rule, stated before the numbers, decides what counts as reproduced.

1. A document's value is a mean of `of` draws (one, where the document tells of a single run). It is compared with the
   mean over the seeds trained here, never with the median.
2. The *margin* is half a unit of the last decimal that the document prints or, where that is larger,
   `t · s · √(1/of + 1/seeds)`: the 95 % interval of the difference of the two means, with the standard deviation s over
   the seeds here and Student's t. Of a single seed no deviation is known, so the printed decimals alone count.
3. **Not reproduced**: the two means differ by more than the margin.
4. **Undecided**: they do not, but the spread over seeds puts the margin above a quarter of the document's value (of its
   difference from the error of the SVD, where the document gives that too), so that half of it or twice it could pass
   as well; or the document does not give everything that the value depends on.
5. **Reproduced**: in every other case.

A value that the document tells only in words, "at least b", is reproduced if the whole 95 % interval of the mean here
is at or above b, not reproduced if the whole interval is below, and undecided otherwise.

**Beaten** is said of errors alone: our recipe ends below the document's value at every seed, and its mean below the
mean of the document's recipe here, both by more than half a unit of the last printed decimal. Where the document gives
the error of its SVD too, errors above the respective optimum are compared.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

CONFIDENCE = 0.95
"""Probability that the margin covers the difference of two means of the same distribution, if it is normal."""
LARGEST_MARGIN = 0.25
"""Largest margin that decides, as a fraction of the document's value: half and twice the value are outside then."""


class Verdict(StrEnum):
    """Verdict on a document's value."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNDECIDED = "undecided"
    NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Sample:
    """Values over seeds, as much of them as the rule needs.

    Attributes:
        mean: Mean over seeds.
        deviation: Sample standard deviation; 0 for a single seed.
        count: Number of seeds, at least 1.
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sample":
        """Sample of values.

        Example:
            >>> Sample.of([1.0, 2.0, 6.0])
            Sample(mean=3.0, deviation=2.6457..., count=3)
        """
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def margin(sample: Sample, draws: int | None, printed: float = 0.0) -> float:
    """Largest difference of a document's value from the mean here that rule 2 allows.

    Args:
        sample: What the document's recipe gives here.
        draws: Number of draws that the document's value is the mean of; None for a bound, which has no error.
        printed: Half a unit of the last decimal that the document prints.

    Example:
        >>> round(margin(Sample(0.5, 0.1, 40), draws=10), 4), margin(Sample(0.5, 0.0, 1), 1, printed=5e-5)
        (0.0715, 5e-05)
    """
    if sample.count == 1:
        return printed
    from scipy.stats import t

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, sample.count - 1))
    error = sample.deviation * math.sqrt((1 / draws if draws else 0.0) + 1 / sample.count)
    return max(printed, quantile * error)


def compare(
    value: float, printed: float, draws: int, sample: Sample, *, optimum: float = 0.0, complete: bool = True
) -> Verdict:
    """Verdict on a number of a document, by the rule at the head of this module.

    Args:
        value: The document's value.
        printed: Half a unit of the last decimal that it is printed to.
        draws: Number of draws that it is the mean of.
        sample: What the document's recipe gives here.
        optimum: The document's error of its SVD, which a trained error is only a part above; 0 where it gives none.
        complete: Whether the document gives everything that the value depends on.

    Example:
        >>> here = Sample(mean=0.50, deviation=0.02, count=40)
        >>> str(compare(0.49, 5e-3, 1, here)), str(compare(0.98, 5e-3, 1, here))
        ('reproduced', 'not reproduced')
        >>> str(compare(0.49, 5e-3, 1, Sample(0.50, 0.40, 40)))
        'undecided'
    """
    allowed = margin(sample, draws, printed)
    if not abs(sample.mean - value) <= allowed:
        return Verdict.NOT_REPRODUCED
    decisive = complete and (allowed <= printed or allowed <= LARGEST_MARGIN * abs(value - optimum))
    return Verdict.REPRODUCED if decisive else Verdict.UNDECIDED


def compare_bound(bound: float, sample: Sample, *, complete: bool = True) -> Verdict:
    """Verdict on what a document tells only in words, which mean "at least ``bound``".

    Example:
        >>> str(compare_bound(0.18, Sample(0.20, 0.01, 10))), str(compare_bound(0.18, Sample(0.20, 0.05, 4)))
        ('reproduced', 'undecided')
    """
    allowed = margin(sample, None)
    if sample.mean + allowed < bound:
        return Verdict.NOT_REPRODUCED
    return Verdict.REPRODUCED if complete and sample.mean - allowed >= bound else Verdict.UNDECIDED
