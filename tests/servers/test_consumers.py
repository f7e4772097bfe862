"""Consumers on each server, and the same ones as ASGI applications on uvicorn."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from wsredis import Config
from wsredis.config import sources
from wsredis.layers import configure_layers, get_channel_layer

from .support import SECONDS, SETUPS, UVICORN, Site, closed, eventually, in_matrix, new_room

pytestmark = pytest.mark.servers

NAMES = [name for name in SETUPS if name not in ("wsgiref-plain",)]
ON_UVICORN = replace(UVICORN, command=(*UVICORN.command[:-1], "consuming:asgi"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[*in_matrix(name, NAMES), pytest.mark.xdist_group(f"n-{name}")])
        for name in [*NAMES, "uvicorn"]
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    setup = SETUPS.get(request.param, ON_UVICORN)
    config = {"handshake_timeout": 2, "shutdown_timeout": 3}
    site = Site(setup, folder, redis_server.url, app="consuming.py", config=config)
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture
def elsewhere(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the channel layer of another process."""
    monkeypatch.setattr(sources, "_current", Config(redis=redis_server.url))
    configure_layers(None)
    yield get_channel_layer()
    configure_layers(None)


KINDS = pytest.mark.parametrize("kind", ["chat", "async"])


@KINDS
def test_a_group(site: Site, kind: str, elsewhere: Any) -> None:
    room = new_room()
    with site.connect(f"{kind}/{room}") as one, site.connect(f"{kind}/{room}") as two:
        for send in (
            lambda: one.send("hello"),
            lambda: site.get(f"/push/{room}/hello"),
            lambda: elsewhere.group_send(room, {"type": "chat.message", "text": "hello"}),
        ):
            send()
            assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["hello", "hello"]
        one.send(b"\x00")
        assert one.recv(timeout=SECONDS) == b"\x00"
        two.close(3456)
        eventually(lambda: site.get(f"/ended/{room}")[1] == "[3456]", "its end is handled")
        site.get(f"/price/{room}")
        assert one.recv(timeout=SECONDS) == "price 5"


def test_both_kinds_in_one_group(site: Site) -> None:
    room = new_room()
    with site.connect(f"chat/{room}") as one, site.connect(f"async/{room}") as two:
        for sender in (one, two):
            sender.send("hello")
            assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["hello", "hello"]


@KINDS
def test_a_channel(site: Site, kind: str, elsewhere: Any) -> None:
    with site.connect(f"{kind}/{new_room()}") as ws:
        ws.send("name")
        name = ws.recv(timeout=SECONDS)
        elsewhere.send(name, {"type": "chat.message", "text": "only you"})
        assert ws.recv(timeout=SECONDS) == "only you"
        room = new_room()
        elsewhere.group_add(room, name)

        def pushed() -> bool:
            elsewhere.group_send(room, {"type": "chat.message", "text": "added"})
            try:
                return ws.recv(timeout=0.2) == "added"
            except TimeoutError:
                return False

        eventually(pushed, "it was added by another process")


@KINDS
def test_an_event_cannot_command_a_websocket(site: Site, kind: str, elsewhere: Any) -> None:
    room = new_room()
    with site.connect(f"{kind}/{room}") as ws:
        elsewhere.group_send(room, {"type": "close", "code": 4000})
        elsewhere.group_send(room, {"type": "websocket.disconnect", "code": 4000})
        elsewhere.group_send(room, {"type": "chat.message", "text": "still here"})
        assert ws.recv(timeout=SECONDS) == "still here"


@pytest.mark.parametrize(
    ("word", "code", "on_uvicorn"),
    [
        *(("deny", 403, 403), ("close", 403, 403), ("raise", 500, 500), ("stop", 500, 500)),
        *(("exit", 500, None), ("early", 500, 500), ("silent", 503, None)),
        *(("after", 403, 403), ("unknown", 500, None)),
    ],
)
def test_refusals(site: Site, word: str, code: int, on_uvicorn: int | None) -> None:
    wanted = on_uvicorn if site.setup is ON_UVICORN else code
    if wanted is None:
        pytest.skip("uvicorn ends its process, waits without an end, or sends any subprotocol")
    room = new_room()
    with pytest.raises(InvalidStatus) as info, site.connect(f"acts/{word}-{room}"):
        pass
    assert info.value.response.status_code == wanted
    assert b"secret" not in (info.value.response.body or b"")
    if word in ("deny", "close"):
        eventually(lambda: site.get(f"/ended/{room}")[1] == "[1006]", "its end is handled")


def test_a_path_without_a_route(site: Site) -> None:
    if site.setup.name == "wsgiref":
        pytest.skip("it answers with HTTP/1.0, which the client does not read")
    for url in (site.url("nowhere"), site.url("chat/"), site.url("x").replace("/ws/", "/chat/")):
        with pytest.raises(InvalidStatus) as info, connect(url, proxy=None):
            pass
        # On an ASGI server a router raises.
        assert info.value.response.status_code == (500 if site.setup is ON_UVICORN else 404)


@pytest.mark.parametrize("path", ["payment", "async-payment"])
def test_a_refusal_with_a_response_of_the_consumer(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus) as info, site.connect(path):
        pass
    response = info.value.response
    assert (response.status_code, response.body) == (402, b"pay first")
    assert response.headers["x-name"] == "value"


@pytest.mark.parametrize("path", ["early", "async-early"])
def test_an_event_before_the_websocket_is_open_is_handled_afterwards(site: Site, path: str) -> None:
    with site.connect(f"{path}/{new_room()}") as ws:
        assert ws.recv(timeout=SECONDS) == "early"


@KINDS
def test_an_exception_in_the_handler_of_an_event(site: Site, kind: str) -> None:
    room = new_room()
    with site.connect(f"{kind}/{room}") as ws:
        site.get(f"/bad/{room}")
        assert (closed(ws) or 1006) == (1006 if site.setup is ON_UVICORN else 1011)


def test_accepted_and_closed(site: Site) -> None:
    with site.connect(f"acts/last-{new_room()}") as ws:
        assert closed(ws) == 4001
        assert ws.close_reason == "bye"


@pytest.mark.parametrize(
    ("word", "code", "on_uvicorn"),
    [
        *(("raise", 1011, 1006), ("stop", 1000, 1006), ("close", 4001, 4001)),
        *(("early", None, None), ("surrogate", 1011, 1006), ("after", 4001, 4001)),
    ],
)
def test_ends(site: Site, word: str, code: int | None, on_uvicorn: int | None) -> None:
    room = new_room()
    with site.connect(f"acts/ok-{room}") as ws:
        ws.send(json.dumps(word))
        if code is None:
            assert ws.recv(timeout=SECONDS) == "too early"
        else:
            wanted = on_uvicorn if site.setup is ON_UVICORN else code
            assert (closed(ws) or 1006) == wanted
    if word == "close":
        eventually(lambda: site.get(f"/ended/{room}")[1] == "[4001]", "its end is handled")


@pytest.mark.parametrize(("message", "code"), [("{", 1007), (b"{}", 1003)])
def test_what_is_not_json(site: Site, message: Any, code: int) -> None:
    with site.connect("acts/ok") as ws:
        ws.send(message)
        assert closed(ws) == code


def test_a_slow_reader_gets_all(site: Site) -> None:
    with site.connect("acts/ok", max_size=None) as ws:
        ws.send('"pour"')
        for number in range(100):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 100_000
        assert ws.recv(timeout=SECONDS) == "all"


def test_a_handshake_that_blocks_delays_no_page(site: Site) -> None:
    if site.setup.name == "wsgiref":
        pytest.skip("it answers one request at a time")

    def handshake() -> None:
        with site.connect("acts/block") as ws:
            assert ws.recv(timeout=SECONDS) == "blocked"

    clients = [threading.Thread(target=handshake) for _ in range(4)]
    for client in clients:
        client.start()
    assert site.get("/")[0] == 200
    for client in clients:
        client.join()


def test_the_end_of_the_server_waits_for_consumers(site: Site, tmp_path: Path) -> None:
    if site.setup.name == "uwsgi-router":
        pytest.skip("the router of the master would end first")
    files = [tmp_path / "plain", tmp_path / "async"]
    try:
        with (
            site.connect("last", str(files[0])) as one,
            site.connect("async-last", str(files[1])) as two,
        ):
            site.signal(signal.SIGTERM)
            assert [closed(one), closed(two)] == [1012, 1012]
        site.wait()  # a second signal would end it at once
    finally:
        site.stop()
        site.start()
    assert [each.read_text() for each in files] == ["1012", "1012"]
