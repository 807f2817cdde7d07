"""The script that draws errors and accuracy against the rank."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from eckart.results.result import write_result

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
sys.path.insert(0, SCRIPTS)
plot_ranks = importlib.import_module("plot_ranks")
sys.path.remove(SCRIPTS)

OPTIMUM = {1: 0.5, 2: 0.25}


def job(folder: Path, rank: int, seed: int, excess: float = 0.0, optimizer: str = "RiemannianCG", **more: Any) -> None:
    config = {"optimizer": {"_target_": f"eckart.optim.{optimizer}"}, "seed": seed}
    fields = {"status": "completed", "method": "bottleneck", "data": "uniform", "fingerprint": "", "config": config}
    errors = {"relative_2norm": OPTIMUM[rank] + excess, "excess_2norm": excess}
    name = f"rank={rank},seed={seed},{optimizer}"
    write_result(folder / name, fields | errors | {"rank": rank, "seed": seed} | more)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["plot_ranks.py", *map(str, arguments)])
    plot_ranks.main()


def test_errors_are_drawn_above_the_optimum_beside_published_ones(
    drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in OPTIMUM:
        for seed, excess in ((0, 0.1), (1, 0.2)):
            job(tmp_path / "sweep", rank, seed)
            job(tmp_path / "sweep", rank, seed, excess, optimizer="Adam")
    out = tmp_path / "ranks.png"
    run(monkeypatch, tmp_path / "sweep", "--claim", "paper_random_table", "--out", out)
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as image:
        assert image.width > 1000
    figure = drawn["ranks.png"]
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["bottleneck, RiemannianCG"], [0.5, 0.25])
    np.testing.assert_allclose(lines["bottleneck, Adam"], [0.65, 0.4])
    np.testing.assert_allclose(lines["published: Bleckel, figures 10 and 11"], [0.5005, 0.3019])
    assert figure.get_suptitle() == "bottleneck, RiemannianCG reaches the optimum at every rank, to rounding"


def test_accuracy_is_drawn_of_classifiers(
    drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for rank, seed, accuracy in ((1, 0, 0.5), (1, 1, 0.7), (2, 0, 0.9), (2, 1, 0.8)):
        job(tmp_path / "sweep", rank, seed, accuracy=accuracy)
    run(monkeypatch, tmp_path / "sweep", "--out", tmp_path / "accuracy.png")
    figure = drawn["accuracy.png"]
    assert figure.get_suptitle() == "Accuracy is best at rank 2: 85.0 % of the test set"
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[0].get_ydata(), float), [0.6, 0.85])


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        (["--out", "a.jpg"], "The figure must end in .png or .svg. Found a.jpg."),
        (["--out", "a.png", "--claim", "paper_random"], "Unknown claim paper_random. Did you mean"),
        (["--out", "a.png", "--claim", "paper_logo"], "must give excess_2norm by rank. Found paper_logo."),
        (["--out", "a.png", "--norm", "frobenius"], "There must be a job whose optimum is known. Found none."),
    ],
)
def test_one_line_says_what_cannot_be_drawn(
    arguments: list[str], law: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job(tmp_path / "sweep", 1, 0)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, tmp_path / "sweep", *arguments)
    assert law in str(ended.value) and "\n" not in str(ended.value)


def test_two_targets_have_no_common_optimum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job(tmp_path / "sweep", 1, 0)
    job(tmp_path / "sweep", 1, 0, relative_2norm=0.75, excess_2norm=0.0, optimizer="Adam")
    with pytest.raises(SystemExit, match=r"must have the same targets\. Found two optima at rank 1"):
        run(monkeypatch, tmp_path / "sweep", "--out", tmp_path / "a.png")
