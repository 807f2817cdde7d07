"""``data=ratings`` from the command line to predictions; MovieLens 100K under the marker ``frontier``."""

import importlib.metadata
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from commandline import QUIET, Train, page, result

import eckart
from eckart import commands
from eckart.optim import gibbs, ratings
from eckart.results.summary import sweep_table

PAGE = page("ratings.md")
SHORT = ("optimizer.sweeps=4", "optimizer.burn_in=2", "rank=2")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Loops that are not compiled, which takes longer than a small run."""
    if "frontier" not in request.keywords:
        for module in (gibbs, ratings):
            monkeypatch.setattr(module, "compiled", lambda loop, parallel=False: loop)


def frame(rows: int = 12, cols: int = 9) -> pl.DataFrame:
    """Ratings by texts and numbers, in an order of their own."""
    draws = np.random.default_rng(0)
    user, item = np.nonzero(draws.random((rows, cols)) < 0.7)
    order = draws.permutation(len(user))
    values = draws.integers(1, 6, len(user))
    return pl.DataFrame({"who": [f"u{row}" for row in user[order]], "what": item[order], "stars": values})


def test_a_run_its_errors_and_its_predictions(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    frame().write_csv("stars.csv")
    ended = train("data=ratings", "data.path=stars.csv", "data.test=0.25", *SHORT, *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    fields, found = ended.result, eckart.Result.read(ended.folder)
    rated, count = frame(), len(frame())
    hidden = np.random.RandomState(0).permutation(count)[: round(0.25 * count)]
    rows, cols, stars = (rated[name].to_numpy() for name in rated.columns)
    errors = found.predict(rows[hidden], cols[hidden]) - stars[hidden]
    assert fields["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert fields["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    assert f"RMSE on the held-out ratings{' ' * 20}"[:28] in ended.stdout and "truncated SVD" not in ended.stdout
    assert "columns who, what, stars" in fields["measured"]
    assert fields["shape"] == [12, 9] and fields["rating_range"] == [1.0, 5.0]
    assert np.isnan(found.predict(["nobody"], [3])).all()
    commands.run(["eckart", "predict", str(ended.folder), "--row", "u3", "-n", "2"])
    shown = pl.read_csv(capfd.readouterr().out.encode())
    seen = set(rated.filter(pl.col("who") == "u3")["what"])
    assert len(shown) <= 2 and not seen & set(shown["column"])
    rated.select("what", "who").write_parquet("pairs.parquet")
    asked = ["--pairs", "pairs.parquet", "--columns", "who", "what", "--out", "found.csv"]
    commands.run(["eckart", "predict", str(ended.folder), *asked])
    np.testing.assert_allclose(pl.read_csv("found.csv")["prediction"], found.predict(rows, cols))


PAIRS = {
    "without a header": "u3,1\nnobody,2\n",
    "in another order": "what,who\n1,u3\n2,nobody\n",
    "with other names": "User ID,Item\nu3,1\nnobody,2\n",
    "with names that say nothing": "a,b\nu3,1\nnobody,2\n",
}


def test_pairs_are_found_by_their_names_and_without_a_header(
    train: Train, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    frame().write_csv("stars.csv")
    folder = train("data=ratings", "data.path=stars.csv", "data.test=0", *SHORT, *QUIET).folder
    expected = eckart.Result.read(folder).predict(["u3"], [1])
    for how, text in PAIRS.items():
        Path("pairs.csv").write_text(text)
        capfd.readouterr()
        commands.run(["eckart", "predict", str(folder), "--pairs", "pairs.csv"])
        shown, said = capfd.readouterr()
        found = pl.read_csv(shown.encode())
        assert found[found.columns[0]].to_list() == ["u3", "nobody"], how
        np.testing.assert_allclose(found["prediction"].to_numpy()[:1], expected)
        assert found["prediction"].null_count() == 1
        assert said == "warning: 1 of 2 pairs has an unknown id: 'nobody' is no row\n", how
    assert found.columns == ["a", "b", "prediction"]


def test_training_never_sees_what_is_held_out(train: Train) -> None:
    rated = frame()
    hidden = np.random.RandomState(0).permutation(len(rated))[: round(0.25 * len(rated))]
    other = rated["stars"].to_numpy().copy()
    other[hidden] = 1_000_000
    factors: list[tuple[torch.Tensor, torch.Tensor]] = []
    errors: list[float] = []
    for stars in (rated["stars"], pl.Series("stars", other)):
        rated.with_columns(stars).write_csv("stars.csv")
        os.utime("stars.csv", ns=(len(factors), len(factors)))
        ended = train("data=ratings", "data.path=stars.csv", "data.test=0.25", *SHORT, *QUIET)
        found = eckart.Result.read(ended.folder)
        factors.append((found.left, found.right))
        errors.append(ended.result["rmse"])
    assert all(map(torch.equal, *factors))
    assert errors[1] > 1000 * errors[0]


def test_a_sweep_over_folds_is_one_stack_and_gives_means(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from eckart.methods.ratings import RatingsCompletion

    stacks: list[int] = []
    learned = RatingsCompletion.__init__

    def counted(self: Any, entries: Any, **keywords: Any) -> None:
        stacks.append(len(entries))
        learned(self, entries, **keywords)

    monkeypatch.setattr(RatingsCompletion, "__init__", counted)
    frame().write_csv("stars.csv")
    ended = train("-m", "data=ratings", "data.path=stars.csv", "data.folds=3", "data.fold=0,1,2", *SHORT, *QUIET)
    assert ended.code == 0 and stacks == [3]
    errors = [result(folder)["rmse"] for folder in ended.folders]
    assert len(set(errors)) == 3
    table = sweep_table([result(folder) for folder in ended.folders])
    assert "over n folds" in ended.stdout and "excess" not in ended.stdout
    assert f"{np.mean(errors):.4f}"[:5] in table and f"{np.std(errors, ddof=1):.4f}"[:4] in table


@pytest.mark.parametrize(
    ("text", "overrides", "law"),
    [
        ("u,i,r\n1,1,4\n1,2,4\n2,1,4\n", [], "The ratings must differ. Found 3, all of them 4."),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(text: str, overrides: list[str], law: str, train: Train) -> None:
    Path("a.csv").write_text(text)
    ended = train("data=ratings", "data.path=a.csv", *overrides, *QUIET)
    assert ended.code == 1
    assert re.search(law, ended.line)


@pytest.mark.processes
def test_a_run_continues_from_its_checkpoint(train: Train) -> None:
    frame().write_csv("stars.csv")
    common = ("data=ratings", "data.path=stars.csv", "rank=2", "optimizer.burn_in=2", "optimizer.sweeps=7", *QUIET)
    begun, whole = train(*common, "method.max_steps=4"), train(*common)
    ended = train(*common, f"ckpt={begun.folder / 'last.ckpt'}")
    assert ended.code == 0, ended.stderr
    assert ended.result["steps"] == 7 and begun.result["steps"] == 4
    assert ended.result["rmse"] == whole.result["rmse"]
    again = train(*common, f"ckpt={ended.folder / 'last.ckpt'}")
    assert "optimizer.sweeps must be above the 7" in again.line


@pytest.mark.processes
def test_the_commands_of_the_page(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    frame().rename({"who": "user_id:token", "what": "item_id:token", "stars": "rating:float"}).write_csv(
        "ratings.tsv", separator="\t"
    )
    Path("pairs.csv").write_text("user,item\nu1,3\n")
    walk = PAGE.split("## Begin")[1].split("\n## ")[0]
    folder, done = "", []
    for line in re.findall(r"^(?:python train\.py|eckart predict) .*$", walk, re.MULTILINE):
        words = shlex.split(line.replace("outputs/…", folder).replace("--row 196", "--row u1").partition("#")[0])
        if words[0] == "python":
            ended = train(*words[2:], *([] if "optimizer=weighted_als" in words else SHORT[:2]), "rank=2", *QUIET)
            assert ended.code == 0, ended.stderr
            folder = str(ended.folders[0]) if "-m" not in words else folder
        else:
            commands.run(words)
            assert "prediction" in capfd.readouterr().out
        done.append(words[1])
    assert {"train.py", "predict"} <= set(done) and len(done) >= 5


@pytest.mark.frontier
def test_five_folds_of_movielens_100k(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import benchmark_ratings as benchmark

    wheel = os.environ.get("RECBOLE_WHEEL")
    if wheel is None:
        try:
            importlib.metadata.distribution("recbole")
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("MovieLens 100K comes with recbole: pip install --no-deps recbole==1.2.1.")
    user, item, value = benchmark.ratings(None if wheel is None else Path(wheel))
    folds = benchmark.folds(len(value))
    splits = [(user[a], item[a], value[a], user[b], item[b]) for a, b in folds]
    shape = int(user.max()) + 1, int(item.max()) + 1
    for name, most in (("eckart gibbs", 0.886), ("eckart gibbs, not implicit", 0.898), ("eckart weighted_als", 0.92)):
        found, _, _ = benchmark.PROGRAMS[name](splits, shape, 10)
        errors = [np.sqrt(np.mean((part - value[b]) ** 2)) for part, (_, b) in zip(found, folds, strict=True)]
        print(f"{name}: {np.mean(errors):.4f}", file=sys.stderr)
        assert np.mean(errors) < most
