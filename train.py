"""Train one low-rank model, or a sweep of them: ``python train.py --help``."""

from eckart.cli import main

if __name__ == "__main__":
    main()
