import re
from pathlib import Path
from typing import Any

import pytest
from jobs import job, seeds

from eckart.results.aggregate import AVERAGED, by_method_and_rank
from eckart.results.result import FIELDS
from eckart.results.terminal import failure, line, sweep_table, table

FINISHED: dict[str, Any] = dict.fromkeys(FIELDS) | {
    **{"method": "factorization", "data": "photo", "rank": 3, "seed": 0, "shape": [6, 5], "stop_reason": "converged"},
    **{"relative_2norm": 0.25, "relative_frobenius": 0.5, "optimum_2norm": 0.2, "optimum_frobenius": 0.4},
    **{"excess_2norm": 0.05, "excess_frobenius": 0.1, "numerical_rank": 3, "target_rank": 2, "parameters": 33},
    **{"dense_parameters": 30, "steps": 7, "fit_seconds": 0.5, "total_seconds": 1.0},
}


def printed(folder: Path, **changes: Any) -> dict[str, list[str]]:
    """Words of each line of a run's table behind its name."""
    lines = table(FINISHED | changes, folder).splitlines()
    return {line[:28].strip(): line[28:].split() for line in lines}


def test_table_of_a_run_has_optimum_error_and_excess(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("figures/b.png", "figures/a.png", "result.json", ".hidden"):
        (tmp_path / name).touch()
    shown = printed(tmp_path)
    assert shown[""] == []
    assert shown["relative 2-norm error"] == ["0.2000000000", "0.2500000000", "5.0e-02"]
    assert shown["relative Frobenius error"] == ["0.4000000000", "0.5000000000", "1.0e-01"]
    # No approximation of the target needs more than the target's own rank.
    assert shown["numerical rank"] == ["2", "3"]
    assert "images that training asked" not in shown
    lines = table(FINISHED, tmp_path).splitlines()
    assert lines[0] == "factorization on photo, 6×5, rank 3, seed 0"
    assert lines[2].split() == ["truncated", "SVD", "trained", "excess"]
    assert lines[-3:] == [
        "converged; 7 steps in 0.50 s, 1.0 s in all",
        str(tmp_path),
        "  figures/{a,b}.png  result.json",
    ]


@pytest.mark.parametrize(
    ("changes", "head"), [({}, "trained"), ({"stop_reason": "computed"}, "computed"), ({"accuracy": 0.5}, "reduction")]
)
def test_the_column_is_named_by_what_the_run_did(changes: dict[str, Any], head: str, tmp_path: Path) -> None:
    changes |= {"train_loss_sum_per_epoch": [2.5, 1.25]}
    lines = table(FINISHED | changes, tmp_path).splitlines()
    assert lines[2].split()[2] == head
    accuracy = "test accuracy 0.5000; cross-entropy summed over batches, by epoch: 2.50, 1.25"
    assert (accuracy in lines) == ("accuracy" in changes)


def test_table_says_which_images_training_asked_for_and_how_errors_were_measured(tmp_path: Path) -> None:
    unknown = dict.fromkeys(("optimum_2norm", "optimum_frobenius", "excess_2norm", "excess_frobenius", "target_rank"))
    measured = {"images": 20, "transpose_images": 0, "measured": "estimated from 100 fresh probes"}
    lines = table(FINISHED | unknown | measured, tmp_path).splitlines()
    assert "errors are estimated from 100 fresh probes" in lines
    (asked,) = [line for line in lines if line.startswith("images")]
    assert asked.split() == ["images", "that", "training", "asked", "for", "20"]
    assert printed(tmp_path, **unknown)["relative 2-norm error"] == ["–", "0.2500000000", "–"]
    assert printed(tmp_path, **unknown)["numerical rank"] == ["–", "3"]
    both = table(FINISHED | measured | {"transpose_images": 12, "measured": "exact"}, tmp_path)
    assert "20 and 12 of the transpose" in both and "errors are" not in both


def test_the_whole_table_of_a_run() -> None:
    every = {
        **{"images": 20, "transpose_images": 12, "measured": "estimated from 100 fresh probes", "accuracy": 0.5},
        **{"relative_observed": 0.125, "relative_held_out": 0.0625, "largest_output_difference": 0.03125},
        **{"train_loss_sum_per_epoch": [2.5, 1.25]},
    }
    assert table(FINISHED | every, None).splitlines() == [
        "factorization on photo, 6×5, rank 3, seed 0",
        "",
        "                               truncated SVD       reduction      excess",
        "relative 2-norm error           0.2000000000    0.2500000000     5.0e-02",
        "relative Frobenius error        0.4000000000    0.5000000000     1.0e-01",
        "numerical rank                             2               3",
        "parameters of the factors                 33              33    in place of 30",
        "images that training asked for                            20 and 12 of the transpose",
        "on the observed entries                         0.1250000000",
        "on the held-out entries                         0.0625000000",
        "largest output difference                       0.0312500000",
        "",
        "errors are estimated from 100 fresh probes",
        "",
        "test accuracy 0.5000; cross-entropy summed over batches, by epoch: 2.50, 1.25",
        "",
        "converged; 7 steps in 0.50 s, 1.0 s in all",
    ]
    assert table(FINISHED | {"data": None}, None).splitlines()[0] == "factorization, 6×5, rank 3, seed 0"


def test_a_folder_of_a_run_is_listed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "figures"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("wandb/x.png", "figures/a.png", "b.csv", "a.json"):
        (tmp_path / "runs" / name).touch()
    monkeypatch.chdir(tmp_path)
    lines = table(FINISHED, tmp_path / "runs").splitlines()
    assert lines[-2:] == ["runs", "  a.json  b.csv  figures/{a}.png  wandb/"]


def test_a_job_of_a_sweep_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "completed: relative Frobenius error 0.5000000000, excess 1.0e-01, 7 steps, 1.0 s  a/b"
    assert line(FINISHED | {"status": "completed"}, tmp_path / "a" / "b") == expected
    failed = failure({"status": "diverged", "error": "The loss is NaN."}, "rank=2", Path("/elsewhere"))
    assert failed == "diverged: rank=2: The loss is NaN.\n  /elsewhere"


TITLE = "mean ± standard deviation over seeds; n seeds; relative errors, and their excess over the optimum"


def test_the_whole_table_of_a_sweep() -> None:
    results = [*seeds(2), *seeds(2, method="svd", optimizer="none")]
    for number, result in enumerate(results):
        result |= {"relative_2norm": 0.25 + number / 100, "relative_frobenius": 0.5 + number / 8}
        result |= {"excess_2norm": 1e-11 * (1 + number), "excess_frobenius": 0.0, "accuracy": 0.125 + number / 4}
    results += [job(rank=3, seed=5, status="failed"), job(rank=3, seed=6, status="diverged")]
    header = (
        "rank  n  failed  diverged       2-norm error    Frobenius error      2-norm excess  Frobenius excess"
        "       accuracy"
    )
    assert sweep_table(results).splitlines() == [
        TITLE,
        "",
        "data=uniform method=bottleneck",
        header,
        "   2  2                    0.255000 ± 0.0071  0.562500 ± 0.0884  1.5e-11 ± 7.1e-12             0 ± 0"
        "  0.250 ± 0.177",
        "   3  0       1         1         –                  –                 –                       –          –",
        "",
        "data=uniform method=svd",
        header,
        "   2  2                    0.275000 ± 0.0071  0.812500 ± 0.0884  3.5e-11 ± 7.1e-12             0 ± 0"
        "  0.750 ± 0.177",
    ]


def test_a_sweep_that_shares_no_setting_has_nothing_above_its_rows() -> None:
    results = [job(data=data, method=method) for data in ("uniform", "photo") for method in ("bottleneck", "linear")]
    for result in results:
        result |= {"relative_2norm": 0.25, "relative_frobenius": 0.5, "excess_2norm": 1e-11, "excess_frobenius": 0.0}
    figures = "   2  1  0.250000 ± –     0.500000 ± –    1.0e-11 ± –             0 ± –"
    assert sweep_table(results).splitlines() == [
        TITLE,
        "",
        "data     method      rank  n  2-norm error  Frobenius error  2-norm excess  Frobenius excess",
        f"photo    bottleneck  {figures}",
        f"uniform  bottleneck  {figures}",
        f"photo    linear      {figures}",
        f"uniform  linear      {figures}",
    ]


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", re.sub(r" *± *", "±", line.strip()))


def test_table_shows_the_rows() -> None:
    results = [*seeds(3), *seeds(3, rank=10), *seeds(2, method="svd", optimizer="none"), job(seed=7, status="failed")]
    for number, result in enumerate(results[:-1]):
        result |= {"relative_2norm": 0.25 + number / 100, "excess_2norm": 1e-11 * (1 + number), "accuracy": None}
    title, blank, head, header, *body = sweep_table(results).splitlines()
    assert ("mean ± standard deviation over seeds" in title, blank, head) == (True, "", "data=uniform")
    columns = ["method", "rank", "n", "failed", "2-norm error", "Frobenius error", "2-norm excess", "Frobenius excess"]
    assert cells(header) == columns
    assert [line.split()[:3] for line in body] == [
        ["bottleneck", "2", "3"],
        ["bottleneck", "10", "3"],
        ["svd", "2", "2"],
    ]
    assert cells(body[0])[3:5] == ["1", "0.260000±0.0100"] and cells(body[0])[6] == "2.0e-11±1.0e-11"
    assert cells(body[1])[3] == "0.290000±0.0100" and cells(body[1])[5] == "5.0e-11±1.0e-11"
    # Everything stands below its header.
    places = [[match.start() for match in re.finditer("±", line)] for line in body]
    assert places[0] == places[1] == places[2] and len(places[0]) == 4
    for row in body:
        assert row[header.index("rank") + 3] in "02"


def test_table_of_one_seed_has_no_deviation() -> None:
    lines = sweep_table([job() | {"relative_2norm": 0.5, "excess_2norm": 0.0}]).splitlines()
    assert lines[2] == "data=uniform method=bottleneck"
    assert cells(lines[4])[2] == "0.500000±–" and cells(lines[4])[4] == "0±–"


def test_small_errors_keep_their_digits() -> None:
    (line,) = sweep_table([job() | {"relative_2norm": 3.19858e-9}]).splitlines()[4:]
    assert cells(line)[2] == "3.20e-09±–"


def test_table_says_what_was_swept() -> None:
    results = [*seeds(2), *seeds(2, optimizer__lr=1e-3), *seeds(2, optimizer="sgd"), *seeds(2, method__max_steps=7)]
    header, *body = sweep_table(results).splitlines()[3:]
    assert cells(header)[:3] == ["max_steps", "optimizer", "lr"]
    assert [line.split()[:3] for line in body] == [
        ["7", "Adam", "0.1"],
        ["100", "Adam", "0.001"],
        ["100", "Adam", "0.1"],
        ["100", "SGD", "0.1"],
    ]


def test_table_of_jobs_that_all_failed() -> None:
    lines = sweep_table([job(rank=30, seed=seed, status="failed") for seed in range(2)]).splitlines()
    assert cells(lines[3])[:3] == ["rank", "n", "failed"]
    assert lines[4].split() == ["30", "0", "2", "–", "–", "–", "–"]


@pytest.mark.parametrize("figure", [0.123456789, 1.23456e-12, -1.23456e-17])
@pytest.mark.parametrize("failing", [(), ("failed", "diverged")])
@pytest.mark.parametrize("accuracy", [None, 0.987])
@pytest.mark.parametrize("swept", [{}, {"optimizer__lr": 1e-3}, {"data__path": "/a/long/path/" * 9}])
def test_table_fits_the_terminal(
    figure: float, failing: tuple[str, ...], accuracy: float | None, swept: dict[str, Any]
) -> None:
    results = [
        job(method=method, data=data, rank=400, seed=seed, **settings) | dict.fromkeys(AVERAGED, figure * (1 + seed))
        for method in ("factorized_linear", "bottleneck")
        for data in ("color_wheel", "uniform")
        for settings in ({}, swept)
        for seed in range(3)
    ]
    for result in results:
        result["accuracy"] = accuracy and accuracy / (1 + result["seed"])
        result |= {name: abs(result[name]) for name in ("relative_2norm", "relative_frobenius")}
    results += [job(rank=400, seed=9 + number, status=status) for number, status in enumerate(failing)]
    title, *lines = sweep_table(results).splitlines()
    heads = [line for line in lines if "=" in line]
    assert max(map(len, {title, *lines}.difference(heads))) <= 120
    # What does not fit beside the figures stands above them: nothing is lost.
    for name in ("factorized_linear", "bottleneck", "color_wheel", "uniform", *map(str, swept.values())):
        assert any(name in line for line in lines)
    assert sum(" 400 " in line for line in lines) == len(by_method_and_rank(results))
