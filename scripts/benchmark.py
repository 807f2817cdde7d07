"""Measure eckart beside what people use for the same task: ``--help``; the same as ``eckart benchmark``."""

import sys

from eckart.benchmarks.command import main

if __name__ == "__main__":
    main("benchmark.py", sys.argv[1:])
