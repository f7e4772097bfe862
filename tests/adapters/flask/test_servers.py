"""The site on real servers, as processes, whose logs must have no alarming lines."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsredis import Config, Publisher

from ..support import (
    CURT,
    SECONDS,
    Browser,
    Server,
    closed,
    environment,
    production,
    running,
    servers,
)

PROJECT = Path(__file__).parent / "project"

FLASK = [sys.executable, "-P", "-m", "flask", "--app", "flasksite", "run", "-p", "{port}"]
SERVERS = {
    "flask-run": FLASK,
    "flask-run-debug": [*FLASK, "--debug", "--no-reload"],
    "flask-run-reloader": [*FLASK, "--debug"],
    **production("wsgi"),
}


@pytest.fixture
def environ(config: Config, tmp_path: Path) -> dict[str, str]:
    return environment(PROJECT, tmp_path, WSREDIS_REDIS=str(config.redis))


@pytest.mark.servers
@servers(SERVERS)
def test_a_site_has_websockets(
    name: str, environ: dict[str, str], tmp_path: Path, config: Config, room: str
) -> None:
    environ["FLASK_WSREDIS_ALLOWED_CHANNELS"] = "flasksite.members"
    with running(SERVERS[name], tmp_path / "log", environ, tmp_path) as server:
        visitor = Browser(server.host)
        server.get("/enter?name=alice")
        query = f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session&publish-broadcast"
        listen = f"/ws/{room}?subscribe-broadcast&subscribe-user&subscribe-session"
        with visitor.open(listen) as everybody, server.open(query) as alice:
            channels = server.note(room, "for+alice")
            assert [alice.recv(timeout=SECONDS) for _ in channels] == ["for alice"] * 4
            alice.send("hello")
            assert everybody.recv(timeout=SECONDS) == "hello"
            Publisher(room, users=["bob"], config=config).publish("for bob")
            assert server.get("/_wsredis/wsredis.js")[0] == 200
            everybody.close(4000, "enough")
        with server.open(query) as alice, server.open(query) as vanishing:
            vanishing.socket.close()
            Publisher(room, groups=["editors"], config=config).publish("again")
            assert alice.recv(timeout=SECONDS) == "again"
            server.get("/leave")
            assert closed(alice) == 4401
            assert server.refused(f"/ws/{room}?subscribe-user&subscribe-session")[0] == 403
        with visitor.open(listen) as everybody:
            end(server, name)
            assert closed(everybody) == 1012 or name in CURT
    server.is_calm()
    if name.startswith("flask-run"):
        assert " 101 -" in server.log.read_text()
        assert " 500 -" not in server.log.read_text()


def end(server: Server, name: str) -> None:
    """Ask a server to end; of a reloader both processes, as Ctrl-C does."""
    if name == "flask-run-reloader":
        os.killpg(server.process.pid, signal.SIGINT)
    else:
        server.process.terminate()


@pytest.mark.servers
def test_flask_run_drains_when_it_reloads(
    environ: dict[str, str],
    tmp_path: Path,
    config: Config,
    room: str,
    eventually: Callable[..., Any],
) -> None:
    changing = tmp_path / "changing.py"
    changing.write_text("from flasksite import create_app\n")
    environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
    command = [word.replace("flasksite", "changing") for word in SERVERS["flask-run-reloader"]]
    with running(command, tmp_path / "log", environ, tmp_path) as server:
        with server.open(f"/ws/{room}?subscribe-broadcast") as ws:
            stamps = itertools.count(int(time.time()) + 5)

            def reloads() -> bool:
                """Change the file until it is seen: the reloader may not have begun to look."""
                stamp = next(stamps)
                os.utime(changing, (stamp, stamp))
                return "Detected change" in server.log.read_text()

            eventually(reloads)
            assert closed(ws) == 1012
        eventually(lambda: server.log.read_text().count("Debugger is active") >= 2)
        eventually(server.answers)
        with server.open(f"/ws/{room}?subscribe-broadcast") as ws:
            Publisher(room, broadcast=True, config=config).publish("after the reload")
            assert ws.recv(timeout=SECONDS) == "after the reload"
        end(server, "flask-run-reloader")
    server.is_calm()
