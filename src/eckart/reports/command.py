"""``eckart report``: the command line of the page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eckart.errors import one_line, warn_in_one_line


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
    asked = parser.parse_args(arguments)
    warn_in_one_line()
    # The page takes a while to put together; a wrong option does not.
    from eckart.reports import page

    try:
        written = page.write(asked.folders, asked.out)
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))
    print(written.line())
    if not written.runs:
        sys.exit("\n".join(written.problems))
    for problem in written.problems:
        print(f"warning: {problem}", file=sys.stderr)
