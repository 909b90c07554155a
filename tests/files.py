"""A file server on this machine that misbehaves as asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Files:
    """What the server has and does, and what it was asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        #: One for each request to come: how many bytes to send before the connection breaks; None: all.
        self.breaks: list[int | None] = []
        #: One for each request to come: the status to answer with instead.
        self.statuses: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []
        self.url = ""


@contextmanager
def served(content: bytes) -> Iterator[Files]:
    """A server in a thread, for the time of a `with` block."""
    files = Files(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            files.asked.append(wanted)
            if files.statuses:
                self.send_error(files.statuses.pop(0))
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and files.ranges else 0
            if start >= len(files.content):
                self.send_error(416)
                return
            body = files.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(files.content) - 1}/{len(files.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: files.breaks.pop(0)] if files.breaks else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
