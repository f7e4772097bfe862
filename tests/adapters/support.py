"""Support for the tests of all adapters: a browser that stores cookies, servers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from wsredis.embedded import free_port

from ..processes import kill_group, start_group
from ..servers.support import closed, eventually, in_matrix

__all__ = [
    "CURT",
    "FRIGHTENING",
    "SECONDS",
    "Browser",
    "Server",
    "closed",
    "environment",
    "production",
    "running",
    "servers",
]

BIN = Path(sys.executable).parent
RUN = Path(__file__).parent.parent / "servers" / "run.py"
SECONDS = 30.0

FRIGHTENING = re.compile(
    r"Traceback|Exception|Error|CRITICAL|Broken pipe|refused \d"
    r"|WARNING(?!: (you are running uWSGI as root|This is a development server))"
)
"""What a log must not say where nothing went wrong."""


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "A" * 22 + "==",
    "Sec-WebSocket-Version": "13",
}

CURT = {"uwsgi-threads", "uwsgi-router"}
"""Servers that may end without a close frame: a thread of uWSGI that is still at a request keeps
its worker from any, and a router ends before its workers."""


class Browser:
    """A browser of one user, which requests pages and websockets of a site."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page; cookies are kept, and forgotten when they end."""
        page = HTTPConnection(self.host, timeout=SECONDS)
        try:
            page.request("GET", path, headers=self._cookie())
            answer = page.getresponse()
            for line in answer.headers.get_all("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if not morsel.value:
                        del self.cookies[name]
            return answer.status, answer.read().decode()
        finally:
            page.close()

    def note(self, facility: str, text: str) -> list[str]:
        """Let the site send this browser a message, and return by which channels."""
        page = self.get(f"/note?facility={facility}&text={text}")[1]
        channels: list[str] = json.loads(page)["channels"]
        return channels

    def open(self, path: str, sock: socket.socket | None = None, **headers: str) -> Any:
        """Return a websocket to open by ``with``; a socket may lead elsewhere than the host."""
        headers = {"Origin": f"http://{self.host}", **self._cookie(), **headers}
        address = f"ws://{self.host}{path}"
        return connect(
            address, additional_headers=headers, proxy=None, sock=sock, open_timeout=SECONDS
        )

    def refused(
        self, path: str, sock: socket.socket | None = None, **headers: str
    ) -> tuple[int, str]:
        """Return the answer to a handshake that is refused; it may be one of HTTP/1.0."""
        headers = {"Origin": f"http://{self.host}", **HANDSHAKE, **self._cookie(), **headers}
        client = HTTPConnection(self.host, timeout=SECONDS)
        client.sock = sock
        try:
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            assert answer.status != 101, "it was let in"
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def _cookie(self) -> dict[str, str]:
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": pairs} if pairs else {}


class Server(Browser):
    """A started server: its process, its log, and a browser for it."""

    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
        super().__init__(f"127.0.0.1:{port}")
        self.log = log
        self.process = process

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False

    def is_calm(self) -> None:
        """Fail if the log would frighten anybody."""
        text = self.log.read_text()
        assert not FRIGHTENING.search(text), text


@contextmanager
def running(
    command: list[str], log: Path, environ: dict[str, str], folder: Path
) -> Iterator[Server]:
    """Start a server as a process group of its own, and end it in good order."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with log.open("wb") as out:
        process = start_group(words, out, folder=folder, environ=environ)
    server = Server(port, log, process)
    try:
        eventually(server.answers, "the server answers", SECONDS)
        yield server
        process.terminate()
        process.wait(SECONDS)
    finally:
        print(log.read_text())  # for the report of a failure
        kill_group(process)


def environment(project: Path, folder: Path, **more: str) -> dict[str, str]:
    """Return what a server of a project is started with; its sockets lie in a folder."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "default",
        "XDG_RUNTIME_DIR": str(folder),
        **more,
    }


def servers(names: Collection[str]) -> pytest.MarkDecorator:
    """Hand the names of servers to a test; some only in the matrix."""
    some = [pytest.param(name, marks=in_matrix(name, names)) for name in names]
    return pytest.mark.parametrize("name", some)


def production(module: str) -> dict[str, list[str]]:
    """Return the commands that serve a module's ``application``, by the names of the servers."""
    here = "127.0.0.1:{port}"
    bare = [str(BIN / "uwsgi"), "--binary-path", sys.executable, "--master", "--die-on-term"]
    bare += ["--need-app", "--module", module]
    uwsgi = [*bare, "--http-socket", here]
    gunicorn = [str(BIN / "gunicorn"), "-b", here, f"{module}:application"]
    run = [sys.executable, "-P", str(RUN)]
    return {
        "uwsgi-gevent": [*uwsgi, "--gevent", "10"],
        "uwsgi-gevent-patched": [*uwsgi, "--gevent", "10", "--gevent-early-monkey-patch"],
        "uwsgi-router": [*bare, "--http", here, "--http-websockets", "--gevent", "10"],
        "uwsgi-workers": [*uwsgi, "--processes", "3", "--gevent", "10"],
        "uwsgi-threads": [*uwsgi, "--threads", "4"],
        "gunicorn-gevent": [*gunicorn, "-k", "gevent"],
        "gunicorn-gthread": [*gunicorn, "-k", "gthread", "--threads", "4"],
        **{kind: [*run, kind, "{port}", module] for kind in ("pywsgi", "werkzeug", "wsgiref")},
    }
