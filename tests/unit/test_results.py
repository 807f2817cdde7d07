import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import polars
import pytest
from example import CONFIG, changed

from eckart.results.result import read_result, read_results, write_result
from eckart.results.tables import load


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
        raise OSError(28, "disk full")

    monkeypatch.setattr(Path, "write_text", crash)
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path / "run", {"status": "completed", "rank": 2})
    assert read_result(tmp_path / "run")["rank"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result.json"]


def test_run_that_has_not_ended_has_no_result(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_result(tmp_path)


def job(folder: Path, *, method: str = "bottleneck", seed: int = 0, rank: int = 2, **figures: Any) -> dict[str, Any]:
    """Write a result whose config is like that of ``CONFIG``."""
    known = {"status": "completed", "method": method, "data": "uniform", "rank": rank, "seed": seed, "shape": [10, 9]}
    config = changed("data.source.seed", seed, changed("seed", seed, changed("rank", rank)))
    return write_result(folder, known | {"config": config, "fingerprint": f"{method}{rank}{seed}"} | figures)


def test_load_has_a_row_for_each_job_of_any_number_of_sweeps(tmp_path: Path) -> None:
    written = {
        str(folder): job(folder, seed=seed, rank=rank, loss=rank + seed / 10)
        for sweep in ("monday", "tuesday")
        for rank in (2, 10)
        for seed in (0, 1)
        for folder in [tmp_path / sweep / f"rank={rank},seed={seed}"]
    }
    single = tmp_path / "yesterday" / "run"
    written[str(single)] = job(single, method="svd", error="one line", wandb_run="x", train_loss_sum_per_epoch=[2, 1.5])
    table = load(
        tmp_path / "monday", tmp_path / "tuesday" / "rank=2,seed=0", tmp_path / "yesterday", tmp_path / "tuesday"
    )
    assert table["folder"].to_list() == list(written)
    for row, result in zip(table.to_dicts(), written.values(), strict=True):
        assert (row["rows"], row["cols"]) == (10, 9)
        assert row["method.hidden"] == "paper" and row["logger.wandb.project"] == "eckart"
        for name in result.keys() - {"shape", "config", "versions"}:
            assert row[name] == result[name]
    assert len(load(single)) == 1


def test_load_takes_text_or_paths_and_names_folders_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(tmp_path / "sweep" / "rank=2")
    monkeypatch.chdir(tmp_path)
    assert load("sweep")["folder"].to_list() == load(Path("sweep"))["folder"].to_list() == ["sweep/rank=2"]


def test_load_puts_what_tells_jobs_apart_first(tmp_path: Path) -> None:
    adam = changed("optimizer.lr", 0.5)
    for seed in (0, 1):
        for number, config in enumerate((CONFIG, adam)):
            job(tmp_path / f"{number}{seed}", seed=seed, config=changed("data.source.seed", seed, config))
    columns = load(tmp_path).columns
    assert columns[:4] == ["seed", "optimizer.lr", "status", "error"]
    # What the seed alone makes differ says nothing new; it is among what stays the same.
    place = columns.index("folder")
    assert set(columns[place + 1 :]) == {
        *("method", "data", "rank", "name", "ckpt", "figures", "data._target_", "data.rows", "data.scale"),
        *("data.source.seed", "method._target_", "method.max_steps", "method.hidden", "optimizer._target_"),
        *("trainer.accelerator", "trainer.precision", "trainer.enable_progress_bar"),
        *("logger.history", "logger.wandb.project"),
    }
    contract = [*write_result(tmp_path / "empty", {})]
    told = {"method", "data", "rank", "seed", "shape", "config", "versions"}
    assert [name for name in columns[2:place] if name not in ("rows", "cols")] == [
        *(name for name in contract if name not in told),
        "versions",
    ]
    assert len(set(columns)) == len(columns)


def test_load_of_one_job_has_nothing_that_varies(tmp_path: Path) -> None:
    job(tmp_path)
    table = load(tmp_path)
    assert table.columns[0] == "status" and table.columns.index("folder") < table.columns.index("method")


def test_load_knows_the_types_of_the_contract_without_a_value(tmp_path: Path) -> None:
    job(tmp_path, shape=None, status="failed", loss=None, versions={"torch": "2"})
    schema = load(tmp_path).schema
    types = {
        polars.String: "status error stop_reason wandb_run fingerprint versions.torch folder method data",
        polars.Int64: "rows cols numerical_rank target_rank parameters dense_parameters steps rank seed",
        polars.Float64: "loss relative_2norm optimum_frobenius excess_2norm fit_seconds total_seconds accuracy",
    }
    for kind, names in types.items():
        assert {name: schema[name] for name in names.split()} == dict.fromkeys(names.split(), kind)
    assert schema["train_loss_sum_per_epoch"] == polars.List(polars.Float64)


def test_load_takes_configs_of_any_shape(tmp_path: Path) -> None:
    values = ["paper", [8, 2], None, 7, 0.5, True, [[1], [2]], {"a": {"b": 1}}]
    for number, value in enumerate(values):
        job(tmp_path / str(number), config=changed("method", {"hidden": value, f"own{number}": number}))
    job(tmp_path / "none", config=None)
    table = load(tmp_path)
    texts = ["paper", "[8, 2]", None, "7", "0.5", "true", "[[1], [2]]", None, None]
    assert table["method.hidden"].to_list() == texts
    assert table["method.hidden.a.b"].to_list() == [None] * 7 + [1, None]
    assert table["method.own3"].to_list() == [None] * 3 + [3] + [None] * 5


def test_results_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("rank=10,seed=0", "rank=2,seed=10", "rank=2,seed=9", "10", "b2", "a"):
        job(tmp_path / name)
    names = [folder.name for folder in read_results(tmp_path)]
    assert names == ["10", "a", "b2", "rank=2,seed=9", "rank=2,seed=10", "rank=10,seed=0"]
    assert [Path(folder).name for folder in load(tmp_path)["folder"]] == names


def test_each_job_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        job(tmp_path / "many" / "sweep" / f"seed={seed}", seed=seed)
    (tmp_path / "link").symlink_to(tmp_path / "many")
    monkeypatch.chdir(tmp_path)
    found = read_results("many", "many/sweep/seed=1", tmp_path / "many", "many/../many/sweep", "link")
    assert [str(folder) for folder in found] == [f"many/sweep/seed={seed}" for seed in range(3)]
    assert [result["seed"] for result in found.values()] == [0, 1, 2]


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    hidden = tmp_path / ".hidden"
    job(hidden / "seed=0")
    job(tmp_path / "seed=1" / ".old", seed=7)
    job(tmp_path / "seed=1", seed=1)
    assert [result["seed"] for result in read_results(tmp_path).values()] == [1]
    # One that is asked for by name is.
    assert [result["seed"] for result in read_results(hidden).values()] == [0]


@pytest.mark.parametrize(
    "content",
    [
        b'{"status": "comp',
        b"",
        b"\x93NUMPY\xff",
        b"[1, 2]",
        b"null",
        b'{"accuracy": 0.5}',
        b'{"status": "completed", "rank": 2}',
        b'{"status": "completed", "fingerprint": "a", "config": [1]}',
        b'{"status": "completed", "fingerprint": "a", "shape": 3}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_whole_result_of_ours_is_left_out_with_a_line(content: bytes, tmp_path: Path) -> None:
    job(tmp_path / "good", seed=5)
    bad = tmp_path / "bad" / "result.json"
    bad.parent.mkdir()
    bad.write_bytes(content)
    with pytest.warns(UserWarning) as caught:
        table = load(tmp_path)
    (line,) = [str(warning.message) for warning in caught]
    assert line.startswith(f"{bad} is left out: ") and "\n" not in line
    assert table["seed"].to_list() == [5]
    with pytest.warns(UserWarning), pytest.raises(FileNotFoundError):
        load(bad.parent)


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job(tmp_path / "good")
    job(tmp_path / "closed" / "run")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        # Root, as whom tests may run, is refused nothing.
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r"closed is left out: Permission denied$"):
        assert [folder.name for folder in read_results(tmp_path)] == ["good"]


def test_no_result_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^There is no result of a run below .*/a or .*/a\.$"):
        load(tmp_path / "a", tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"^There is no folder .*/b\.$"):
        load(tmp_path / "b")


def test_whole_results_make_no_warning(tmp_path: Path) -> None:
    job(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load(tmp_path)) == 1


def test_result_is_text_in_utf8(tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "failed", "error": "σ₁ is 0"})
    assert "σ₁ is 0".encode() in (tmp_path / "result.json").read_bytes()
    assert read_result(tmp_path)["error"] == "σ₁ is 0"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_result_with_a_constant_that_is_no_json_is_refused(constant: str, tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "completed", "loss": 0.125})
    path = tmp_path / "result.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.125", constant), encoding="utf-8")
    with pytest.raises(ValueError, match=constant.strip("-")):
        read_result(tmp_path)


@pytest.mark.parametrize("depth", [60, 100_000])
def test_result_that_is_nested_too_deep_is_refused(depth: int, tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "completed", "config": {"deep": "HERE"}})
    path = tmp_path / "result.json"
    nested = "[" * depth + "]" * depth
    path.write_text(path.read_text(encoding="utf-8").replace('"HERE"', nested), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^it is nested too deep$"):
        read_result(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(nested, "[" * 40 + "]" * 40), encoding="utf-8")
    read_result(tmp_path)


def test_result_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ValueError, match=r"^it is not a regular file$"):
        read_result(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("rank", 2**63), ("seed", -(2**63)), ("loss", 10**400), ("rank", True)])
def test_number_out_of_range_is_refused(field: str, value: int, tmp_path: Path) -> None:
    written = write_result(tmp_path, {"status": "completed"})
    (tmp_path / "result.json").write_text(json.dumps(written | {field: value}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^its {field} is not of type (int|float)$"):
        read_result(tmp_path)


def test_result_is_indented_by_two_and_ends_with_a_line(tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "completed", "data": "größe"})
    text = (tmp_path / "result.json").read_bytes().decode("utf-8")
    assert text.startswith('{\n  "status": "completed",\n  "error": null,\n')
    assert '\n  "data": "größe",\n' in text and text.endswith("\n}\n")
