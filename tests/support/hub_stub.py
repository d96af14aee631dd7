"""A Hugging Face hub of one model, as far as its client asks."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The stub's address and what it was asked."""

    url: str
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    tokens: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Answers:
    """What the stub says."""

    folder: Path
    name: str
    token: str | None
    """None: everybody may read."""
    status: int
    """200, or what everything is answered with."""

    def to(self, path: str, *, given: str) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers for a request with the header Authorization *given*."""
        if self.status != 200:
            return self.status, b"", {}
        if self.token is not None and given != f"Bearer {self.token}":
            return 401, b"", {"X-Error-Code": "RepoNotFound"}
        if path.startswith(f"/api/models/{self.name}"):
            files = [{"rfilename": item.name} for item in sorted(self.folder.iterdir())]
            body = json.dumps({"id": self.name, "modelId": self.name, "sha": SHA, "siblings": files}).encode()
            return 200, body, {"Content-Type": "application/json"}
        if path.startswith(f"/{self.name}/resolve/{SHA}/"):
            body = (self.folder / path.rpartition("/")[2]).read_bytes()
            return 200, body, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": SHA}
        return 404, b"", {"X-Error-Code": "RepoNotFound"}


def _handler(hub: Hub, answers: Answers) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # the base class's spelling
            given = self.headers.get("Authorization", "")
            hub.asked.append(f"{self.command} {self.path}")
            hub.tokens.add(given)
            code, body, headers = answers.to(self.path, given=given)
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Be quiet."""

    return Handler


@contextmanager
def running(folder: Path, *, name: str, token: str | None = None, status: int = 200) -> Iterator[Hub]:
    """Serve the files of *folder* as the model *name*, to holders of *token* (None: to all); *status*: answer everything so."""
    hub = Hub("")
    handler = _handler(hub, Answers(folder, name, token, status))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
