"""Time a sweep of the paper's table with the stacked launcher and with Hydra's basic launcher."""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).parents[1] / "train.py"
TABLE = ("data=uniform", "data.rows=10", "data.cols=10", "rank=range(1,10)", "seed=range(10)")
RECIPES = {
    "the paper's recipe": ("experiment=paper_random_table", "rank=range(1,10)", "seed=range(10)", "logger=csv"),
    "ours": ("method=bottleneck", *TABLE, "logger=csv"),
    "ours with logger=wandb": ("method=bottleneck", *TABLE, "logger=wandb"),
}
COSTS = (
    "Hydra's loader, the first job",
    "loader, asked twice",
    "launcher, from config to job",
    "folder and .hydra/",
    "history.csv",
    "factors and result.json",
)


def main() -> None:
    """Print one line for each recipe, with the commands; then the time that a job takes besides its numerics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="one of them; all unless given")
    asked = parser.parse_args().recipe or list(RECIPES)
    print(f"{'90 jobs':<24}{'basic':>10}{'stacked':>10}{'ratio':>8}{'   fit, basic':>14}{'stacked':>10}{'ratio':>8}")
    for recipe in asked:
        whole, fit = zip(*(_timed(RECIPES[recipe], launcher) for launcher in ("basic", "stacked")), strict=True)
        print(f"{recipe:<24}{_beside(whole)}{'':>4}{_beside(fit)}", flush=True)
    command = shlex.join(["python", "train.py", "-m", *RECIPES[asked[0]], "hydra/launcher=stacked"])
    print(f"\nseconds of the whole process, and sums of fit_seconds, as of\n  {command}")
    print("\nmilliseconds a job, stacked")
    for name, seconds in _costs().items():
        print(f"  {name:<32}{1000 * seconds:>6.1f}")


def _beside(pair: tuple[float, ...]) -> str:
    return f"{pair[0]:>10.2f}{pair[1]:>10.2f}{pair[0] / pair[1]:>7.1f}×"


def _timed(overrides: tuple[str, ...], launcher: str) -> tuple[float, float]:
    from eckart.results.result import read_results

    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(TRAIN),
            "-m",
            *overrides,
            f"hydra/launcher={launcher}",
            f"hydra.sweep.dir={folder}",
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"WANDB_MODE": "offline"})
        seconds = time.perf_counter() - began
        results = read_results(folder).values()
        assert len(results) == 90 and all(result["status"] == "completed" for result in results)
        return seconds, sum(result["fit_seconds"] for result in results)


def _costs() -> dict[str, float]:
    from eckart import cli
    from eckart.results.history import History
    from eckart.runs.outcome import Outcome
    from eckart.sweeps import sweep
    from eckart.sweeps.composing import SweepComposer

    spent = dict.fromkeys(COSTS, 0.0)

    def clock(owner: Any, method: str, name: str) -> None:
        inner = getattr(owner, method)

        def clocked(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - began

        setattr(owner, method, clocked)

    hydra, composing, *files = COSTS
    make = SweepComposer.__init__

    def clocked_composer(composer: SweepComposer, loader: Any) -> None:
        clock(loader, "load_sweep_config", hydra)
        make(composer, loader)

    SweepComposer.__init__ = clocked_composer  # type: ignore[method-assign, assignment]
    clock(SweepComposer, "load_sweep_config", composing)
    clock(sweep.Sweep, "_compose", files[0])
    clock(sweep, "_save", files[1])
    clock(History, "add", files[2])
    clock(Outcome, "write", files[3])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        sys.argv = ["train.py", "-m", "method=bottleneck", *TABLE, "logger=csv", f"hydra.sweep.dir={folder}"]
        cli.main()
    # Hydra's loader composes only the first job.
    return {name: seconds / (1 if name == hydra else 90) for name, seconds in spent.items()}


if __name__ == "__main__":
    main()
