"""Collect the jobs of any number of sweeps in one table: ``--help``."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from eckart.errors import one_line, warn_in_one_line
from eckart.results import tables
from eckart.results.result import read_results
from eckart.results.screen import Screen
from eckart.results.summary import sweep_table


def main() -> None:
    """Write the table of all jobs, or print the means over their seeds."""
    parser = argparse.ArgumentParser(
        description="Collect the jobs of any number of sweeps in one table, one row a job. "
        "Without --out: print mean ± standard deviation over seeds."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a job, a sweep, or many sweeps")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"write the table here: {' or '.join(tables.FORMATS)}")
    arguments = parser.parse_args()
    warn_in_one_line()
    try:
        if arguments.out is None:
            found = read_results(*arguments.folders).values()
            print(sweep_table(found, Screen.of(sys.stdout)), end="\n\n")
            print(_count((result["status"] for result in found), arguments.folders))
        else:
            tables.check_format(arguments.out)
            table = tables.load(*arguments.folders)
            tables.write(table, arguments.out)
            print(f"{_count(table['status'], arguments.folders)}: {arguments.out}")
    except BrokenPipeError:
        # The reader, such as head, has seen enough; nothing more is flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))


def _count(statuses: Iterable[str], folders: list[Path]) -> str:
    counts = Counter(statuses)
    jobs, sources = counts.total(), len(folders)
    of_which = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{jobs} job{'s' * (jobs != 1)} ({of_which}) from {sources} folder{'s' * (sources != 1)}"


if __name__ == "__main__":
    main()
