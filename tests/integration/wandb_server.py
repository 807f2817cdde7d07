"""A W&B server on this machine: it takes what the client sends, and keeps it for tests to look at.

It speaks the calls that client 0.31 makes for online runs, ``wandb sync``, uploads of files, workspaces and reports,
as its Go process and its Python package spell them. It checks no key.
"""

import base64
import gzip
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

ENTITY = "somebody"
KEY = "0123456789" * 4


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


class WandbServer:
    """The server; use it as a context. ``environment`` holds the variables that lead a client to it.

    Attributes:
        runs: Runs by id.
        views: Workspaces and reports by id: the variables of the request that made them, ``spec`` parsed.
        operations: GraphQL requests in order: name and variables.
        unknown: What was asked for that the server does not know: names of operations, and methods with paths.
        projects: Entities and names of the projects that exist.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Delivered] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.unknown: list[str] = []
        self.projects: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"keeper": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.environment = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def run(self) -> Delivered:
        """The only run that there is."""
        (run,) = self.runs.values()
        return run

    def asked(self, name: str) -> list[dict[str, Any]]:
        """Variables of each request of a name."""
        return [variables for operation, variables in self.operations if operation == name]

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a request; one that is not known gets empty data."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else query[:80]
        with self._lock:
            self.operations.append((name, variables))
            answer = _ANSWERS.get(name)
            if answer is None:
                self.unknown.append(name)
                return {"data": {}}
            return {"data": answer(self, variables)}

    def stream(self, run: Delivered, request: dict[str, Any]) -> None:
        """Take a piece of a run's streams."""
        with self._lock:
            for name, piece in request.get("files", {}).items():
                lines = run.lines.setdefault(name, {})
                lines.update(enumerate(piece["content"], piece.get("offset", 0)))
                if name == "wandb-summary.json":
                    run.summary = json.loads(piece["content"][-1])
            if request.get("complete"):
                run.complete, run.exit_code = True, request.get("exitcode")

    def upload(self, run: Delivered, name: str, content: bytes) -> None:
        """Take a file."""
        with self._lock:
            run.files[name] = content


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


def _project(server: WandbServer, entity: str | None, name: str | None) -> dict[str, Any]:
    entity, name = entity or ENTITY, name or "uncategorized"
    identifier = server.projects.setdefault((entity, name), _identifier("Project", name, entity))
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


def _upsert_bucket(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(server, given.get("entity"), given.get("project"))
    known = [run for run in server.runs.values() if _identifier("Run", run.id) == given.get("id")]
    identifier = known[0].id if known else given["name"]
    inserted = identifier not in server.runs
    run = server.runs.setdefault(identifier, Delivered(project["entityName"], project["name"], identifier))
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


def _resume_status(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(server, given.get("entity"), given.get("project"))
    run = server.runs.get(given["name"])
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


def _create_run_files(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    place = f"{server.url}/storage/{quote(given['run'])}/"
    files = [{"name": name, "uploadUrl": place + quote(name)} for name in given["files"]]
    return {"createRunFiles": {"runID": _identifier("Run", given["run"]), "uploadHeaders": [], "files": files}}


def _run_state(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    run = server.runs.get(given["run"])
    return {"project": {"run": run and {"id": _identifier("Run", run.id), "state": run.state or "running"}}}


def _run_info(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    run = server.runs.get(given["run"])
    return {"project": {"run": run and {"displayName": run.name, "summaryMetrics": json.dumps(run.summary)}}}


def _projects(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    own = [_project(server, *key) for key in list(server.projects) if key[0] == given.get("entity")]
    pages = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"models": {"pageInfo": pages, "edges": [{"node": node} for node in own]}}


def _one_project(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    key = (given.get("entity") or given.get("entityName") or ENTITY, given.get("name") or given.get("projectName"))
    return {"project": _project(server, *key) if key in server.projects else None}


def _create_project(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    wanted = given.get("input", given)
    project = _project(server, wanted.get("entityName"), wanted.get("name"))
    return {"result": {"project": project, "model": project, "inserted": True}}


def _upsert_view(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    project = _project(server, given.get("entityName"), given.get("projectName"))
    identifier = given.get("id") or _identifier("View", given["name"])
    inserted = identifier not in server.views
    server.views[identifier] = {**server.views.get(identifier, {}), **given, "spec": json.loads(given["spec"])}
    return {"upsertView": {"view": _view(server, identifier) | {"project": project}, "inserted": inserted}}


def _view(server: WandbServer, identifier: str) -> dict[str, Any]:
    kept = server.views[identifier]
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


def _project_views(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    entity = given.get("entityName") or given.get("entity") or ENTITY
    project = given.get("name") or given.get("projectName") or given.get("project")
    if (entity, project) not in server.projects:
        return {"project": None}
    found = [
        _view(server, identifier)
        for identifier, kept in server.views.items()
        if (kept.get("entityName") or ENTITY, kept.get("projectName")) == (entity, project)
        and given.get("viewName") in (None, kept["name"])
        and given.get("viewType") in (None, kept["type"])
    ]
    pages = {"endCursor": None, "hasNextPage": False}
    return {"project": {"allViews": {"edges": [{"node": node, "cursor": "0"} for node in found], "pageInfo": pages}}}


def _one_view(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    identifier = given["reportId"]
    if identifier not in server.views:
        return {"view": None}
    kept = server.views[identifier]
    return {"view": _view(server, identifier) | {"project": _project(server, kept["entityName"], kept["projectName"])}}


def _create_artifact(server: WandbServer, given: dict[str, Any]) -> dict[str, Any]:
    # The client uploads nothing of an artifact that is already there.
    identifier = _identifier("Artifact", str(given["input"].get("digest")))
    sequence = {"id": "sequence", "latestArtifact": {"id": identifier, "versionIndex": 0}}
    return {"createArtifact": {"artifact": {"id": identifier, "state": "COMMITTED", "artifactSequence": sequence}}}


_ANSWERS: dict[str, Callable[[WandbServer, dict[str, Any]], dict[str, Any]]] = {
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


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The client's processes end without a word to the connections that they keep open.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    keeper: WandbServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.keeper.unknown.append(f"GET {self.path}")
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        stream = re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", self.path)
        if self.path == "/graphql":
            request = json.loads(body)
            self._answer(self.keeper.graphql(request["query"], request.get("variables") or {}))
        elif stream and (run := self.keeper.runs.get(unquote(stream[3]))):
            self.keeper.stream(run, json.loads(body))
            self._answer({"exitcode": None, "limits": {}})
        elif self.path in ("/sdk/otel/v1/metrics", "/sdk/otel/v1/logs"):
            self._answer({})
        else:
            self.keeper.unknown.append(f"POST {self.path}")
            self._answer({}, 404)

    def do_PUT(self) -> None:
        body = self._body()
        stored = re.fullmatch(r"/storage/([^/]+)/(.+)", self.path)
        if stored and (run := self.keeper.runs.get(unquote(stored[1]))):
            self.keeper.upload(run, unquote(stored[2]), body)
            self._answer({})
        else:
            self.keeper.unknown.append(f"PUT {self.path}")
            self._answer({}, 404)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while length := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(pieces)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
