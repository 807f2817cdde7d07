"""When a sweep writes its page, and that nothing is lost where that fails."""

from pathlib import Path

import pytest

from eckart.reports import page
from eckart.reports.ending import Reporting


@pytest.mark.parametrize(
    ("asked", "seconds", "written"), [(True, 0, True), (None, 59, False), (None, 61, True), (False, 61, False)]
)
def test_a_page_is_written_if_asked_for_or_after_a_minute(
    asked: bool | None,
    seconds: float,
    written: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = iter((100.0, 100.0 + seconds))
    monkeypatch.setattr("eckart.reports.ending.time.monotonic", lambda: next(now))
    found: list[Path] = []

    def write(folders: list[Path]) -> page.Written:
        found.extend(folders)
        raise ValueError("Found\nnone.")

    monkeypatch.setattr(page, "write", write)
    Reporting(asked).write(Path("sweep"))
    assert found == [Path("sweep")] * written
    told = "warning: the results are whole, but their page is not written: Found none.\n"
    assert capsys.readouterr().err == told * written
