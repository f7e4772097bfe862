"""The chat with consumers in Django, on WSGI servers."""

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

PACKAGE = "wsredis.examples.consumers_chat"

COMMANDS = {
    "uwsgi": (*SERVERS["uwsgi"], f"{PACKAGE}.wsgi", "--gevent-early-monkey-patch"),
    "gunicorn": (*SERVERS["gunicorn"], f"{PACKAGE}.wsgi:application"),
    "runserver": (sys.executable, "-m", f"{PACKAGE}.manage", "runserver", "--noreload", "{port}"),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"co-{name}")) for name in COMMANDS],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = Site(Setup(request.param, COMMANDS[request.param]), folder, redis_server.url)
    site._environ["DJANGO_CHAT_DB"] = str(folder / "db.sqlite3")
    for command in (["migrate"], ["loaddata", "people"]):
        manage = [sys.executable, "-m", f"{PACKAGE}.manage", *command, "-v", "0"]
        subprocess.run(manage, cwd=folder, env=site._environ, check=True)
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


def test_the_members_of_a_room_get_its_messages(site: Site) -> None:
    with (
        opened(site, "chat/tea/") as alice,
        opened(site, "chat/tea/") as bob,
        opened(site, "chat/coffee/") as carol,
    ):
        alice.send(json.dumps({"from": "alice", "text": " hello "}))
        assert received(alice) == received(bob) == ("alice", "hello")
        bob.send(json.dumps({"from": "bob", "text": "x" * 3000}))
        assert received(alice) == received(bob) == ("bob", "x" * 2000)
        carol.send(json.dumps({"from": "carol", "text": "nobody else is here"}))
        assert received(carol) == ("carol", "nobody else is here")


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
    assert info.value.response.status_code == 404


def test_a_page_of_another_site_is_refused(site: Site) -> None:
    with pytest.raises(InvalidStatus) as info, opened(site, "chat/tea/", "http://example.com"):
        pass
    assert info.value.response.status_code == 403


@pytest.mark.parametrize(
    ("message", "code"), [("{", 1007), (b"{}", 1003), (json.dumps({"text": "x" * 16384}), 1009)]
)
def test_other_messages_end_the_websocket(site: Site, message: Any, code: int) -> None:
    with opened(site, "chat/tea/") as alice:
        alice.send(message)
        assert closed(alice) == code


def test_its_pages_have_what_they_need(site: Site) -> None:
    assert site.get("/")[0] == 200
    status, text = site.get("/chat/tea/")
    assert status == 200
    assert 'data-path="/ws/chat/tea/"' in text
    for name in ("chats.css", "rooms.css", "chats.js", "rooms.js"):
        assert f"/static/{name}" in text
        assert site.get(f"/static/{name}")[0] == 200
