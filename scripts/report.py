"""Write one HTML page about any number of runs: ``--help``; the same as ``eckart report``."""

import sys

from eckart.reports.command import main

if __name__ == "__main__":
    main("report.py", sys.argv[1:])
