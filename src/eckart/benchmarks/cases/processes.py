"""Whole processes, from the start of the interpreter to its end."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from eckart.benchmarks.case import Case, Command, Score
from eckart.benchmarks.goals import Goal, at_most_of, faster_than, seconds_at_most
from eckart.benchmarks.programs import eckart, importing, mean, results, trainer, worst

HYDRA = 'python -c "import hydra"'
EMPTY = "an empty script with the imports"
IMPORTS = "the imports of ours, without a job"
TABLE = ("data=uniform", "data.rows=10", "data.cols=10", "method=bottleneck")
EXCESS = "largest excess over the optimum, in either norm"
DISTANCE = "mean distance of the 2-norm error from the optimum"
BOUND = (
    f"Both launchers import the same packages, once: the line *{IMPORTS}*. A stacked sweep takes this, its fits, and "
    "for each job one or two hundredths of a second in which its config is composed and checked and its files are "
    "written. So the ratio stays below that of the basic launcher over this line, even if stacked jobs took no time. "
    "The basic launcher takes for each job its fit and a trainer of Lightning of its own. A single net of the recipe "
    "trains in a tenth of a second, compiled, so a stack saves less of it than where each step is a call of torch."
)


def cases(quick: bool) -> Iterable[Case]:
    """The command line, the main job, and the paper's table as a sweep with each launcher."""
    for name, title, arguments, status in (
        ("help", "eckart --help", ["--help"], 0),
        ("cfg", "eckart --cfg job", ["--cfg", "job"], 0),
        ("error_key", "eckart with an unknown key", ["method.rnak=3"], 1),
        ("error_law", "eckart with a rank that does not fit", ["method=svd", "rank=1000"], 1),
    ):
        ours = Command(title, _constant(eckart(*arguments)), status=status)
        hydra = Command(HYDRA, _constant(importing("hydra")))
        yield Case(
            f"process_{name}", title, [ours, hydra], goals=[at_most_of(HYDRA, 3.0)], budget=1.0 if quick else 5.0
        )
    yield Case(
        "process_main",
        "the main job on the photo, 400×400, rank 10",
        [
            _run("eckart method=bottleneck rank=10", ["method=bottleneck", "rank=10"], worst),
            Command(EMPTY, _constant(importing("torch", "pytorch_lightning", "hydra", "wandb"))),
        ],
        accuracy=EXCESS,
        goals=[at_most_of(EMPTY, 1.25, 1.5)],
        budget=5.0 if quick else 25.0,
    )
    few = ["rank=range(1,4)", "seed=range(2)"] if quick else ["rank=range(1,10)", "seed=range(10)"]
    jobs = 6 if quick else 90
    short = ["method.vectors=640", "method.max_steps=200"] if quick else []
    recipe = ["experiment=paper_random_table", *short, *few, "logger=csv"]
    yield _sweep("recipe", f"{jobs} nets in the paper's recipe", recipe, mean, DISTANCE, 8.0, 20.0, quick=quick)
    ours_ = ["-m", *TABLE, *few, "logger=csv"]
    yield _sweep("optimum", f"{jobs} nets, to the optimum", ours_, worst, EXCESS, 7.0, 5.0, quick=quick)


def _sweep(
    name: str,
    title: str,
    arguments: list[str],
    error: Callable[[Sequence[dict[str, Any]]], float],
    accuracy: str,
    seconds: float,
    times: float,
    *,
    quick: bool,
) -> Case:
    basic = "hydra/launcher=basic"
    goals: list[Goal] = [seconds_at_most(seconds), faster_than(basic, times)]
    return Case(
        f"sweep_{name}",
        f"a sweep of {title}, with hydra/launcher=stacked and basic",
        [
            _run("hydra/launcher=stacked", arguments, error),
            _run(basic, [*arguments, basic], error),
            Command(IMPORTS, _constant(trainer())),
        ],
        accuracy=accuracy,
        goals=goals,
        budget=4.0 if quick else 17.0,
        patience=200.0,
        note=BOUND,
    )


def _run(name: str, arguments: Sequence[str], error: Callable[[Sequence[dict[str, Any]]], float]) -> Command:
    def score(folder: Path) -> Score:
        found = results(folder)
        seconds = sum(float(result["fit_seconds"]) for result in found)
        return Score(error(found), f"{len(found)} runs, whose fits sum up to {seconds:.2f} s")

    return Command(name, lambda _: eckart(*arguments), score)


def _constant(arguments: Sequence[str]) -> Callable[[Path], Sequence[str]]:
    return lambda _: arguments
