"""A server that answers as the Hugging Face hub does, for the repositories it is given."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Repositories: name -> file name -> bytes. `requests` lists what was asked for.

    `cut` bytes into a download the connection breaks, once; `stop` bytes into it nothing more comes
    until `go_on` is set. `elsewhere`: files come from another host, which is given no token.
    Anything asked for gets the `status`, if there is one.
    """

    def __init__(
        self,
        repos: Mapping[str, Mapping[str, bytes]],
        cut: int | None = None,
        stop: int | None = None,
        elsewhere: bool = False,
        status: int | None = None,
    ) -> None:
        self.repos = repos
        self.cut = cut
        self.stop = stop
        self.go_on = threading.Event()
        self.stopped = threading.Event()
        self.elsewhere = elsewhere
        self.status = status
        self.tokens: list[tuple[str, str]] = []
        self.requests: list[tuple[str, str, str]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[HubServer]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.go_on.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        self.hub.tokens.append((path, self.headers.get("Authorization", "")))
        if self.hub.status is not None:
            self._send(self.hub.status, b"", {}, with_body)
            return
        stored = re.fullmatch(r"/stored/([^/]+/[^/]+)/(.+)", path)
        if stored:
            self._send_file(self.hub.repos[stored[1]][stored[2]], with_body)
            return
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path)
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        found = tree or info or file
        files = self.hub.repos.get(found[1]) if found else None
        if files is None:
            code = "GatedRepo" if found and "gated" in found[1] else "RepoNotFound"
            self._send(403 if code == "GatedRepo" else 404, b"", {"X-Error-Code": code}, with_body)
        elif tree:
            rows = [
                {"type": "file", "path": n, "size": len(b), "oid": _oid(b)}
                for n, b in files.items()
            ]
            self._send(200, json.dumps(rows).encode(), {}, with_body)
        elif file and file[2] in files and self.hub.elsewhere:
            data, port = files[file[2]], self.server.server_address[1]
            there = f"http://localhost:{port}/stored/{file[1]}/{file[2]}"
            about = {"Location": there, "X-Linked-Size": str(len(data)), "X-Repo-Commit": COMMIT}
            self._send(302, b"", {**about, "X-Linked-ETag": f'"{_oid(data)}"'}, with_body)
        elif file and file[2] in files:
            self._send_file(files[file[2]], with_body)
        elif file:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
        else:
            siblings = [{"rfilename": name} for name in files]
            body = {"id": found[1], "modelId": found[1], "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(body).encode(), {}, with_body)

    def _send_file(self, data: bytes, with_body: bool) -> None:
        headers = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not wanted:
            self._send(200, data, headers, with_body)
            return
        start = int(wanted[1])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206, data[start:], headers, with_body)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        cut, self.hub.cut = (self.hub.cut, None) if len(body) > 4096 else (None, self.hub.cut)
        if self.hub.stop is not None and len(body) > self.hub.stop:
            self.wfile.write(body[: self.hub.stop])
            self.wfile.flush()
            self.hub.stopped.set()
            self.hub.go_on.wait()
            self.close_connection = True
            return
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def _oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
