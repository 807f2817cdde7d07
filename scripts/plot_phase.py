"""Draw which completions succeed, by two settings of a sweep: ``--help``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eckart.reports.figure_command import figure_parser, write_figure
from eckart.results.settings import settings

SUCCESS = 1e-3
"""Relative Frobenius error of the whole matrix below which it counts as recovered, as in the published tables."""
_NAMES = {
    "data.oversampling": "oversampling ρ, observed entries over degrees of freedom",
    "data.condition": "condition number κ",
    "rank": "rank",
}


def main() -> None:
    """Read results, and write one figure."""
    parser = figure_parser(
        "Draw the share of completions that recover the whole matrix, to a relative error below 1e-3, by "
        "two settings of a sweep such as experiment=completion_phase.",
        "of a sweep, or many sweeps",
    )
    parser.add_argument("--across", default="data.oversampling", metavar="SETTING", help="%(default)s")
    parser.add_argument("--upwards", default="data.condition", metavar="SETTING", help="%(default)s")
    write_figure(parser, lambda asked, results: draw(asked.out, results, asked.across, asked.upwards))


def draw(path: Path, results: Iterable[Mapping[str, Any]], across: str, upwards: str) -> Path:
    """Draw the share of results that recovered the whole matrix.

    Raises:
        ValueError: If no completion has both settings and an error of the whole matrix.
    """
    # Matplotlib is not needed for --help.
    from eckart.results import figures

    cells: dict[tuple[float, float], list[bool]] = {}
    wrong = said = 0
    for result in results:
        own = settings(result) | {"rank": result["rank"]}
        right, up, error = own.get(across), own.get(upwards), result["relative_frobenius"]
        if result["method"] != "completion" or error is None:
            continue
        if not isinstance(right, int | float) or not isinstance(up, int | float):
            continue
        cells.setdefault((right, up), []).append(error < SUCCESS)
        if result["verdict"] == "recovered":
            said, wrong = said + 1, wrong + (error >= SUCCESS)
    if not cells:
        raise ValueError(f"There must be a completion with {across}, {upwards} and a known target. Found none.")
    shares = {place: sum(found) / len(found) for place, found in cells.items()}
    runs = sorted(map(len, cells.values()))
    each = f"{runs[0]} in each cell" if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]} in each cell"
    title = f"{sum(map(sum, cells.values()))} of {sum(runs)} matrices recovered, {each}"
    print(f"{said} runs say recovered, {wrong} of them with an error of the whole of {SUCCESS:g} or more")
    words = {"across": _NAMES.get(across, across), "upwards": _NAMES.get(upwards, upwards)}
    return figures.phase_diagram(path, shares, title=title, **words, label="share recovered")


if __name__ == "__main__":
    main()
