"""``eckart report``: the command line of the page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(program: str, arguments: Sequence[str]) -> None:
    """Write the page that a command line asks for, and print its path.

    Args:
        program: What the user typed before the arguments, for the help.
        arguments: Folders and options.
    """
    parser = argparse.ArgumentParser(
        prog=program, description="Write one HTML page about all runs below folders: errors, curves, pictures, tables."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a run, a sweep, or many sweeps")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; FOLDER/report.html, if there is one FOLDER")
    parser.parse_args(arguments)
    sys.exit("not yet")
