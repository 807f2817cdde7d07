import pytest

from eckart.results.numbers import fixed, scientific, short


@pytest.mark.parametrize(
    ("value", "digits", "significant", "text"),
    [
        (None, 3, 4, "–"),
        (0.0, 3, 4, "0"),
        (-0.25, 3, 2, "-0.250"),
        # The decimals show four significant digits from 1 on, so smaller numbers are in scientific notation.
        (1.0, 3, 4, "1.000"),
        (0.9999, 3, 4, "9.999e-01"),
        (-0.9999, 3, 4, "-9.999e-01"),
        (0.01, 3, 2, "0.010"),
        (0.0099, 3, 2, "9.9e-03"),
        (9999.0, 1, 4, "9999.0"),
        (123456.0, 1, 4, "1.235e+05"),
    ],
)
def test_fixed_shows_the_significant_digits(value: float | None, digits: int, significant: int, text: str) -> None:
    assert fixed(value, digits, significant=significant) == text


def test_fixed_shows_four_digits_by_default() -> None:
    assert (fixed(0.001, 6), fixed(0.00099, 6)) == ("0.001000", "9.900e-04")


def test_scientific_shows_two_digits() -> None:
    assert [scientific(value) for value in (None, 0.0, 1.24e-9, -34567.0)] == ["–", "0", "1.2e-09", "-3.5e+04"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", "–"),
        ("failed", "failed"),
        (0, "0"),
        (0.0, "0"),
        (1e-4, "0.0001"),
        (9.9e-5, "9.9e-05"),
        (-0.1234567, "-0.123457"),
        (99999, "99999"),
        (1e5, "1.0e+05"),
        (-1e5, "-1.0e+05"),
    ],
)
def test_short_shows_at_most_six_digits(value: float | str | None, text: str) -> None:
    assert short(value) == text
