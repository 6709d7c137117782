"""A small HTTP server with the part of the hub API that huggingface_hub uses to look up and download files.

It answers `/api/datasets/<repo>[/revision/<commit>]` (with file metadata), `/api/datasets/<repo>/tree/<commit>` and
`/datasets/<repo>/resolve/<commit>/<file>`, as in huggingface.co/docs/hub/api; for a model, `/api/models/…` and
`/<repo>/resolve/…`. It records every request. huggingface_hub reads HF_ENDPOINT at import, so clients run in a
separate process (`ask`).
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from tests.conftest import REPOSITORY

Files = Mapping[str, bytes]
NOWHERE = "http://127.0.0.1:9"  # no server listens on this port
IN_LARGE_FILE_STORAGE = (".parquet", ".safetensors", ".bin")


@dataclass
class FakeHub:
    """The commits of one repository, oldest first. The newest commit is `main`."""

    repo: str
    kind: Literal["datasets", "models"] = "datasets"
    commits: dict[str, Files] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""

    def commit(self, files: Files) -> str:
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = dict(files)
        return sha

    @property
    def downloads(self) -> list[str]:
        """Names of the files that were downloaded since the last call."""
        sent = [line.rpartition("/")[2] for line in self.requests if line.startswith("GET") and "/resolve/" in line]
        self.requests.clear()
        return sorted(sent)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes] | None:
        """Return status code, headers and body; None for a path of another repository."""
        api = f"/api/{self.kind}/{self.repo}"
        resolve = f"/{self.repo}/resolve/" if self.kind == "models" else f"/{self.kind}/{self.repo}/resolve/"
        if path == api or path.startswith(f"{api}/revision/"):
            sha = self._sha(path.removeprefix(f"{api}/revision/") if path != api else "main")
            return self._json(sha, lambda files: self._info(sha, files))
        if path.startswith(f"{api}/tree/"):
            sha, _, folder = path.removeprefix(f"{api}/tree/").partition("/")
            if folder:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""  # listing a folder is not supported
            return self._json(self._sha(sha), lambda files: [_entry(name, file) for name, file in files.items()])
        if path.startswith(resolve):
            sha, _, name = path.removeprefix(resolve).partition("/")
            sha = self._sha(sha)
            content = self.commits.get(sha, {}).get(name)
            if content is not None:
                digest = hashlib.sha256(content).hexdigest()
                size = str(len(content))
                return 200, {"ETag": f'"{digest}"', "X-Repo-Commit": sha, "X-Linked-Size": size}, content
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return None

    def _sha(self, revision: str) -> str:
        return list(self.commits)[-1] if revision == "main" else revision

    def _json(self, sha: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        if sha not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        return 200, {"Content-Type": "application/json"}, json.dumps(body(self.commits[sha])).encode()

    def _info(self, sha: str, files: Files) -> dict[str, Any]:
        siblings = []
        for name, content in files.items():
            entry = _entry(name, content)
            sibling = {"rfilename": name, "size": entry["size"], "blobId": entry["oid"]}
            if "lfs" in entry:
                lfs = entry["lfs"]
                sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
            siblings.append(sibling)
        return {"_id": "0", "id": self.repo, "sha": sha, "private": False, "tags": [], "siblings": siblings}


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }
    if name.endswith(IN_LARGE_FILE_STORAGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def serve(hub: FakeHub, *others: FakeHub) -> Iterator[FakeHub]:
    """Serve `hub` and `others` on a free local port while the block runs. `hub` records all requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            answers = (one.answer(path) for one in (hub, *others))
            unknown = 404, {"X-Error-Code": "RepoNotFound"}, b""
            code, headers, body = next((answer for answer in answers if answer is not None), unknown)
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def ask(module: str, arguments: list[str], *, endpoint: str, home: Path) -> Any:
    """Run `python -m module` with the hub at `endpoint` and its cache in `home`; return the JSON that it prints."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
