import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank import results
from lowrank.results import History, fingerprint, read_result, write_result

CONFIG: dict[str, Any] = {
    "rank": 2,
    "seed": 0,
    "name": None,
    "ckpt": None,
    "figures": True,
    "data": {"_target_": "a.B", "rows": 10, "scale": 1.0, "source": {"seed": 0}},
    "method": {"_target_": "a.C", "max_steps": 100, "hidden": "paper"},
    "optimizer": {"_target_": "a.D", "lr": 0.01},
    "trainer": {"accelerator": "auto", "precision": None, "enable_progress_bar": True},
    "logger": {"history": True, "wandb": {"project": "lowrank"}},
}


def changed(path: str, value: Any, config: Mapping[str, Any] = CONFIG) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    return {**config, key: changed(rest, value, config[key]) if rest else value}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_result_has_every_field_of_the_contract(tmp_path: Path) -> None:
    written = write_result(
        tmp_path, {"status": "completed", "shape": (3, 2), "config": {"rank": 2, "data": {"a": None}}}
    )
    assert read_result(tmp_path) == written
    contract = (
        "status error method data rank seed shape loss relative_2norm relative_frobenius optimum_2norm "
        "optimum_frobenius excess_2norm excess_frobenius numerical_rank parameters dense_parameters steps fit_seconds "
        "total_seconds accuracy train_loss_sum_per_epoch wandb_run fingerprint config versions"
    )
    assert set(contract.split()) <= set(written)
    assert written["shape"] == [3, 2]
    assert written["loss"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_null(value: float, tmp_path: Path) -> None:
    figures = {"loss": value, "train_loss_sum_per_epoch": [1.0, value], "config": {"a": {"b": [value, 2]}}}
    write_result(tmp_path, figures)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert result["loss"] is None
    assert result["train_loss_sum_per_epoch"] == [1.0, None]
    assert result["config"] == {"a": {"b": [None, 2]}}


def test_figures_of_a_new_method_stand_beside_the_contract(tmp_path: Path) -> None:
    written = write_result(tmp_path, {"rank": 2, "sparsity": 0.5})
    assert (written["rank"], written["sparsity"], written["loss"]) == (2, 0.5, None)


def test_result_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(tmp_path / "run", {"status": "completed", "rank": 1})

    def crash(self: Path, *_: Any, **__: Any) -> int:
        with self.open("w") as file:
            file.write('{"status": "comp')
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", crash)
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path / "run", {"status": "completed", "rank": 2})
    assert read_result(tmp_path / "run")["rank"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result.json"]


def test_run_that_has_not_ended_has_no_result(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "another"),
        ("figures", False),
        ("logger", {}),
        ("logger.wandb", None),
        ("trainer.enable_progress_bar", False),
        ("trainer.accelerator", "cpu"),
    ],
)
def test_fingerprint_ignores_what_does_not_decide_the_result(path: str, value: Any) -> None:
    assert fingerprint(changed(path, value)) == fingerprint(CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rank", 3),
        ("seed", 1),
        ("ckpt", "last.ckpt"),
        ("data.rows", 11),
        ("data.source.seed", 1),
        ("method.max_steps", 101),
        ("method.hidden", [8]),
        ("method._target_", "a.E"),
        ("optimizer.lr", 0.02),
        ("trainer.precision", "32-true"),
    ],
)
def test_fingerprint_changes_with_what_decides_the_result(path: str, value: Any) -> None:
    assert fingerprint(changed(path, value)) != fingerprint(CONFIG)


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    def turned(part: Any) -> Any:
        return {key: turned(part[key]) for key in reversed(part)} if isinstance(part, dict) else part

    assert fingerprint(turned(CONFIG)) == fingerprint(CONFIG)


def test_fingerprint_takes_numbers_for_what_they_are() -> None:
    assert fingerprint(changed("data.scale", 1)) == fingerprint(CONFIG)
    assert fingerprint(changed("seed", 0.0)) == fingerprint(CONFIG)
    assert fingerprint(changed("data.scale", 1.5)) != fingerprint(CONFIG)


def test_fingerprint_names_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(CONFIG)
    monkeypatch.setattr(results, "versions", lambda: {"lowrank": "999"})
    assert fingerprint(CONFIG) != before


def test_history_is_on_disk_after_each_row(tmp_path: Path) -> None:
    path = tmp_path / "run" / "history.csv"
    history = History(path)
    for step in range(5):
        history.add(step, {"loss": 1 / (step + 1), "error": 0.1 * step})
        rows = read_csv(path)
        assert len(rows) == step + 1
        assert float(rows[-1]["loss"]) == 1 / (step + 1)
        assert float(rows[-1]["error"]) == 0.1 * step
    assert path.read_text(encoding="utf-8").splitlines()[0] == "step,loss,error"


def test_history_takes_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = History(path)
    history.add(0, {"loss": 4.0})
    history.add(1, {"accuracy": 0.5})
    history.add(2, {"loss": 1.0, "accuracy": 0.75})
    assert read_csv(path) == [
        {"step": "0", "loss": "4.0", "accuracy": ""},
        {"step": "1", "loss": "", "accuracy": "0.5"},
        {"step": "2", "loss": "1.0", "accuracy": "0.75"},
    ]
    assert history.column("loss") == ([0, 2], [4.0, 1.0])
    assert history.column("accuracy") == ([1, 2], [0.5, 0.75])
    assert history.column("nothing") == ([], [])
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False), max_size=4), max_size=6))
def test_history_of_any_columns_is_the_same_in_memory_and_on_disk(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history = History(path)
    for step, row in enumerate(rows):
        history.add(step, row)
    on_disk = read_csv(path) if rows else []
    assert [{key: float(text) for key, text in row.items() if text} for row in on_disk] == history.rows
    for name in "abcd":
        steps, values = history.column(name)
        assert steps == [step for step, row in enumerate(rows) if name in row]
        assert values == [row[name] for row in rows if name in row]


def test_history_without_a_file_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = History(None)
    history.add(0, {"loss": 1.0})
    assert history.rows == [{"step": 0, "loss": 1.0}]
    assert list(tmp_path.iterdir()) == []
