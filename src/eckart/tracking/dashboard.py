"""``eckart dashboard``: makes or updates a project's W&B workspace and report, or writes them to files."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import wandb

from eckart.config import settings_of
from eckart.errors import one_line
from eckart.results.atomic import replacing
from eckart.results.terminal import shown
from eckart.tracking.reach import obstacle

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

WORKSPACE, REPORT = "workspace.json", "report.json"
_EXTRA = 'wandb-workspaces comes with the extra wandb: pip install -e ".[wandb]"'


class Dashboard(NamedTuple):
    """The workspace of a project, and the report of the same panels."""

    workspace: "Workspace"
    report: "Report"


def main(program: str, arguments: Sequence[str]) -> None:
    """Send the dashboard that a command line asks for to W&B; without a network or an account, write it to files.

    Args:
        program: What the user typed before the arguments, for the help.
        arguments: Options.
    """
    project = settings_of("logger", "wandb").wandb.project
    parser = argparse.ArgumentParser(
        prog=program,
        description="Make or update the W&B workspace of a project, and a report of the same: errors against rank with "
        "the optimum, training, comparison, pictures, runs. When nobody is logged in, it is written to files.",
    )
    parser.add_argument("--project", default=project, help=f"a project of W&B; {project} unless given")
    parser.add_argument("--entity", help="user or team that owns it; that of the account unless given")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="FOLDER", help="write it to files there, and send nothing")
    where.add_argument("--from", type=Path, metavar="FOLDER", dest="source", help="send what --out wrote there")
    asked = parser.parse_args(arguments)
    try:
        _make(asked)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wandb_workspaces":
            raise
        sys.exit(_EXTRA)
    except Exception as error:
        sys.exit(one_line(error))


def offline() -> str | None:
    """Why nothing can be sent to W&B; None if it can. It never asks for an account."""
    settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
    if settings.mode not in ("online", "shared"):
        return f"W&B is {settings.mode} (WANDB_MODE)"
    try:
        if not wandb.login(prompt=False, verify=False):
            return "nobody is logged in to W&B"
    except wandb.Error as error:
        return f"W&B takes no such key ({one_line(error).removesuffix('.')})"
    # The client itself would wait 10 s, and then speak of its own processes.
    found = obstacle(settings.base_url, settings.api_key)
    return found and f"W&B at {settings.base_url} {found}"


def built(project: str, entity: str) -> Dashboard:
    """The dashboard of a project.

    Args:
        project: The project.
        entity: User or team that owns it; may be empty while it is not sent.
    """
    from eckart.tracking import workspace

    return Dashboard(workspace.workspace(project, entity), workspace.report(project, entity))


def write(dashboard: Dashboard, folder: Path) -> list[Path]:
    """Write ``workspace.json`` and ``report.json``, as W&B's library has them.

    Raises:
        OSError: If the folder cannot be written to.
    """
    paths = []
    for name, part in zip((WORKSPACE, REPORT), dashboard, strict=True):
        with replacing(folder / name) as partial:
            partial.write_text(part._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n")
        paths.append(folder / name)
    return paths


def read(folder: Path) -> Dashboard:
    """Read what :func:`write` wrote, or what somebody made of it.

    Raises:
        OSError: If a file is missing.
        ValueError: If a file does not hold a workspace or a report.
    """
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.reports.v2.internal import ReportViewspec
    from wandb_workspaces.workspaces import Workspace
    from wandb_workspaces.workspaces.internal import View

    view, viewspec = _parsed(View, folder / WORKSPACE), _parsed(ReportViewspec, folder / REPORT)
    report = Report._from_model(viewspec)
    report.width = viewspec.spec.width
    return Dashboard(Workspace._from_model(view), report)


def send(dashboard: Dashboard, project: str, entity: str | None) -> tuple[str, str]:
    """Make the dashboard of a project in W&B, or put it in the place of the one that was sent before.

    Args:
        dashboard: The dashboard.
        project: The project; W&B makes it if there is none.
        entity: User or team that owns it; None for that of the account.

    Returns:
        Addresses of the workspace and of the report.

    Raises:
        ValueError: If the account belongs to no entity.
    """
    from wandb_workspaces.workspaces.internal import _internal_name_to_url_query_str, get_view_dict

    from eckart.tracking.workspace import view_name

    api = wandb.Api()
    entity = entity or api.default_entity
    if not entity:
        raise ValueError("The account must belong to an entity, or --entity must name one. Found none.")
    workspace, report = dashboard
    for part in dashboard:
        part.entity, part.project = entity, project
    try:
        report.id = next((known.id for known in api.reports(f"{entity}/{project}") if _is(known, report)), "")
    except ValueError:
        # There is no such project yet. The report makes it.
        report.id = ""
    report.save()
    workspace._internal_name = view_name(project, entity)
    try:
        known = get_view_dict(entity, project, _internal_name_to_url_query_str(workspace._internal_name))
        workspace._internal_id = known["id"]
    except ValueError:
        workspace._internal_id = ""
    workspace.save()
    return str(workspace.url), str(report.url)


def _make(asked: argparse.Namespace) -> None:
    dashboard = read(asked.source) if asked.source else built(asked.project, asked.entity or "")
    reason = f"--out {shown(asked.out)}" if asked.out else offline()
    if reason is None:
        for name, url in zip(("workspace", "report"), send(dashboard, asked.project, asked.entity), strict=True):
            print(f"{name:<9}  {url}")
        return
    if asked.source:
        sys.exit(f"Nothing was sent: {reason}.")
    folder = asked.out or Path("dashboard")
    print("  ".join(shown(path) for path in write(dashboard, folder)))
    entity = ["--entity", asked.entity] if asked.entity else []
    command = ["eckart", "dashboard", "--project", asked.project, *entity, "--from", shown(folder)]
    print(f"not sent: {reason}; to send it, after wandb login: {shlex.join(command)}")


def _is(known: Any, report: "Report") -> bool:
    return bool(known.display_name == report.title)


def _parsed(kind: Any, path: Path) -> Any:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        law = f"{path} must hold what eckart dashboard --out has written"
        raise ValueError(f"{law}. Found {str(error).splitlines()[0]}.") from error
