"""What a W&B server keeps of runs, workspaces and reports, and its answers to GraphQL requests about them."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ENTITY = "somebody"


@dataclass
class Delivered:
    """What the server knows of a run; ``config`` and ``summary`` as the client sent them, parsed."""

    entity: str
    project: str
    id: str
    name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    state: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False
    lines: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows that were logged, in order."""
        return self.rows("wandb-history.jsonl")

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """Rows of any stream of JSON lines."""
        return [json.loads(line) for _, line in sorted(self.lines.get(stream, {}).items())]


class Store:
    """Runs, views and projects.

    Args:
        url: Address that files are to be sent to.

    Attributes:
        runs: Runs by id.
        views: Workspaces and reports by id: the variables of the request that made them, ``spec`` parsed.
        projects: Entities and names of the projects that exist.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.runs: dict[str, Delivered] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.projects: dict[tuple[str, str], str] = {}


def _identifier(*parts: str) -> str:
    return base64.b64encode(":".join(parts).encode()).decode()


def _user(*_: Any) -> dict[str, Any]:
    return {
        "viewer": {
            "id": _identifier("User", ENTITY),
            "name": ENTITY,
            "username": ENTITY,
            "email": "somebody@localhost",
            "admin": False,
            "flags": "{}",
            "entity": ENTITY,
            "deletedAt": None,
            "apiKeys": {"edges": []},
            "teams": {"edges": [{"node": {"name": ENTITY}}]},
        }
    }


def _features(*_: Any) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


def _project(store: Store, entity: str | None, name: str | None) -> dict[str, Any]:
    entity, name = entity or ENTITY, name or "uncategorized"
    identifier = store.projects.setdefault((entity, name), _identifier("Project", name, entity))
    return {
        "__typename": "Project",
        "id": identifier,
        "internalId": identifier,
        "name": name,
        "entityName": entity,
        "entity": {"id": _identifier("Entity", entity), "name": entity},
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "description": "",
        "access": "PRIVATE",
        "views": "{}",
        "user": _user()["viewer"],
    }


def _upsert_bucket(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(store, given.get("entity"), given.get("project"))
    known = [run for run in store.runs.values() if _identifier("Run", run.id) == given.get("id")]
    identifier = known[0].id if known else given["name"]
    inserted = identifier not in store.runs
    run = store.runs.setdefault(identifier, Delivered(project["entityName"], project["name"], identifier))
    names = {"displayName": "name", "groupName": "group", "jobType": "job_type", "notes": "notes", "state": "state"}
    for theirs, ours in names.items():
        if given.get(theirs) is not None:
            setattr(run, ours, given[theirs])
    if given.get("tags") is not None:
        run.tags = list(given["tags"])
    if given.get("config") is not None:
        run.config = {
            name: item["value"] if isinstance(item, dict) and "value" in item else item
            for name, item in json.loads(given["config"]).items()
        }
    if given.get("summaryMetrics") is not None:
        run.summary = json.loads(given["summaryMetrics"])
    bucket = {
        "id": _identifier("Run", run.id),
        "name": run.id,
        "displayName": run.name or run.id,
        "description": None,
        "config": given.get("config") or "{}",
        "sweepName": None,
        "project": project,
        "historyLineCount": len(run.history),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def _resume_status(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(store, given.get("entity"), given.get("project"))
    run = store.runs.get(given["name"])
    bucket = run and {
        "id": _identifier("Run", run.id),
        "name": run.id,
        "displayName": run.name,
        "summaryMetrics": json.dumps(run.summary),
        "config": json.dumps({name: {"value": value} for name, value in run.config.items()}),
        "logLineCount": len(run.lines.get("output.log", {})),
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.lines.get("wandb-events.jsonl", {})),
        "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
        "eventsTail": "[]",
        "tags": run.tags,
        "notes": run.notes,
        "wandbConfig": json.dumps({"t": 1}),
    }
    return {"model": {**project, "bucket": bucket}}


def _create_run_files(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    place = f"{store.url}/storage/{quote(given['run'])}/"
    files = [{"name": name, "uploadUrl": place + quote(name)} for name in given["files"]]
    return {"createRunFiles": {"runID": _identifier("Run", given["run"]), "uploadHeaders": [], "files": files}}


def _run_state(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    run = store.runs.get(given["run"])
    return {"project": {"run": run and {"id": _identifier("Run", run.id), "state": run.state or "running"}}}


def _run_info(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    run = store.runs.get(given["run"])
    return {"project": {"run": run and {"displayName": run.name, "summaryMetrics": json.dumps(run.summary)}}}


def _projects(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    own = [_project(store, *key) for key in list(store.projects) if key[0] == given.get("entity")]
    pages = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"models": {"pageInfo": pages, "edges": [{"node": node} for node in own]}}


def _one_project(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    key = (given.get("entity") or given.get("entityName") or ENTITY, given.get("name") or given.get("projectName"))
    return {"project": _project(store, *key) if key in store.projects else None}


def _create_project(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    wanted = given.get("input", given)
    project = _project(store, wanted.get("entityName"), wanted.get("name"))
    return {"result": {"project": project, "model": project, "inserted": True}}


def _upsert_view(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(store, given.get("entityName"), given.get("projectName"))
    identifier = given.get("id") or _identifier("View", given["name"])
    inserted = identifier not in store.views
    store.views[identifier] = {**store.views.get(identifier, {}), **given, "spec": json.loads(given["spec"])}
    return {"upsertView": {"view": _view(store, identifier) | {"project": project}, "inserted": inserted}}


def _view(store: Store, identifier: str) -> dict[str, Any]:
    kept = store.views[identifier]
    return {
        "id": identifier,
        "type": kept["type"],
        "name": kept["name"],
        "displayName": kept["displayName"],
        "description": kept.get("description") or "",
        "spec": json.dumps(kept["spec"]),
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }


def _project_views(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    entity = given.get("entityName") or given.get("entity") or ENTITY
    project = given.get("name") or given.get("projectName") or given.get("project")
    if (entity, project) not in store.projects:
        return {"project": None}
    found = [
        _view(store, identifier)
        for identifier, kept in store.views.items()
        if (kept.get("entityName") or ENTITY, kept.get("projectName")) == (entity, project)
        and given.get("viewName") in (None, kept["name"])
        and given.get("viewType") in (None, kept["type"])
    ]
    pages = {"endCursor": None, "hasNextPage": False}
    return {"project": {"allViews": {"edges": [{"node": node, "cursor": "0"} for node in found], "pageInfo": pages}}}


def _one_view(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    identifier = given["reportId"]
    if identifier not in store.views:
        return {"view": None}
    kept = store.views[identifier]
    return {"view": _view(store, identifier) | {"project": _project(store, kept["entityName"], kept["projectName"])}}


def _create_artifact(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    # The client uploads nothing of an artifact that is already there.
    identifier = _identifier("Artifact", str(given["input"].get("digest")))
    sequence = {"id": "sequence", "latestArtifact": {"id": identifier, "versionIndex": 0}}
    return {"createArtifact": {"artifact": {"id": identifier, "state": "COMMITTED", "artifactSequence": sequence}}}


ANSWERS: dict[str, Callable[[Store, dict[str, Any]], dict[str, Any]]] = {
    "Viewer": _user,
    "GetViewer": _user,
    "GetDefaultEntity": _user,
    "ServerFeaturesQuery": _features,
    "UpsertBucket": _upsert_bucket,
    "RunResumeStatus": _resume_status,
    "CreateRunFiles": _create_run_files,
    "RunState": _run_state,
    "QueryRunInfo": _run_info,
    "GetProjects": _projects,
    "GetProject": _one_project,
    "ProjectInternalId": _one_project,
    "CreateProject": _create_project,
    "UpsertView2": _upsert_view,
    "upsertView": _upsert_view,
    "View": _project_views,
    "ProjectViews": _project_views,
    "SpecificReport": _one_view,
    "CreateArtifact": _create_artifact,
    "XXHashDigestsEnabled": lambda *_: {"entity": {"xxhashDigestsEnabled": False}},
    "OrganizationCoreWeaveOrganizationID": lambda *_: {"entity": {"organization": None}},
    "StopRun": lambda *_: {"stopRun": {"success": True}},
    "UseArtifact": lambda *_: {"useArtifact": {"artifact": {"id": "artifact"}}},
    "MarkRunFilesUploaded": lambda *_: {"markRunFilesUploaded": {"success": True}},
}
