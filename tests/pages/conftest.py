"""Fixtures of the tests in a browser; mypy reads one ``conftest`` alone, so they are written elsewhere."""

from chromium import browser, visit
from pages import pages

__all__ = ["browser", "pages", "visit"]
