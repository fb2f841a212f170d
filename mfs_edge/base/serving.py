"""A folder, served to this machine's browsers and to nobody else."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mfs_edge.base.errors import UsageError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
# What browsers run only under its right name; the system's own table may know it by another, or not at all.
TYPES = {
    ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
    ".mjs": "text/javascript", ".svg": "image/svg+xml", ".wasm": "application/wasm",
}  # fmt: skip
Receive = Callable[[str, bytes], None]  # path, body


class Server(ThreadingHTTPServer):
    """Serves ``folder`` on a port of the loopback interface.

    Args:
        folder: what is served; only files, and ``index.html`` for a folder.
        port: 0 takes a free one.
        headers: sent with every answer.
        receive: gets what a page posts; without it, nothing may be posted.

    Raises:
        UsageError: the port is taken, or cannot be one.
    """

    daemon_threads = True

    def __init__(
        self, folder: Path, *, port: int = 0, headers: Mapping[str, str] | None = None, receive: Receive | None = None
    ) -> None:
        self.sent, self.receive = dict(headers or {}), receive
        try:
            super().__init__((HOST, port), functools.partial(Handler, directory=str(folder)))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(
                f"port {port}: cannot be served on ({why}); name another, or 0 for any that is free"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Serves meanwhile, in a thread."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that closes a connection in the middle is no news."""


class Handler(SimpleHTTPRequestHandler):
    """GET a file, POST what the server receives."""

    server: Server
    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012 (as its base declares it)

    def parse_request(self) -> bool:
        """Only under our own names: a page from elsewhere may let its name point here, to read what is served."""
        if not super().parse_request():
            return False
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host in NAMES:
            return True
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def end_headers(self) -> None:
        """Browsers ask again each time whether a file has changed, since the next run may write others."""
        for name, value in {
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            **self.server.sent,
        }.items():
            self.send_header(name, value)
        super().end_headers()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.server.receive is None or not length.isdecimal():
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        self.server.receive(self.path, self.rfile.read(int(length)))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def list_directory(self, path: Any) -> None:
        """No listings: what has no page is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request is no news."""
