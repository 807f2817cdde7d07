"""Train one low-rank model, or a sweep of them: ``python train.py --help``."""

from lowrank.cli import main

if __name__ == "__main__":
    main()
