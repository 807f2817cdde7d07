"""The command line of scripts that draw one figure of many results."""

import argparse
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from eckart.errors import one_line, warn_in_one_line
from eckart.results.result import read_results


def figure_parser(description: str, what: str) -> argparse.ArgumentParser:
    """A parser of the folders and of the figure; a script adds its own options.

    Args:
        description: What is drawn.
        what: What the folders are of.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help=what)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the figure, .png or .svg")
    return parser


def write_figure(
    parser: argparse.ArgumentParser,
    draw: Callable[[argparse.Namespace, Collection[Mapping[str, Any]]], Path],
) -> None:
    """Read the results of the folders, draw them, and print where the figure is; an error is one line and status 1.

    Args:
        parser: Of :func:`figure_parser`.
        draw: Draws results to ``arguments.out``, given the arguments.
    """
    arguments = parser.parse_args()
    warn_in_one_line()
    try:
        if arguments.out.suffix not in (".png", ".svg"):
            raise ValueError(f"The figure must end in .png or .svg. Found {arguments.out}.")
        print(draw(arguments, read_results(*arguments.folders).values()))
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))
