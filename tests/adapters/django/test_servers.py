"""The site on real servers, as processes, whose logs must frighten nobody."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from wsredis.adapters.django import Publisher
from wsredis.embedded import free_port

PROJECT = Path(__file__).parent / "project"
BIN = Path(sys.executable).parent
SECONDS = 20.0

STRICT = ["-W", "error", "-W", "ignore:'cgi' is deprecated:DeprecationWarning"]

FRIGHTENING = re.compile(
    r"Traceback|Exception|Error|CRITICAL|Broken pipe|refused \d"
    r"|WARNING(?!: (you are running uWSGI as root|This is a development server))"
)

UWSGI = [
    *(str(BIN / "uwsgi"), "--binary-path", sys.executable, "--http-socket", "127.0.0.1:{port}"),
    *("--master", "--die-on-term", "--need-app", "--module", "chatsite.wsgi"),
]
MANAGE = [sys.executable, "manage.py", "runserver", "127.0.0.1:{port}"]
SERVERS = {
    "runserver": MANAGE,
    "runserver-noreload": [*MANAGE, "--noreload"],
    "runserver-nothreading": [*MANAGE, "--noreload", "--nothreading"],
    "runserver-nostatic": [*MANAGE, "--nostatic"],
    "uwsgi-gevent": [*UWSGI, "--gevent", "10"],
    "uwsgi-gevent-patched": [*UWSGI, "--gevent", "10", "--gevent-early-monkey-patch"],
    "uwsgi-threads": [*UWSGI, "--threads", "4"],
    "gunicorn-gevent": [
        *(str(BIN / "gunicorn"), "-k", "gevent", "-b", "127.0.0.1:{port}", "chatsite.wsgi")
    ],
    "gunicorn-gthread": [
        *(str(BIN / "gunicorn"), "-k", "gthread", "--threads", "4", "-b", "127.0.0.1:{port}"),
        "chatsite.wsgi",
    ],
}


class Server:
    """Be a started server: its address and its log."""

    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.host = f"127.0.0.1:{port}"
        self.log = log
        self.process = process
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a page; cookies are kept."""
        page = HTTPConnection(self.host, timeout=SECONDS)
        try:
            page.request("GET", path, headers={"Cookie": self.cookie})
            answer = page.getresponse()
            for line in answer.headers.get_all("Set-Cookie", []):
                self.cookies |= {k: m.value for k, m in SimpleCookie(line).items()}
            return answer.status, answer.read()
        finally:
            page.close()

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def open(self, path: str) -> Any:
        headers = {"Cookie": self.cookie} if self.cookies else {}
        origin: Any = f"http://{self.host}"
        return connect(f"ws://{self.host}{path}", origin=origin, additional_headers=headers)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False


@contextmanager
def running(command: list[str], log: Path, environ: dict[str, str]) -> Iterator[Server]:
    """Start a server as a process group of its own, and end it in good order."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=PROJECT, env=environ, stdout=out, stderr=out, start_new_session=True
        )
    server = Server(port, log, process)
    try:
        deadline = time.monotonic() + SECONDS
        while not server.answers():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield server
        process.terminate()
        process.wait(SECONDS)
    finally:
        print(log.read_text())  # for the report of a failure
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@pytest.fixture
def environ(redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "default",
        "WSREDIS_REDIS": redis_url,
        "XDG_RUNTIME_DIR": str(tmp_path),
        "CHATSITE_DEBUG": "1",
        "CHATSITE_ANNOUNCE": "1",
    }


def closed(ws: ClientConnection) -> int | None:
    """Wait for the end of a websocket and return its code."""
    try:
        while True:
            ws.recv(timeout=SECONDS)
    except ConnectionClosed:
        return ws.protocol.close_rcvd and ws.protocol.close_rcvd.code


@pytest.mark.servers
@pytest.mark.parametrize("name", SERVERS)
def test_a_site_has_websockets(
    name: str, environ: dict[str, str], tmp_path: Path, person: Callable[..., Any], room: str
) -> None:
    person("alice", "editors")
    person("bob")
    with running(SERVERS[name], tmp_path / "log", environ) as server:
        visit = server.open(f"/ws/{room}?subscribe-broadcast&subscribe-user")
        presence = server.open(f"/ws/{room}/presence?subscribe-broadcast")
        server.get("/enter?username=alice&password=secret")
        query = f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session&publish-broadcast"
        with visit as visitor, presence as seen, server.open(query) as alice:
            while (who := seen.recv(timeout=SECONDS)) != "alice True came":
                assert who == "None False came"
            server.get(f"/note?facility={room}&text=for+alice")
            assert [alice.recv(timeout=SECONDS) for _ in range(3)] == ["for alice"] * 3
            Publisher(room, users=["bob"]).publish("for bob")
            alice.send("hello")
            assert visitor.recv(timeout=SECONDS) == "hello"
            assert server.get("/static/wsredis/wsredis.js")[0] in (200, 404)
            visitor.close(4000, "enough")
            assert seen.recv(timeout=SECONDS) == "None False went"
        with server.open(query) as alice, server.open(query) as vanishing:
            vanishing.socket.close()
            Publisher(room, groups=["editors"]).publish("again")
            assert alice.recv(timeout=SECONDS) == "again"
            if "--noreload" in SERVERS[name] or "manage.py" not in SERVERS[name]:
                server.process.terminate()
            else:  # its parent kills the process that serves, unless it is asked as by Ctrl-C
                os.killpg(server.process.pid, signal.SIGINT)
            # A uWSGI thread that is still at a request keeps its worker from any farewell.
            assert closed(alice) == 1012 or name == "uwsgi-threads"
    text = server.log.read_text()
    assert not FRIGHTENING.search(text), text


@pytest.mark.servers
def test_runserver_serves_the_client_and_drains_when_it_reloads(
    environ: dict[str, str], tmp_path: Path, room: str, db: None, eventually: Any
) -> None:
    site = tmp_path / "changing.py"
    site.write_text("")
    settings = tmp_path / "changing_settings.py"
    settings.write_text("from chatsite.settings import *\nimport changing\n")
    environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
    environ["DJANGO_SETTINGS_MODULE"] = "changing_settings"
    with running(SERVERS["runserver"], tmp_path / "log", environ) as server:
        status, body = server.get("/static/wsredis/wsredis.js")
        assert status == 200
        assert b"class WSRedis" in body
        with server.open(f"/ws/{room}?subscribe-broadcast") as ws:
            stamps = itertools.count(int(time.time()) + 5)

            def reloads() -> bool:
                """Change the file until it is seen: the reloader may not have begun to look."""
                stamp = next(stamps)
                os.utime(site, (stamp, stamp))
                return "changed, reloading" in server.log.read_text()

            eventually(reloads)
            assert closed(ws) == 1012
        eventually(lambda: server.log.read_text().count("Quit the server with") == 2)
        eventually(server.answers)
        with server.open(f"/ws/{room}?subscribe-broadcast") as ws:
            Publisher(room, broadcast=True).publish("after the reload")
            assert ws.recv(timeout=SECONDS) == "after the reload"
    text = server.log.read_text()
    assert not FRIGHTENING.search(text), text


@pytest.mark.servers
def test_live_server_test_cases_have_websockets(environ: dict[str, str], tmp_path: Path) -> None:
    environ["CHATSITE_TEST_DB"] = str(tmp_path / "test.sqlite3")
    for database in ({}, {"CHATSITE_TEST_DB": str(tmp_path / "test.sqlite3")}):
        environ.pop("CHATSITE_TEST_DB", None)
        tests = subprocess.run(
            [sys.executable, *STRICT, "manage.py", "test", "chatsite.live_tests"],
            cwd=PROJECT,
            env={**environ, **database},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert tests.returncode == 0, tests.stdout + tests.stderr
        assert not FRIGHTENING.search(tests.stderr), tests.stderr
        assert "Ran 6 tests" in tests.stderr
