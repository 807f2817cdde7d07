"""Folders as records: whose run it is, how it ended, and what could not be read."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jobs import job
from wandb_files import items, log_file, record, row, run

from eckart.reports import reading
from eckart.results.history import HISTORY, History
from eckart.results.result import write_result
from eckart.tracking.offline import OfflineRun

OFFLINE = "offline-run-20261125_235420-{}"


def finished(folder: Path, wandb_run: str | None = None, **changes: Any) -> dict[str, Any]:
    return write_result(folder, {"fingerprint": "f", "wandb_run": wandb_run, **job(**changes)})


def logged(folder: Path, name: str, *, config: Any = None, summary: Any = None, code: int | None = 0) -> Path:
    """An offline W&B run, as the client leaves it."""
    path = folder / "wandb" / OFFLINE.format(name) / f"run-{name}.wandb"
    path.parent.mkdir(parents=True)
    records = [run(config, run_id=name, display_name=f"run {name}", run_group="g")]
    records += [row(step, {"loss": 1 / (1 + step)}) for step in range(3)]
    records.append(record(summary={"update": items(summary or {"loss": 0.25})}).SerializeToString())
    if code is not None:
        records.append(record(exit={"exit_code": code}).SerializeToString())
    path.write_bytes(log_file(records))
    return path


def test_results_are_runs_with_their_settings_and_their_curves(tmp_path: Path) -> None:
    folder = tmp_path / "rank=2,seed=0"
    finished(folder, optimizer__lr=0.5)
    History(folder / HISTORY).add(0, {"train/loss": 1.0})
    found = reading.read([tmp_path])
    problems: list[str] = []
    (record_,) = reading.with_curves(found.records, problems)
    assert (record_.name, record_.status, record_.ours, record_.error) == ("rank=2,seed=0", "completed", True, None)
    assert record_.settings["optimizer.lr"] == 0.5
    assert record_.history == {"train/loss": ([0.0], [1.0])}
    assert not problems and not found.problems


def test_a_wandb_run_that_a_result_names_is_no_run_of_its_own(tmp_path: Path) -> None:
    path = logged(tmp_path, "abc", config={"rank": 2})
    # The sweep was made on another machine.
    finished(tmp_path / "a", wandb_run=f"/elsewhere/wandb/{path.parent.name}")
    logged(tmp_path, "other")
    found = reading.read([tmp_path])
    assert [(record_.name, record_.program) for record_ in found.records] == [("a", "eckart"), ("run other", "wandb")]


def test_the_wandb_run_of_a_failed_job_is_known_by_its_config(tmp_path: Path) -> None:
    failed = job(status="failed")
    finished(tmp_path / "a", status="failed")
    # An attempt that was resumed, by another command.
    logged(tmp_path, "abc", config=failed["config"] | {"resume": "latest"}, code=1)
    logged(tmp_path, "def", config=failed["config"] | {"rank": 99}, code=1)
    assert [record_.name for record_ in reading.read([tmp_path]).records] == ["a", "run def"]


def test_a_foreign_run_keeps_what_its_file_says(tmp_path: Path) -> None:
    logged(tmp_path, "abc", config={"opt": {"lr": 0.1}}, summary={"acc": 0.5}, code=1)
    logged(tmp_path, "def", code=None)
    first, second = reading.read([tmp_path]).records
    assert (first.name, first.status, second.status) == ("run abc", "failed", "unfinished")
    assert first.settings == {"opt.lr": 0.1} and first.number("acc") == 0.5 and first.identity["group"] == "g"
    assert first.history["loss"] == ([0, 1, 2], [1.0, 0.5, 0.33333])


def offline(**changes: Any) -> OfflineRun:
    given: dict[str, Any] = {
        "path": Path("s/wandb/offline-run-1-abc/run-abc.wandb"),
        "identity": {"name": "net", "id": "abc"},
        "tags": (),
        "config": job()["config"] | {"choices": {"method": "bottleneck", "data": "photo"}},
        "history": {"train/loss": ([0, 1], [2.0, 1.0])},
        "summary": {"relative_frobenius": 0.5, "excess_frobenius": 0.1, "status": "completed", "rank": 2},
        "media": (),
        "exit_code": 0,
        "problem": None,
    }
    return OfflineRun(**(given | changes))


def test_an_offline_run_of_eckart_is_a_run_of_eckart() -> None:
    record_ = reading.of_offline(offline())
    assert record_.ours and record_.status == "completed"
    assert [record_.fields[name] for name in ("method", "data", "rank", "seed")] == ["bottleneck", "photo", 2, 0]
    assert record_.settings["method.max_steps"] == 100 and record_.number("excess_frobenius") == 0.1
    # A damaged file of ours can hold values of any type.
    odd = reading.of_offline(offline(summary={**offline().summary, "rank": "two", "method": ["x"]}))
    assert odd.fields["rank"] is None and odd.fields["method"] is None


def test_a_run_of_another_program_with_a_method_is_not_taken_for_ours() -> None:
    record_ = reading.of_offline(offline(summary={"loss": 1.0}, exit_code=None, problem="Its end is cut off."))
    assert not record_.ours and (record_.status, record_.error) == ("unfinished", "Its end is cut off.")


def test_a_run_that_left_no_result_is_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "killed" / ".hydra"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("rank: 3\nseed: 1\nmethod: {_target_: a}\n")
    (folder / "overrides.yaml").write_text("- method=bottleneck\n- data=photo\n- rank=3\n")
    (record_,) = reading.read([tmp_path]).records
    assert record_.status == "unfinished" and [record_.fields[n] for n in ("method", "rank")] == ["bottleneck", 3]
    assert reading.read([tmp_path]).commands == ("python train.py method=bottleneck data=photo rank=3",)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/eckart", "report"])
    assert reading.read([tmp_path]).commands == ("eckart method=bottleneck data=photo rank=3",)


def test_the_command_of_a_sweep_is_told_once_and_as_it_was_typed(tmp_path: Path) -> None:
    node = {"task": ["rank=1,2", "name=a b"], "hydra": ["hydra.mode=MULTIRUN", "hydra.sweep.dir=/x"]}
    (tmp_path / "multirun.yaml").write_text(json.dumps({"hydra": {"overrides": node}}))
    for rank in (1, 2):
        finished(tmp_path / f"rank={rank}", rank=rank)
        (tmp_path / f"rank={rank}" / ".hydra").mkdir()
        (tmp_path / f"rank={rank}" / ".hydra" / "config.yaml").write_text("rank: 1")
        (tmp_path / f"rank={rank}" / ".hydra" / "overrides.yaml").write_text(f"- rank={rank}")
    assert reading.read([tmp_path]).commands == ("python train.py -m rank=1,2 'name=a b'",)
    # Also of a folder of the sweep alone.
    assert reading.read([tmp_path / "rank=1"]).commands == ("python train.py -m rank=1,2 'name=a b'",)


def test_files_that_cannot_be_read_are_lines(tmp_path: Path) -> None:
    finished(tmp_path / "good")
    for name, content in (("cut", b'{"status": "comp'), ("other", b'{"status": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_bytes(content)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "run-x.wandb").write_bytes(b"nothing of W&B")
    (tmp_path / "good" / HISTORY).write_bytes(b"\xff\xfe")
    found = reading.read([tmp_path])
    assert [record_.name for record_ in found.records] == ["good"]
    problems = list(found.problems)
    list(reading.with_curves(found.records, problems))
    for name in ("cut", "other", "run-x.wandb", f"good: {HISTORY}"):
        assert sum(name in problem for problem in problems) == 1, name
    assert all(problem.isprintable() for problem in problems)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none\."):
        reading.read([tmp_path / "none"])
