from pathlib import Path
from typing import Any

import pytest

from eckart.results.result import FIELDS
from eckart.results.screen import Screen, length
from eckart.results.terminal import failure, failures, line, table

FINISHED: dict[str, Any] = dict.fromkeys(FIELDS) | {
    **{"method": "factorization", "data": "photo", "rank": 3, "seed": 0, "shape": [6, 5], "stop_reason": "converged"},
    **{"relative_2norm": 0.25, "relative_frobenius": 0.5, "optimum_2norm": 0.2, "optimum_frobenius": 0.4},
    **{"excess_2norm": 0.05, "excess_frobenius": 0.1, "numerical_rank": 3, "target_rank": 2, "parameters": 33},
    **{"dense_parameters": 30, "steps": 7, "fit_seconds": 0.5, "total_seconds": 1.0, "status": "completed"},
}
EVERY: dict[str, Any] = {
    **{"images": 20, "transpose_images": 12, "measured": "estimated from 100 fresh probes", "accuracy": 0.5},
    **{"relative_observed": 0.125, "relative_held_out": 0.0625, "largest_output_difference": 0.03125},
    **{"train_loss_sum_per_epoch": [2.5, 1.25]},
}
ESCAPES = "\x1b[31mred\x1b[0m\r\n\u202eback\x07"


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
    assert "images that training asked f" not in shown
    lines = table(FINISHED, tmp_path).splitlines()
    assert lines[0] == "factorization on photo, 6×5, rank 3, seed 0"
    assert lines[2].split() == ["truncated", "SVD", "trained", "excess"]
    assert lines[-4:] == [
        "converged",
        "7 steps in 0.50 s, 1.0 s in all",
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
    assert ("test accuracy 0.5000" in lines) == ("accuracy" in changes)


@pytest.mark.parametrize(
    ("changes", "took"),
    [
        ({"stop_reason": "computed", "steps": 1}, "0.50 s, 1.0 s in all"),
        ({"steps": 1}, "1 step in 0.50 s, 1.0 s in all"),
        ({"steps": 2}, "2 steps in 0.50 s, 1.0 s in all"),
    ],
)
def test_a_decomposition_has_no_steps_and_one_step_no_plural(changes: dict[str, Any], took: str) -> None:
    assert table(FINISHED | changes, None).splitlines()[-1] == took


def test_table_says_which_images_training_asked_for_and_how_errors_were_measured(tmp_path: Path) -> None:
    unknown = dict.fromkeys(("optimum_2norm", "optimum_frobenius", "excess_2norm", "excess_frobenius", "target_rank"))
    measured = {"images": 20, "transpose_images": 0, "measured": "estimated from 100 fresh probes"}
    lines = table(FINISHED | unknown | measured, tmp_path).splitlines()
    assert "errors are estimated from 100 fresh probes" in lines
    (asked,) = [line for line in lines if line.startswith("images")]
    assert asked.split() == ["images", "that", "training", "asked", "for", "20"]
    assert printed(tmp_path, **unknown)["relative 2-norm error"] == ["–", "0.2500000000", "–"]
    assert printed(tmp_path, **unknown)["numerical rank"] == ["–", "3"]
    exact = table(FINISHED | measured | {"measured": "exact"}, tmp_path)
    assert "errors are" not in exact


def test_the_whole_table_of_a_run() -> None:
    big = {"parameters": 972544, "dense_parameters": 47040000, "excess_2norm": -3.5e-17}
    assert table(FINISHED | EVERY | big, None).splitlines() == [
        "factorization on photo, 6×5, rank 3, seed 0",
        "",
        "                               truncated SVD       reduction      excess",
        "relative 2-norm error           0.2000000000    0.2500000000    -3.5e-17",
        "relative Frobenius error        0.4000000000    0.5000000000     1.0e-01",
        "numerical rank                             2               3",
        "parameters of the factors            972,544         972,544",
        "parameters if it were dense                       47,040,000",
        "images that training asked for                            20",
        "images of the transpose                                   12",
        "error on the observed entries                   0.1250000000",
        "error on the held-out entries                   0.0625000000",
        "largest output difference                       0.0312500000",
        "",
        "errors are estimated from 100 fresh probes",
        "",
        "test accuracy 0.5000",
        "cross-entropy summed over batches, by epoch: 2.50, 1.25",
        "",
        "converged",
        "7 steps in 0.50 s, 1.0 s in all",
    ]
    assert table(FINISHED | {"data": None}, None).splitlines()[0] == "factorization, 6×5, rank 3, seed 0"


def test_of_many_epochs_the_first_and_the_last_are_shown() -> None:
    text = table(FINISHED | EVERY | {"train_loss_sum_per_epoch": [float(epoch) for epoch in range(100)]}, None)
    shown = "0.00, 1.00, 2.00, 3.00, (92 more), 96.00, 97.00, 98.00, 99.00"
    assert shown in " ".join(text.split())


LONG = {
    **{"method": "factorized_linear", "data": "a_target_with_a_very_long_name_" * 4 + "矩陣" * 20},
    **{"shape": [60000, 784], "rank": 784, "seed": 123456789, "parameters": 47_654_656, "dense_parameters": 47_040_000},
    **{"relative_2norm": 1e30, "relative_frobenius": 1234.5, "optimum_frobenius": 1e-300, "excess_2norm": -1.2e-300},
    **{"images": 10**9, "train_loss_sum_per_epoch": [12345.678] * 50, "steps": 10**9, "fit_seconds": 1e6},
    "stop_reason": "converged: the gradient in the scaled metric is 6.4e-11, relative",
}


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("changes", [{}, EVERY, EVERY | LONG], ids=["few", "every", "long"])
@pytest.mark.parametrize("colored", [False, True])
def test_every_line_fits_and_nothing_is_lost(
    columns: int, changes: dict[str, Any], colored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "figures").mkdir(parents=True)
    names = [f"figures/picture_{number}.png" for number in range(9)] + [f"a_file_{number}.csv" for number in range(9)]
    for name in names:
        (tmp_path / "run" / name).touch()
    text = table(FINISHED | changes, Path("run"), Screen(columns, colored))
    assert max(map(length, text.splitlines())) <= columns
    joined = "".join(text.split())
    for name in names:
        assert Path(name).stem in joined
    assert ("\x1b[" in text) == colored
    for number in ("47,654,656", "47,040,000", "1.000e+30") if "method" in changes else ():
        assert number in text


def test_colors_tell_rounding_from_excess_and_ends_from_each_other() -> None:
    screen = Screen(colored=True)
    text = table(FINISHED | {"excess_2norm": -5e-17}, None, screen)
    assert "\x1b[32m-5.0e-17\x1b[0m" in text and "32m1.0e-01" not in text and "\x1b[32mconverged\x1b[0m" in text
    assert "\x1b[31mdiverged\x1b[0m after" in table(FINISHED | {"stop_reason": "diverged after 3 steps"}, None, screen)
    assert failure({"status": "failed", "error": "E"}, "", Path("/a"), screen).startswith("\x1b[31mfailed\x1b[0m: E")


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    folder = Path(f"/a/{ESCAPES}")
    named = FINISHED | dict.fromkeys(("method", "data", "stop_reason", "measured"), ESCAPES)
    failed = {"status": "failed", "error": ESCAPES}
    texts = [line(named, folder), failure(failed, ESCAPES, folder), *failures({folder: ESCAPES})]
    texts += ["\n".join(failures({folder / str(number): ESCAPES for number in range(20)})), table(named, None)]
    for text in texts:
        assert text.replace("\n", "").isprintable() and "[31mred" in text.replace("\n", "")


def test_a_folder_of_a_run_is_listed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "figures"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("wandb/x.png", "figures/a.png", "b.csv", "a.json", "\x1b[2Jc.csv"):
        (tmp_path / "runs" / name).touch()
    monkeypatch.chdir(tmp_path)
    lines = table(FINISHED, tmp_path / "runs").splitlines()
    assert lines[-2:] == ["runs", "  [2Jc.csv  a.json  b.csv  figures/{a}.png  wandb/"]
    (tmp_path / "runs" / "figures" / "a.svg").touch()
    assert "figures/{a}.{png,svg}" in table(FINISHED, tmp_path / "runs")


def test_a_job_of_a_sweep_is_one_line_where_its_folder_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "completed: Frobenius error 0.500000, excess 1.0e-01, 7 steps, 1.0 s"
    assert line(FINISHED, tmp_path / "a" / "b") == f"{text}  a/b"
    assert line(FINISHED, tmp_path / "a" / ("b" * 20)) == f"{text}\n  a/{'b' * 20}"
    classified = line(FINISHED | {"accuracy": 0.98765}, tmp_path / "a")
    assert classified == "completed: accuracy 0.9877, Frobenius error 0.500000, 7 steps, 1.0 s  a"
    failed = failure({"status": "diverged", "error": "The loss is NaN."}, "rank=2", Path("/elsewhere"))
    assert failed == "diverged: rank=2: The loss is NaN.\n  /elsewhere"
    assert failure({"status": "failed", "error": "E"}, "", Path("/elsewhere")) == "failed: E\n  /elsewhere"


def test_failed_jobs_are_listed_and_counted_where_they_are_many() -> None:
    few = {Path(f"/a/{number}"): "E" for number in range(10)}
    assert failures(few) == [f"/a/{number}: E" for number in range(10)]
    assert failures(few | {Path("/a/10"): "F"}) == [
        *("E (10 jobs)", "  /a/0", "  /a/1", "  /a/2", "  and 7 more"),
        *("F (1 job)", "  /a/10"),
    ]
