import csv
import os
import runpy
import sys
from pathlib import Path

import pytest
from commandline import MNIST, QUIET, Train, choices
from hydra import compose, initialize_config_dir

from eckart import config, laws
from eckart.reproduction.claims import Claim, read_claims

SCRIPT = Path(__file__).parents[2] / "scripts" / "reproduce.py"
CLAIMS = read_claims()


def reproduce(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "reproduction.csv").open(newline="", encoding="utf-8") as file:
        return {(row["experiment"], row["quantity"]): row for row in csv.DictReader(file)}


def test_every_experiment_is_a_claim() -> None:
    # A search is no claim, nor is an experiment of our own.
    claims = [name for name in choices("experiment") if not name.startswith(("optuna_", "completion_", "compression_"))]
    assert claims == list(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_experiment_composes_and_obeys_the_laws(name: str) -> None:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"experiment={name}"], return_hydra_config=True)
    laws.check(cfg, dict(cfg.hydra.runtime.choices))
    swept = cfg.hydra.sweeper.get("params")
    assert (cfg.hydra.mode is not None) == bool(swept)
    if swept:
        # The experiment sweeps the values that its document gives numbers for.
        ((key, values),) = swept.items()
        assert key == cfg.claim.get("over", "rank")
        typed = values.replace("range(1,10)", ",".join(map(str, range(1, 10))))
        assert typed == ",".join(map(str, cfg.claim["values"]))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_claim_says_what_its_document_found(claim: Claim) -> None:
    assert {"document", "place", "quantity", "seeds"} <= claim.settings.keys()
    assert 20 <= len(claim.headline) <= 120
    assert any(point.value is not None for point in claim.points)
    for point in claim.points:
        assert not isinstance(point.value, str) or "at_least" in claim.settings


def test_help_shows_the_claims(train: Train) -> None:
    shown = " ".join(train("--help").stdout.split())
    for claim in CLAIMS.values():
        assert f"{claim.name} {claim.headline}" in shown


def test_an_experiment_sweeps_by_itself(train: Train) -> None:
    ended = train(
        *("experiment=paper_random_table", "hydra.sweeper.params.rank='1,9'", "method.max_steps=2"),
        *("method.vectors=64", *QUIET),
    )
    assert (ended.code, len(ended.folders)) == (0, 2), ended.stderr


def test_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(monkeypatch, "--list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CLAIMS)


def test_an_unknown_claim_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^Unknown claim lab_svt\. Did you mean lab_svd"):
        reproduce(monkeypatch, "--only", "lab_svt")


@pytest.mark.processes
def test_the_values_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reproduce(monkeypatch, "--only", "lab_svd", "lab_factorization", "svd_notebook", "--seeds", "12", "--out", "out")
    table = rows(tmp_path / "out")
    # The third singular value of the lab's matrix, squared, is what no matrix of rank 2 goes below.
    for name in ("lab_svd", "lab_factorization"):
        row = table[name, "loss"]
        assert float(row["ours_mean"]) == pytest.approx(0.121911, abs=1e-6)
        assert float(row["optimum"]) == pytest.approx(0.121911, abs=1e-6)
        assert float(row["ours_excess"]) <= 1e-8
    assert table["lab_svd", "loss"]["verdict"] == "reproduced"
    # The loss that entrywise SGD ends with varies more over seeds than it exceeds the optimum by.
    assert table["lab_factorization", "loss"]["verdict"] == "undecided"
    assert float(table["lab_svd", "loss"]["here_mean"]) == pytest.approx(0.121911, abs=1e-6)
    assert 0.1220 <= float(table["lab_factorization", "loss"]["here_median"]) <= 0.1230
    assert (table["lab_svd", "loss"]["beaten"], table["lab_factorization", "loss"]["beaten"]) == ("False", "True")
    for quantity, value in (("parameters", 40), ("dense_parameters", 100)):
        row = table["svd_notebook", quantity]
        assert float(row["here_mean"]) == float(row["ours_mean"]) == value
    assert float(table["svd_notebook", "largest_output_difference"]["ours_mean"]) <= 1e-6

    page = (tmp_path / "out" / "reproduction.md").read_text(encoding="utf-8")
    assert "python scripts/reproduce.py --only lab_svd" in page
    assert "| `lab_factorization` | exercise 1 | squared error | 0.1221 |" in page


def test_without_mnist_its_claims_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if MNIST in os.environ:
        monkeypatch.delenv(MNIST)
    reproduce(monkeypatch, "--only", "mnist_svd", "--out", "out", "--docs", "docs")
    line = "mnist_svd is left out: MNIST is not under data."
    assert capsys.readouterr().out.startswith(line)
    assert line in (tmp_path / "docs" / "reproduction.md").read_text(encoding="utf-8")
