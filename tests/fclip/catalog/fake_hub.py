"""A small HTTP server that speaks enough of the hub's API for huggingface_hub itself to look up and download.

Answered: `/api/datasets/<repo>[/revision/<commit>]` (with file metadata), `/api/datasets/<repo>/tree/<commit>` and
`/datasets/<repo>/resolve/<commit>/<file>`, as huggingface.co/docs/hub/api says. Every request is kept.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]


@dataclass
class FakeHub:
    """One dataset's commits, oldest first; the newest is `main`."""

    repo: str
    commits: dict[str, Files] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""

    def commit(self, files: Files) -> str:
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = dict(files)
        return sha

    @property
    def downloads(self) -> list[str]:
        """Names of the files whose content was sent since the last look."""
        sent = [line.rpartition("/")[2] for line in self.requests if line.startswith("GET") and "/resolve/" in line]
        self.requests.clear()
        return sorted(sent)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        api, resolve = f"/api/datasets/{self.repo}", f"/datasets/{self.repo}/resolve/"
        if path == api or path.startswith(f"{api}/revision/"):
            sha = path.removeprefix(f"{api}/revision/") if path != api else list(self.commits)[-1]
            return self._json(sha, lambda files: self._info(sha, files))
        if path.startswith(f"{api}/tree/"):
            sha = path.removeprefix(f"{api}/tree/")
            return self._json(sha, lambda files: [_entry(name, content) for name, content in files.items()])
        if path.startswith(resolve):
            sha, _, name = path.removeprefix(resolve).partition("/")
            content = self.commits.get(sha, {}).get(name)
            if content is not None:
                digest = hashlib.sha256(content).hexdigest()
                size = str(len(content))
                return 200, {"ETag": f'"{digest}"', "X-Repo-Commit": sha, "X-Linked-Size": size}, content
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return 404, {"X-Error-Code": "RepoNotFound"}, b""

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
    if name.endswith(".parquet"):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer for `hub` on a free local port, for as long as this lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            code, headers, body = hub.answer(path)
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
