"""A Django site with the real package channels: routing, users, sessions, and the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from ..servers.support import SECONDS, SETUPS, Setup, closed, each, eventually, new_room
from ..servers.workers import Rest
from .conftest import PROJECT, DjangoSite, serving
from .test_channels import opened

pytestmark = pytest.mark.servers

WITH_THREADS = ("uwsgi-gevent", "uwsgi-threads", "gunicorn-gthread")
OFFERS = [Subprotocol("chat.v1"), Subprotocol("chat.v2")]


@pytest.mark.parametrize(
    ("path", "args", "kwargs"),
    [
        ("years/2024/news/", [], {"year": 2024, "name": "news", "kind": "of a year"}),
        ("years/2024/7/31/", ["7", "31"], {"year": 2024}),
    ],
)
def test_routes_may_be_nested(
    site: DjangoSite, path: str, args: list[str], kwargs: dict[str, Any]
) -> None:
    with opened(site, path, subprotocols=OFFERS) as ws:
        assert json.loads(ws.recv(timeout=SECONDS)) == {
            "path": f"/ws/{path}",
            "args": args,
            "kwargs": kwargs,
        }


def test_a_consumer_answers_with_a_subprotocol_and_headers(site: DjangoSite) -> None:
    with opened(site, "years/2024/news/", subprotocols=OFFERS) as ws:
        assert ws.subprotocol == "chat.v2"
        assert ws.response.headers["X-Room"] == "of the consumer"


# Blocking handlers


@pytest.mark.parametrize("kind", ["blocks", "async-blocks"])
def test_a_handler_that_blocks_holds_no_page(site: DjangoSite, kind: str) -> None:
    """The page that releases it answers while it blocks, on gevent servers without patches, too."""
    name = new_room()
    with opened(site, f"{kind}/") as ws:
        ws.send(name)
        eventually(lambda: site.get(f"/release/{name}")[0] == 200, "the handler has begun")
        assert ws.recv(timeout=SECONDS) == "released"


# The database


@pytest.mark.parametrize("kind", ["counts", "async-counts"])
def test_handlers_use_the_database(site: DjangoSite, kind: str) -> None:
    """Each connection is closed after the handler that used it, as after a request."""
    name = new_room()
    before = int(site.get("/databases")[1])  # with Django 4.2, runserver itself keeps one open
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(site, f"{kind}/")) for _ in range(20)]
        for number, client in enumerate(clients, 1):
            client.send(f"{name}-{number}")
            assert client.recv(timeout=SECONDS) == str(number)
    eventually(lambda: int(site.get("/databases")[1]) <= before, "they are closed")


@each(*WITH_THREADS)
def test_connections_that_stay_open_are_those_of_the_threads(
    setup: Setup, tmp_path: Path, redis_server: Any
) -> None:
    """There are eight, however many websockets."""
    with (
        serving(setup, tmp_path, redis_server.url, SITE_KEEPS_CONNECTIONS="1") as site,
        ExitStack() as stack,
    ):
        for number in range(20):
            ws = stack.enter_context(opened(site, "counts/"))
            ws.send(f"a-{number}")
            assert ws.recv(timeout=SECONDS) == str(number + 1)
        assert site.get("/databases")[1] == "8"


def test_a_room_spans_processes(tmp_path: Path, redis_server: Any) -> None:
    """Each process has a member: those that have one are stopped until the others have one too."""
    name = new_room()
    with (
        serving(SETUPS["uwsgi-workers"], tmp_path, redis_server.url) as site,
        ExitStack() as stack,
    ):
        clients = []
        with Rest() as rest:
            for _ in range(site.setup.workers):
                clients.append(stack.enter_context(opened(site, f"async/{name}/")))
                clients[-1].send("/pid")
                rest.stop(int(clients[-1].recv(timeout=SECONDS)))
        clients[0].send("hello")
        assert {client.recv(timeout=SECONDS) for client in clients} == {"hello"}


def test_a_layer_in_memory_is_warned_of_on_several_processes(
    tmp_path: Path, redis_server: Any
) -> None:
    layer = "channels.layers.InMemoryChannelLayer"
    with serving(SETUPS["uwsgi-workers"], tmp_path, redis_server.url, SITE_LAYER=layer) as site:
        with opened(site, "sleeper/"):
            pass
        assert "CHANNEL_LAYERS['default'] is in memory, but this server has" in site.news()


def test_a_handshake_reads_the_session_once(site: DjangoSite) -> None:
    name = new_room()
    _, _, cookie = site.get_with(f"/login/{name}")
    site.get("/queries")
    with opened(site, "me/", cookie) as ws:
        assert json.loads(ws.recv(timeout=SECONDS))["user"] == name
        queries = json.loads(site.get("/queries")[1])
    assert len([sql for sql in queries if "django_session" in sql]) == 1, queries


# Other processes


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_management_command_publishes(site: DjangoSite, kind: str) -> None:
    name = new_room()
    with opened(site, f"{kind}/{name}/") as ws:
        environ = {**os.environ, **site._environ}
        command = [sys.executable, "-m", "django", "say", name, "hello"]
        subprocess.run(command, env=environ, cwd=PROJECT, check=True, timeout=SECONDS)
        assert ws.recv(timeout=SECONDS) == "hello"


# Ends


@pytest.mark.parametrize(
    ("path", "code"), [("/logout", 4401), ("/password/{}", 1012), ("/disconnect/{}", 4401)]
)
def test_what_ends_a_websocket(site: DjangoSite, path: str, code: int) -> None:
    name, other = new_room(), new_room()
    _, _, cookie = site.get_with(f"/login/{name}")
    _, _, another = site.get_with(f"/login/{other}")
    with opened(site, "me/", cookie) as ws, opened(site, "me/", another) as stays:
        for client in (ws, stays):
            client.recv(timeout=SECONDS)
        assert site.get_with(path.format(name), cookie)[0] == 200
        assert closed(ws) == code
        assert stays.ping().wait(SECONDS)
    if not path.startswith("/disconnect"):
        with pytest.raises(InvalidStatus) as info, opened(site, "me/", cookie):
            pass
        assert info.value.response.status_code == 403


def test_a_consumer_logs_out(site: DjangoSite) -> None:
    """The logout of Channels ends all websockets of the session."""
    _, _, cookie = site.get_with(f"/login/{new_room()}")
    with opened(site, "me/", cookie) as ws, opened(site, "me/", cookie) as other:
        for client in (ws, other):
            client.recv(timeout=SECONDS)
        ws.send("{}")
        assert closed(ws) == closed(other) == 4401


def test_a_websocket_ends_with_its_session(site: DjangoSite) -> None:
    _, _, cookie = site.get_with(f"/login/{new_room()}?seconds=3")
    with opened(site, "me/", cookie) as ws:
        ws.recv(timeout=SECONDS)
        assert closed(ws) == 4401
