"""The chat for Django Channels, on WSGI servers, and its asgi.py on uvicorn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ..servers.support import SECONDS, Setup, Site, closed
from .support import SERVERS

pytestmark = pytest.mark.servers

PACKAGE = "wsredis.examples.channels_chat"

COMMANDS = {
    "uwsgi": (*SERVERS["uwsgi"], f"{PACKAGE}.wsgi", "--gevent-early-monkey-patch"),
    "gunicorn": (*SERVERS["gunicorn"], f"{PACKAGE}.wsgi:application"),
    "uvicorn": (
        *(sys.executable, "-m", "uvicorn", "--port", "{port}"),
        f"{PACKAGE}.asgi:application",
    ),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"cc-{name}")) for name in COMMANDS],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = Site(Setup(request.param, COMMANDS[request.param]), folder, redis_server.url)
    site._environ["DJANGO_CHAT_DB"] = str(folder / "db.sqlite3")
    migrate = [sys.executable, "-m", f"{PACKAGE}.manage", "migrate", "-v", "0"]
    subprocess.run(migrate, cwd=folder, env=site._environ, check=True)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def opened(site: Site, path: str, origin: str = "") -> Any:
    origin = origin or f"http://127.0.0.1:{site.port}"
    url = f"ws://127.0.0.1:{site.port}/ws/{path}"
    headers = {"Origin": origin}
    return connect(url, additional_headers=headers, open_timeout=SECONDS, proxy=None)


def received(ws: Any) -> tuple[str, str]:
    event = json.loads(ws.recv(timeout=SECONDS))
    return event["from"], event["text"]


def test_a_room_with_both_kinds_of_consumer(site: Site) -> None:
    with opened(site, "chat/tea/") as alice, opened(site, "sync/tea/") as bob:
        alice.send(json.dumps({"from": "alice", "text": " hello "}))
        assert received(alice) == received(bob) == ("alice", "hello")
        bob.send(json.dumps({"from": "bob", "text": "x" * 3000}))
        assert received(alice) == received(bob) == ("bob", "x" * 2000)


def test_a_client_chooses_neither_the_event_nor_an_empty_message(site: Site) -> None:
    with opened(site, "chat/forged/") as alice:
        for content in ({"type": "websocket.disconnect"}, {"text": "  "}, ["text"], 7, None):
            alice.send(json.dumps(content))
        alice.send(json.dumps({"type": "disconnect", "text": "hello"}))
        assert received(alice) == ("guest", "hello")


@pytest.mark.parametrize("path", ["chat/caf%C3%A9/", f"chat/{'x' * 41}/", "other/tea/"])
def test_a_room_that_does_not_exist_is_refused(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus) as info, opened(site, path):
        pass
    assert info.value.response.status_code == 500  # as on any server: no route


def test_a_page_of_another_site_is_refused(site: Site) -> None:
    with pytest.raises(InvalidStatus) as info, opened(site, "chat/tea/", "http://example.com"):
        pass
    assert info.value.response.status_code == 403


def test_a_message_that_is_not_json_ends_the_websocket(site: Site) -> None:
    with opened(site, "chat/tea/") as alice:
        alice.send("{")
        assert closed(alice) == (None if site.setup.name == "uvicorn" else 1011)


def test_a_message_that_is_too_long_ends_the_websocket(site: Site) -> None:
    if site.setup.name == "uvicorn":
        pytest.skip("uvicorn has another limit")
    with opened(site, "chat/tea/") as alice:
        alice.send(json.dumps({"text": "x" * 16 * 1024}))
        assert closed(alice) == 1009
