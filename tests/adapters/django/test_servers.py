"""The site on real servers, as processes, whose logs must have no alarming lines."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from redis import Redis

from wsredis.adapters.django import Publisher
from wsredis.embedded import EmbeddedRedis

from ..support import (
    CURT,
    FRIGHTENING,
    SECONDS,
    closed,
    environment,
    production,
    running,
    servers,
)

PROJECT = Path(__file__).parent / "project"

STRICT = ["-W", "error", "-W", "ignore:'cgi' is deprecated:DeprecationWarning"]

# What runserver_plus of django-extensions does.
DEBUGGER = """if True:
    from chatsite.wsgi import application
    from werkzeug.debug import DebuggedApplication
    from werkzeug.serving import run_simple
    run_simple("127.0.0.1", {port}, DebuggedApplication(application, True), threaded=True)
"""
MANAGE = [sys.executable, "manage.py", "runserver", "127.0.0.1:{port}"]
SERVERS = {
    "runserver": MANAGE,
    "runserver-noreload": [*MANAGE, "--noreload"],
    "runserver-nothreading": [*MANAGE, "--noreload", "--nothreading"],
    "runserver-nostatic": [*MANAGE, "--nostatic"],
    "runserver-plus": [sys.executable, "-c", DEBUGGER],
    **production("chatsite.wsgi"),
}
UNPATCHED = {"uwsgi-gevent", "uwsgi-router", "uwsgi-workers", "pywsgi"}


@pytest.fixture
def environ(redis_url: str, tmp_path: Path) -> dict[str, str]:
    site = {"WSREDIS_REDIS": redis_url, "CHATSITE_DEBUG": "1", "CHATSITE_ANNOUNCE": "1"}
    return environment(PROJECT, tmp_path, **site)


@pytest.mark.servers
@servers(SERVERS)
def test_a_site_has_websockets(
    name: str, environ: dict[str, str], tmp_path: Path, person: Callable[..., Any], room: str
) -> None:
    person("alice", "editors")
    person("bob")
    with running(SERVERS[name], tmp_path / "log", environ, PROJECT) as server:
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
        with server.open(query) as alice:
            server.get("/enter?username=bob&password=secret")
            assert closed(alice) == 4401
        server.get("/enter?username=alice&password=secret")
        with server.open(query) as alice, server.open(query) as vanishing:
            vanishing.socket.close()
            Publisher(room, groups=["editors"]).publish("again")
            assert alice.recv(timeout=SECONDS) == "again"
            if "--noreload" in SERVERS[name] or "manage.py" not in SERVERS[name]:
                server.process.terminate()
            else:  # its parent kills the process that serves, unless it is asked as by Ctrl-C
                os.killpg(server.process.pid, signal.SIGINT)
            assert closed(alice) == 1012 or name in CURT
    server.is_calm()
    assert ("share one database connection" in server.log.read_text()) == (name in UNPATCHED)


@pytest.mark.servers
def test_publishing_in_a_transaction_lets_no_other_request_into_it(
    environ: dict[str, str], tmp_path: Path, db: None, own_redis: EmbeddedRedis, eventually: Any
) -> None:
    """Where gevent has not patched, all requests have one database connection."""
    environ["WSREDIS_REDIS"] = own_redis.url
    with (
        running(SERVERS["uwsgi-gevent"], tmp_path / "log", environ, PROJECT) as server,
        ThreadPoolExecutor(2) as browsers,
    ):
        own_redis.freeze()
        undone = browsers.submit(server.get, "/undo")
        eventually(lambda: "about to publish" in server.log.read_text())
        made = browsers.submit(server.get, "/make/alice")
        with suppress(TimeoutError):
            made.result(0.5)  # it would be answered already if it had been let in
        own_redis.thaw()
        assert undone.result() == (200, "undone")
        assert made.result() == (200, "made")
    assert [user.username for user in User.objects.all()] == ["alice"]


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
    with running(SERVERS["runserver"], tmp_path / "log", environ, PROJECT) as server:
        status, body = server.get("/static/wsredis/wsredis.js")
        assert status == 200
        assert "class WSRedis" in body
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
    server.is_calm()


@pytest.mark.servers
def test_runserver_says_that_there_are_no_websockets(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ["CHATSITE_SETTINGS"] = '{"WSGI_APPLICATION": "chatsite.plain_wsgi.application"}'
    with running(SERVERS["runserver-noreload"], tmp_path / "log", environ, PROJECT) as server:
        pass
    text = server.log.read_text()
    assert text.count("(wsredis.W006) WSGI_APPLICATION does not serve websockets") == 1
    assert "application = get_websocket_application()" in text


@pytest.mark.servers
@servers(["gunicorn-gthread", "gunicorn-gevent", "runserver-noreload"])
def test_async_views_that_publish_leave_nothing_open(
    name: str,
    environ: dict[str, str],
    tmp_path: Path,
    db: None,
    room: str,
    own_redis: EmbeddedRedis,
) -> None:
    """Each such request of a WSGI server has an event loop of its own."""
    environ["WSREDIS_REDIS"] = own_redis.url
    with (
        Redis.from_url(own_redis.url) as client,
        running(SERVERS[name], tmp_path / "log", environ, PROJECT) as server,
        server.open(f"/ws/{room}?subscribe-broadcast") as ws,
    ):
        counts = []
        for number in range(60):
            assert server.get(f"/tell/{room}?text={number}") == (200, "1")
            assert ws.recv(timeout=SECONDS) == str(number)
            counts.append(len(client.client_list()))
        assert max(counts[30:]) <= max(counts[:10])
    server.is_calm()


@pytest.mark.servers
def test_whitenoise_serves_the_client_and_the_script_name_is_in_addresses(
    environ: dict[str, str], tmp_path: Path, db: None, room: str
) -> None:
    """With ``runserver_nostatic`` and FORCE_SCRIPT_NAME, behind a proxy that strips the latter."""
    settings = tmp_path / "noised_settings.py"
    settings.write_text(
        "from chatsite.settings import *\n"
        "INSTALLED_APPS = ['whitenoise.runserver_nostatic', *INSTALLED_APPS]\n"
        "MIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware', *MIDDLEWARE]\n"
        "FORCE_SCRIPT_NAME = '/shop'\n"
        "STATIC_URL = '/static/'\n"
    )
    environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
    environ["DJANGO_SETTINGS_MODULE"] = "noised_settings"
    with running(SERVERS["runserver-noreload"], tmp_path / "log", environ, PROJECT) as server:
        status, body = server.get("/static/wsredis/wsredis.js")
        assert status == 200
        assert "class WSRedis" in body
        assert f"ws://{server.host}/shop/ws/" in server.get("/")[1]
        with server.open(f"/ws/{room}?subscribe-broadcast") as ws:
            Publisher(room, broadcast=True).publish("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
    server.is_calm()


@pytest.mark.servers
def test_a_site_may_be_mounted_by_uwsgi(
    environ: dict[str, str], tmp_path: Path, db: None, room: str
) -> None:
    words = SERVERS["uwsgi-gevent-patched"]
    where = words.index("--module")
    mount = ["--mount", "/shop=chatsite.wsgi:application", "--manage-script-name"]
    # The pages of the root are those of the same application, for the support to find it started.
    command = [
        *words[:where],
        *mount,
        "--mount",
        "/=chatsite.wsgi:application",
        *words[where + 2 :],
    ]
    command.append("--single-interpreter")
    with running(command, tmp_path / "log", environ, PROJECT) as server:
        assert f"ws://{server.host}/shop/ws/" in server.get("/shop/")[1]
        with server.open(f"/shop/ws/{room}?subscribe-broadcast") as ws:
            Publisher(room, broadcast=True).publish("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
    server.is_calm()


@pytest.mark.servers
def test_live_server_test_cases_have_websockets(environ: dict[str, str], tmp_path: Path) -> None:
    environ["CHATSITE_TEST_DB"] = str(tmp_path / "test.sqlite3")
    for database in ({}, {"CHATSITE_TEST_DB": str(tmp_path / "test.sqlite3")}):
        environ.pop("CHATSITE_TEST_DB", None)
        for _ in range(3):
            tests = subprocess.run(
                [sys.executable, *STRICT, "manage.py", "test", "chatsite.live_tests"],
                cwd=PROJECT,
                env={**environ, **database},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            # A request that is still ending keeps Django from emptying a database in memory,
            # which all threads share; it does so without us as well.
            if "table is locked" not in tests.stderr:
                break
        assert tests.returncode == 0, tests.stdout + tests.stderr
        assert not FRIGHTENING.search(tests.stderr), tests.stderr
        assert "Ran 6 tests" in tests.stderr
