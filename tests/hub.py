"""A Hugging Face Hub on this machine, as far as sharing a model needs one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """Repositories, each a list of commits (message, files), and what was asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        #: The only token that may write; None: everybody may.
        self.token: str | None = None
        self.url = ""

    def files(self, repo_id: str, revision: str) -> dict[str, bytes] | None:
        """Of a branch or commit; None where there is none."""
        for sha, (_, files) in zip(self.shas(repo_id), self.repositories[repo_id], strict=True):
            if revision == sha:
                return files
        return self.repositories[repo_id][-1][1] if revision == "main" else None

    def shas(self, repo_id: str) -> list[str]:
        """One a commit, of 40 digits."""
        commits = self.repositories[repo_id]
        return [hashlib.sha1(f"{repo_id} {number}".encode()).hexdigest() for number in range(len(commits))]


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub in a thread, for the time of a `with` block."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.headers.get("Content-Length"):
                body = self.chunks()
            state.asked.append(f"POST {self.path}")
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                self.answer(401, {"error": "Invalid username or password."})
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                repo_id = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
                exists = repo_id in state.repositories
                state.repositories.setdefault(repo_id, [("initial", {})])
                if not exists and (asked.get("private") or asked.get("visibility") == "private"):
                    state.private.add(repo_id)
                self.answer(409 if exists else 200, {"url": f"{state.url}/{repo_id}"})
            elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
                regular = {"uploadMode": "regular", "shouldIgnore": False}
                files = [{"path": file["path"], **regular} for file in json.loads(body)["files"]]
                self.answer(200, {"files": files})
            elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
                lines = [json.loads(line) for line in body.splitlines()]
                files = dict(state.repositories[found[1]][-1][1])
                for line in lines[1:]:
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                state.repositories[found[1]].append((lines[0]["value"]["summary"], files))
                sha = state.shas(found[1])[-1]
                self.answer(200, {"commitUrl": f"{state.url}/{found[1]}/commit/{sha}", "commitOid": sha})
            else:
                self.answer(404, {"error": "not here"})

        def do_GET(self) -> None:
            state.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/(.+?)(?:/(revision|tree)/([^/]+))?", path):
                repo_id, what, revision = found[1], found[2], found[3] or "main"
                if (files := self.known(repo_id, revision)) is None:
                    return
                sha = state.shas(repo_id)[-1] if revision == "main" else revision
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": etag(data)} for name, data in files.items()
                ]
                siblings = [{"rfilename": name} for name in files]
                self.answer(200, tree if what == "tree" else {"id": repo_id, "sha": sha, "siblings": siblings})
            elif found := re.fullmatch(r"/(.+)/resolve/([^/]+)/([^/]+)", path):
                if (files := self.known(found[1], found[2])) is None:
                    return
                data = files[found[3]]
                self.send_response(200)
                self.send_header("ETag", f'"{etag(data)}"')
                self.send_header("X-Repo-Commit", found[2])
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)
            else:
                self.answer(404, {"error": "not here"})

        do_HEAD = do_GET

        def known(self, repo_id: str, revision: str) -> dict[str, bytes] | None:
            files = state.files(repo_id, revision) if repo_id in state.repositories else None
            if repo_id not in state.repositories:
                self.answer(404, {"error": "Repository not found"}, code="RepoNotFound")
            elif files is None:
                self.answer(404, {"error": "Invalid rev id"}, code="RevisionNotFound")
            return files

        def chunks(self) -> bytes:
            """The body of a request that was sent in chunks."""
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def answer(self, status: int, content: object, code: str | None = None) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(data: bytes) -> str:
    """What tells a file's content."""
    return hashlib.sha1(data).hexdigest()
