"""The W&B workspace of a project: what is sent, what is written instead, and that its panels show what runs log."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import Ended, Train
from wandb_records import WandbRun, read_run
from wandb_server import ENTITY, KEY, WandbServer

from eckart import cli

pytestmark = pytest.mark.wandb

Dashboard = Callable[..., Ended]
Named = dict[str, set[str]]
SECTIONS = ["Errors", "Training", "Compare", "Pictures", "Runs"]


@pytest.fixture
def dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Dashboard:
    """Run ``eckart dashboard`` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["eckart", "dashboard", *arguments])
        capfd.readouterr()
        status: str | int | None = None
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code
        stdout, stderr = capfd.readouterr()
        if isinstance(status, str):
            return Ended(1, stdout, f"{stderr}{status}\n", [])
        return Ended(status or 0, stdout, stderr, [])

    return run


def parts(document: Any, key: str) -> Iterator[dict[str, Any]]:
    """All dictionaries of a document that have a key."""
    if isinstance(document, dict):
        if key in document:
            yield document
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from parts(part, key)


def named(document: Any) -> Named:
    """What the panels, columns and groups of a workspace or a report refer to: settings, summaries, logged metrics."""
    found: Named = {"config": set(), "summary": set(), "history": set()}

    def refer(text: str | None) -> None:
        if text is not None:
            kind, colon, name = text.partition(":")
            # W&B keeps a setting under the first part of its name, then "value".
            found[kind if colon else "history"].add(name.replace(".value", "", 1) if kind == "config" else text)
            if colon and kind != "config":
                found[kind].discard(text)
                found[kind].add(name)

    for panel in parts(document, "viewType"):
        config = panel["config"]
        for axis in ("xAxis", "yAxis", "zAxis"):
            refer(config.get(axis))
        for name in config.get("metrics", []) + config.get("mediaKeys", []):
            refer(name)
        for column in config.get("columns", []):
            refer(column["accessor"])
        if "groupBy" in config:
            refer(f"config:{config['groupBy']}")
    for feed in parts(document, "columnOrder"):
        for column in feed["columnOrder"]:
            if not column.startswith("run:"):
                refer(column)
    for runs in parts(document, "grouping"):
        for key in runs["grouping"]:
            refer(f"{key['section']}:{key['name']}")
    return found


def logged(run: WandbRun) -> Named:
    """What the record of a run has: settings under dotted names, its summary, and what its rows hold."""
    rows = {name for row in run.history for name in row}
    pictures = {name.rsplit("/", 1)[0] for name in rows if name.endswith("/_type")}
    return {"config": set(dotted(run.config)), "summary": set(run.summary), "history": rows | pictures}


def dotted(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


def missing(wanted: Named, runs: list[WandbRun]) -> set[tuple[str, str]]:
    """Names that no run has logged."""
    found = [logged(run) for run in runs]
    return {(kind, name) for kind in wanted for name in wanted[kind] if not any(name in run[kind] for run in found)}


@pytest.fixture
def runs(train: Train, tmp_path: Path) -> list[WandbRun]:
    """The offline records of three small runs: of all entries, of observed ones in a sweep, and of labeled samples."""
    small = ("data=low_rank", "data.rows=9", "data.cols=8", "data.rank=2", "rank=2", "method.max_steps=20")
    for arguments in (
        ("method=factorization", *small),
        # Enough entries for some to be withheld.
        ("-m", "method=completion", *small, "data.observed=0.8"),
        ("method=classifier", "data=digits", "rank=2", "method.epochs=1", "method.hidden=[4]"),
    ):
        ended = train(*arguments)
        assert ended.code == 0, ended.stderr
    return [read_run(path) for path in sorted(tmp_path.rglob("run-*.wandb"))]


def test_panels_name_what_runs_log(runs: list[WandbRun], dashboard: Dashboard) -> None:
    assert dashboard("--out", "board").code == 0
    for file in ("workspace.json", "report.json"):
        document = json.loads(Path("board", file).read_text(encoding="utf-8"))
        wanted = named(document)
        assert all(wanted.values())
        assert missing(wanted, runs) == set()
        pictures = {name for run in runs for name in logged(run)["history"] if name.startswith("figures/")}
        assert {name for name in pictures if name.count("/") == 1} <= wanted["history"]
        # A curve needs both of its coordinates in one row.
        for panel in parts(document, "viewType"):
            config = panel["config"]
            for name in config.get("metrics", []):
                assert any({config["xAxis"], name} <= set(row) for run in runs for row in run.history), (name, config)
        # What a run no longer logged would be noticed.
        for kind, names in wanted.items():
            for name in names:
                assert (kind, name) in missing(wanted, [without(run, kind, name) for run in runs]), name


def without(run: WandbRun, kind: str, name: str) -> WandbRun:
    """The record without one name."""
    if kind == "config":
        first, _, rest = name.partition(".")
        config = {key: value for key, value in run.config.items() if key != first}
        if rest:
            config[first] = {key: value for key, value in run.config[first].items() if key != rest}
        return run._replace(config=config)
    if kind == "summary":
        return run._replace(summary={key: value for key, value in run.summary.items() if key != name})
    rows = [
        {key: value for key, value in row.items() if key != name and not key.startswith(f"{name}/")}
        for row in run.history
    ]
    return run._replace(history=rows)


def test_without_an_account_it_is_written_and_says_how_to_send_it(dashboard: Dashboard) -> None:
    ended = dashboard("--project", "ours", "--entity", "a team")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "dashboard/workspace.json  dashboard/report.json",
        "not sent: W&B is offline (WANDB_MODE); to send it, after wandb login: "
        "eckart dashboard --project ours --entity 'a team' --from dashboard",
    ]
    view = json.loads(Path("dashboard", "workspace.json").read_text(encoding="utf-8"))
    assert (view["project"], view["entity"]) == ("ours", "a team")
    assert [section["name"] for section in next(parts(view, "sections"))["sections"]] == SECTIONS
    again = dashboard("--project", "ours", "--from", "dashboard")
    assert (again.code, again.line) == (1, "Nothing was sent: W&B is offline (WANDB_MODE).")


@pytest.mark.parametrize(
    ("content", "found"), [("", "1 validation error"), ("[]", "1 validation error"), ('{"entity": 1}', "6 validation")]
)
def test_a_foreign_file_is_refused_in_one_line(dashboard: Dashboard, content: str, found: str) -> None:
    Path("board").mkdir()
    Path("board", "workspace.json").write_text(content, encoding="utf-8")
    ended = dashboard("--from", "board")
    assert ended.code == 1
    assert ended.line.startswith("board/workspace.json must hold what eckart dashboard --out has written. Found ")
    assert found in ended.line


def test_the_missing_extra_is_named(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb_workspaces"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    ended = dashboard()
    assert (ended.code, ended.line) == (1, 'wandb-workspaces comes with the extra wandb: pip install -e ".[wandb]"')


def test_the_workspace_and_the_report_are_delivered_once(dashboard: Dashboard, wandb_server: WandbServer) -> None:
    first = dashboard("--project", "ours")
    assert (first.code, first.stderr) == (0, "")
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["workspace", "report"]
    assert all(f"{ENTITY}/ours" in line for line in first.stdout.splitlines())
    sent = {view["type"]: view for view in wandb_server.views.values()}
    assert set(sent) == {"project-view", "runs"}
    sections = sent["project-view"]["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == SECTIONS
    grids = [block for block in sent["runs"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(SECTIONS)
    # What somebody has changed in the app is put back, in the same view.
    for view in sent.values():
        view["spec"] |= {"changed": True}
    again = dashboard("--project", "ours")
    assert (again.code, again.stdout) == (0, first.stdout)
    assert {view["type"]: view["spec"] for view in wandb_server.views.values()} == {
        kind: {key: value for key, value in view["spec"].items() if key != "changed"} for kind, view in sent.items()
    }
    known = [variables.get("id") for variables in wandb_server.asked("UpsertView2")]
    assert known == [None, *(key for key, view in wandb_server.views.items() if view["type"] == "project-view")]
    assert wandb_server.unknown == []


def test_files_are_sent_later(dashboard: Dashboard, wandb_server: WandbServer) -> None:
    assert dashboard("--project", "ours", "--out", "board").code == 0
    assert wandb_server.operations == []
    direct = dashboard("--project", "ours", "--entity", "team")
    first = {view["type"]: view["spec"] for view in wandb_server.views.values()}
    wandb_server.views.clear()
    sent = dashboard("--project", "ours", "--entity", "team", "--from", "board")
    assert (sent.code, sent.stdout.splitlines()[0]) == (0, direct.stdout.splitlines()[0])
    assert {view["type"]: view["spec"] for view in wandb_server.views.values()} == first


@pytest.mark.parametrize("key", ["", KEY])
def test_it_never_asks(tmp_path: Path, key: str) -> None:
    ours, theirs = pty.openpty()
    # Nothing listens there.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")} | {
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_MODE": "online",
        "HOME": str(tmp_path),
    }
    if key:
        environment["WANDB_API_KEY"] = key
    command = [sys.executable, "-c", "from eckart.cli import main; main()", "dashboard"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=theirs, capture_output=True, text=True, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (0, "")
    why = "W&B at http://127.0.0.1:9 does not answer" if key else "nobody is logged in to W&B"
    assert ended.stdout.splitlines() == [
        "dashboard/workspace.json  dashboard/report.json",
        f"not sent: {why}; to send it, after wandb login: eckart dashboard --project eckart --from dashboard",
    ]
