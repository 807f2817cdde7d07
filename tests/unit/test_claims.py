from typing import Any

import pytest

from eckart.reproduction.claims import Claim, Point, read_claims
from eckart.reproduction.verdicts import Verdict

CLAIMS = read_claims()


def claim(**settings: Any) -> Claim:
    return Claim("name", "A headline", {"quantity": "relative_2norm", "value": "0.50"} | settings, ())


@pytest.mark.parametrize(
    ("text", "value", "printed"),
    [
        ("0.1550", 0.155, 5e-5),
        ("0.00092", 0.00092, 5e-6),
        ("497.6", 497.6, 0.05),
        ("40", 40.0, 0.0),
        ("0.0000000000", 0.0, 5e-11),
        ("failed outright", "failed outright", 0.0),
        ("null", None, 0.0),
        (None, None, 0.0),
    ],
)
def test_a_value_is_as_precise_as_it_is_printed(text: str | None, value: Any, printed: float) -> None:
    (point,) = claim(value=text).points
    assert point == Point("", (), None, "relative_2norm", None, value, point.printed)
    assert point.printed == pytest.approx(printed)


def test_experiment_files_keep_every_printed_decimal() -> None:
    last = CLAIMS["paper_random_table"].points[-1]
    assert (last.rank, last.value) == (9, 0.155) and last.printed == pytest.approx(5e-5)
    labels = [point.label for point in CLAIMS["mnist_classifier"].points]
    assert labels == ["train loss sum per epoch, 1", "train loss sum per epoch, 2", "accuracy"]
    assert CLAIMS["mnist_classifier"].points[2].value is None


def test_experiments_of_the_paper_share_its_title() -> None:
    titles = {item.settings["document"] for item in CLAIMS.values() if item.name.startswith("paper_")}
    assert titles == {"Bleckel, Machine Learning and Low-Rank Matrix Approximations"}
    assert "paper" not in CLAIMS and "_paper" not in CLAIMS


@pytest.mark.parametrize(
    ("settings", "here", "verdict"),
    [
        ({}, [0.49, 0.50, 0.51, 0.50], Verdict.REPRODUCED),
        ({}, [0.80, 0.81, 0.82, 0.81], Verdict.NOT_REPRODUCED),
        # One outlying seed leaves the median where it was, and the mean of a table decides.
        ({}, [0.49, 0.50, 0.51, 9.0], Verdict.UNDECIDED),
        # The document gives the median of the seeds here where it says that it is a mean.
        ({"value": "0.1", "of": 1000}, [0.1] * 300 + [0.5] * 100, Verdict.NOT_REPRODUCED),
        ({"value": "0.2", "of": 1000}, [0.1] * 300 + [0.5] * 100, Verdict.REPRODUCED),
        ({"missing": "its image"}, [0.49, 0.50, 0.51, 0.50], Verdict.UNDECIDED),
        ({"value": None}, [0.5], Verdict.NOT_GIVEN),
        ({"value": "failed outright", "at_least": 0.4}, [0.49, 0.50, 0.51, 0.50], Verdict.REPRODUCED),
        ({"value": "failed outright", "at_least": 0.6}, [0.49, 0.50, 0.51, 0.50], Verdict.NOT_REPRODUCED),
    ],
)
def test_verdicts_follow_the_settings(settings: dict[str, Any], here: list[float], verdict: Verdict) -> None:
    item = claim(**settings)
    (point,) = item.points
    assert item.verdict(point, here) == verdict


def test_the_number_of_draws_narrows_the_margin() -> None:
    here = [0.4, 0.5, 0.6, 0.45, 0.55] * 8
    (point,) = claim().points
    single, mean_of_ten = claim().margin(point, here), claim(of=10).margin(point, here)
    assert single is not None and mean_of_ten is not None
    assert mean_of_ten / single == pytest.approx((1 / 10 + 1 / 40) ** 0.5 / (1 + 1 / 40) ** 0.5)


@pytest.mark.parametrize(
    ("settings", "here", "ours", "optima", "beaten"),
    [
        ({}, [0.5, 0.6], [0.1, 0.2], [None, None], True),
        # One seed of ours does not reach below the document's value.
        ({}, [0.5, 0.9], [0.1, 0.51], [None, None], False),
        # Lower than the document, but not than its recipe on the same data: the data are easier.
        ({}, [0.4, 0.4], [0.4, 0.4], [None, None], False),
        ({"quantity": "accuracy"}, [0.5, 0.6], [0.1, 0.1], [None, None], False),
        ({"value": None}, [0.5], [0.1], [None], False),
        # Above the optimum of its own data, 0.2 here and 0.4 in the document.
        ({"svd_value": 0.4}, [0.9, 0.9], [0.25, 0.25], [0.2, 0.2], True),
        ({"svd_value": 0.4}, [0.9, 0.9], [0.25, 0.31], [0.2, 0.2], False),
        ({"value": "failed outright", "at_least": 0.4}, [0.5, 0.6], [0.1, 0.1], [None, None], True),
        ({"value": "failed outright", "at_least": 0.4}, [0.5, 0.6], [0.1, 0.41], [None, None], False),
    ],
)
def test_beaten_means_lower_at_every_seed(
    settings: dict[str, Any], here: list[float], ours: list[float], optima: list[float | None], beaten: bool
) -> None:
    item = claim(**settings)
    (point,) = item.points
    assert item.beaten(point, here, ours, optima) is beaten


def test_verdicts_in_words() -> None:
    yes, no, undecided = (Verdict.REPRODUCED, True), (Verdict.NOT_REPRODUCED, False), (Verdict.UNDECIDED, True)
    plain = claim()
    assert plain.describe([yes]) == "reproduced; beaten"
    assert plain.describe([undecided]) == "undecided: the spread over seeds is too large; beaten"
    assert claim(missing="its image").describe([undecided]) == "undecided: its image; beaten"
    assert claim(missing="its image", why="too small").describe([no]) == "not reproduced: too small"
    assert plain.describe([yes, undecided, no]) == "1 of 3 reproduced, 1 undecided, 1 not; 2 beaten"
    assert plain.describe([yes, yes]) == "2 of 2 reproduced; all beaten"
    assert plain.describe([(Verdict.NOT_GIVEN, False)]) == "not given"
