"""The chat with rooms in Flask, on WSGI servers."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from wsredis.examples import flask_rooms

from ..servers.support import SECONDS, Setup, Site, closed
from .support import SERVERS

pytestmark = pytest.mark.servers

APPLICATION = "wsredis.examples.flask_rooms.wsgi:application"

COMMANDS = {
    "uwsgi": (*SERVERS["uwsgi"], APPLICATION, "--gevent-early-monkey-patch"),
    "gunicorn": (*SERVERS["gunicorn"], APPLICATION),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"fr-{name}")) for name in COMMANDS],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = Site(Setup(request.param, COMMANDS[request.param]), folder, redis_server.url)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def received(ws: Any) -> Any:
    return json.loads(ws.recv(timeout=SECONDS))


def asked(ws: Any, name: str, data: Any) -> Any:
    """Send an event and return its answer, which must be the next message."""
    ws.send(json.dumps([name, data, 5]))
    ack, answer, number = received(ws)
    assert (ack, number) == ("ack", 5)
    return answer


def test_one_websocket_in_several_rooms(site: Site) -> None:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(site.connect("rooms")) for _ in range(2))
        for room in ("lobby", "garden"):
            assert asked(alice, "join", room) is True
        assert asked(bob, "join", "garden") is True
        said = asked(bob, "say", {"room": "garden", "from": " bob ", "text": " hello "})
        assert (said["room"], said["from"], said["text"]) == ("garden", "bob", "hello")
        assert received(alice) == ["said", said]
        assert asked(alice, "say", {"room": "lobby", "text": "x" * 3000})["text"] == "x" * 2000
        assert asked(alice, "leave", "garden") is True
        asked(bob, "say", {"room": "garden", "text": "is anybody here?"})
        assert asked(alice, "say", {"room": "garden", "text": "no"}) == {
            "error": "Not sent: enter the room, and write a message."
        }


def test_a_room_that_does_not_exist(site: Site) -> None:
    with site.connect("rooms") as ws:
        assert asked(ws, "join", "attic") is False
        assert asked(ws, "leave", "attic") is True
        assert "error" in asked(ws, "say", {"room": "attic", "text": "hello"})


@pytest.mark.parametrize("message", [7, ["say"], ["", {}], ["say", "text"], ["join", []], ["x", 1]])
def test_other_messages_end_the_websocket(site: Site, message: Any) -> None:
    with site.connect("rooms") as ws:
        ws.send(json.dumps(message))
        assert closed(ws) == 1011


def test_its_page_has_what_it_needs(site: Site) -> None:
    answer = site.request("GET", "/")
    assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
    sources = re.findall(r'(?:src|href)="(/[^"]+\.\w+)[^"]*"', answer.text)
    assert len(sources) == 5
    for source in sources:
        assert site.get(source)[0] == 200


def bare(source: str) -> str:
    """Return the class of a module without its docstrings and annotations."""
    (found,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    for node in ast.walk(found):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(found)


def test_its_events_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/from-flask-socketio.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"```python\n# events.py\n(.*?)```", page, re.DOTALL)
    here = Path(flask_rooms.__file__).with_name("events.py").read_text(encoding="utf-8")
    assert bare(here) == bare(documented)
