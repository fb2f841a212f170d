"""A folder served on loopback: right types, nothing beside it, and nothing for pages from elsewhere."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.base.serving import HOST, Server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    (made / "inside").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("no")
    for name in ("index.html", "a.wasm", "a.js", "a.css", "a.json", "a.weights", "inside/b.mjs"):
        (made / name).write_bytes(name.encode())
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder, headers={"X-Told": "yes"}).running() as made:
        yield made


def asked(
    server: Server, path: str, *, method: str = "GET", host: str = "", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port)
    connection.request(method, path, body=body, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_files_come_under_the_types_that_browsers_want(server: Server) -> None:
    types = {"/": "text/html", "/a.wasm": "application/wasm", "/a.js": "text/javascript", "/a.css": "text/css"}
    types |= {
        "/a.json": "application/json",
        "/inside/b.mjs": "text/javascript",
        "/a.weights": "application/octet-stream",
    }
    for path, kind in types.items():
        status, headers, body = asked(server, path)
        assert (status, headers["content-type"], headers["x-told"]) == (200, kind, "yes")
        assert headers["cache-control"] == "no-cache"
        assert body == (path.strip("/") or "index.html").encode()


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/inside/", "/missing", "/inside/../../secret.txt"]
)
def test_nothing_else_is_served(server: Server, path: str) -> None:
    assert asked(server, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:1", 200), ("127.0.0.1", 200), ("evil.example", 421), ("evil.example:80", 421)]
)
def test_only_under_its_own_names(server: Server, host: str, status: int) -> None:
    assert asked(server, "/", host=host)[0] == status


def test_posts_are_received_by_who_wants_them(server: Server, folder: Path) -> None:
    assert asked(server, "/x", method="POST", body=b"1")[0] == 405
    heard: list[tuple[str, bytes]] = []
    with Server(folder, receive=lambda path, body: heard.append((path, body))).running() as listening:
        assert asked(listening, "/x/y", method="POST", body=b"hello")[0] == 204
    assert heard == [("/x/y", b"hello")]


def test_a_port_that_is_taken_is_said(server: Server, folder: Path) -> None:
    with pytest.raises(UsageError, match=f"port {server.server_port}: cannot be served on"):
        Server(folder, port=server.server_port)
    with pytest.raises(UsageError, match="port 70000"):
        Server(folder, port=70000)


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
