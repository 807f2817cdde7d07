"""A W&B server on this machine: it takes what the client sends, and keeps it for tests to look at.

It speaks the calls that client 0.31 makes for online runs, ``wandb sync``, uploads of files, workspaces and reports,
as its Go process and its Python package spell them. It checks no key.
"""

import gzip
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from wandb_store import ANSWERS, ENTITY, Delivered, Store

__all__ = ["ENTITY", "KEY", "Delivered", "WandbServer"]

KEY = "0123456789" * 4


class WandbServer(Store):
    """The server; use it as a context. ``environment`` holds the variables that lead a client to it.

    Attributes:
        operations: GraphQL requests in order: name and variables.
        unknown: What was asked for that the server does not know: names of operations, and methods with paths.
    """

    def __init__(self) -> None:
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.unknown: list[str] = []
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"keeper": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        super().__init__(f"http://127.0.0.1:{self._http.server_address[1]}")
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
            answer = ANSWERS.get(name)
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
