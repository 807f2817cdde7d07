"""Numbers as text, for the terminal and for pages."""

NONE = "–"
"""Text in place of a number that is not known."""


def fixed(value: float | None, digits: int, significant: int = 4) -> str:
    """Write a number with a fixed count of decimals, or in scientific notation where that shows too little or is long.

    Args:
        value: The number; None gives ``–``.
        digits: Count of decimals.
        significant: Count of significant digits that are shown at least.

    Example:
        >>> fixed(0.25, 6), fixed(3.19858e-9, 6), fixed(0.00123, 4, significant=2), fixed(0.0, 6), fixed(None, 6)
        ('0.250000', '3.199e-09', '0.0012', '0', '–')
    """
    if not value:
        return NONE if value is None else "0"
    fits = 10.0 ** (significant - 1 - digits) <= abs(value) < 1e4
    return f"{value:.{digits}f}" if fits else f"{value:.{significant - 1}e}"


def scientific(value: float | None) -> str:
    """Write a number of which only the magnitude matters, such as an excess, to two digits.

    Example:
        >>> scientific(4.26e-11), scientific(0.0), scientific(None)
        ('4.3e-11', '0', '–')
    """
    return NONE if value is None else "0" if value == 0 else f"{value:.1e}"


def short(value: float | str | None) -> str:
    """Write a number to at most six significant digits; text stays as it is.

    Example:
        >>> short(0.591836734694), short(40), short(3.2e-12), short("failed"), short(None)
        ('0.591837', '40', '3.2e-12', 'failed', '–')
    """
    if value is None or isinstance(value, str):
        return value or NONE
    return f"{value:.6g}" if value == 0 or 1e-4 <= abs(value) < 1e5 else f"{value:.1e}"
