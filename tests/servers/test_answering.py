"""Endpoints that answer the handshake themselves, now or later, on all servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .answering import AGAIN
from .support import SECONDS, SETUPS, Setup, Site, each, eventually, in_matrix
from .wire import CLOSE, TEXT, frame

pytestmark = pytest.mark.servers

NAMES = [name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain")]
"""Those where the page is answered by the process that has the websockets, and beside them."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[*in_matrix(name, NAMES), pytest.mark.xdist_group(f"a-{name}")])
        for name in NAMES
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    setup = SETUPS[request.param]
    site = Site(
        setup,
        tmp_path_factory.mktemp("site"),
        redis_server.url,
        app="answering.py",
        config={"handshake_timeout": 30, "max_send_buffer": 100_000},
    )
    site.start()
    try:
        yield site
    finally:
        site.stop()


def ended(site: Site, facility: str) -> list[list[Any]]:
    found: list[list[Any]] = json.loads(site.get("/")[1]).get(facility, [])
    return found


def test_an_endpoint_accepts_later(site: Site) -> None:
    with site.connect("later", subprotocols=["one", "two"]) as ws:
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["X-Answered"] == "later"
        assert ws.recv(timeout=SECONDS) == "sent before"
        assert ws.recv(timeout=SECONDS) == "opened with two"
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        ws.close(4000, "done")
    eventually(lambda: [4000, "done"] in ended(site, "later"), "the endpoint is told of the end")


@pytest.mark.parametrize("facility", ["refused", "refused-later"])
def test_an_endpoint_refuses_with_json(site: Site, facility: str) -> None:
    with site.wire() as wire:
        answer = wire.refused(f"/ws/{facility}")
    assert (answer.status, answer.body) == (409, AGAIN)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-refused-by"] == "wsredis"
    assert answer.headers.get("x-quota") == ("3" if facility == "refused" else None)
    if facility == "refused-later":
        eventually(lambda: [1006, "Enough."] in ended(site, facility), "the endpoint has ended")


def test_an_endpoint_picks_a_subprotocol(site: Site) -> None:
    with site.connect("picks", subprotocols=["one", "two"]) as ws:
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["X-Answered"] == "at once"


def test_an_endpoint_holds_reading(site: Site) -> None:
    with site.connect("holds") as ws:
        for message in ("hold", "one", "hold", "two", "three"):
            ws.send(message)
        got = [ws.recv(timeout=SECONDS) for _ in range(5)]
        assert got == ["heard 0", "one", "heard 0", "two", "three"]
    with site.wire("/ws/holds") as wire:  # what comes before a close frame is heard
        code = (4000).to_bytes(2, "big")
        wire.send(frame(TEXT, b"hold") + frame(TEXT, b"last") + frame(CLOSE, code))
        assert [wire.receive_text() for _ in range(2)] == ["heard 0", "last"]
        assert wire.close_code() == 4000


def test_an_endpoint_is_told_that_its_messages_have_been_sent(site: Site) -> None:
    with site.wire(receive_buffer=65536) as wire:
        wire.upgrade("/ws/drains")
        wire.send(frame(TEXT, b"go"))
        while (text := wire.receive_text()) != "drained":
            assert set(text) == {"x"}


def test_a_client_that_disconnects_before_the_answer_is_noticed(site: Site) -> None:
    before = len(ended(site, "silent"))
    wire = site.wire()
    wire.send(wire.request("/ws/silent"))
    wire.socket.close()
    eventually(lambda: len(ended(site, "silent")) > before, "the endpoint is told of the end")


@each(*NAMES, always=["uwsgi-threads", "gunicorn-gthread"])
def test_a_hundred_pending_handshakes_hold_no_thread(
    start: Callable[..., Site], setup: Setup
) -> None:
    site = start(setup, app="answering.py", handshake_timeout=5)
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire()) for _ in range(100)]
        for wire in wires:
            wire.send(wire.request("/ws/silent"))
        assert site.get("/")[0] == 200  # a page is answered meanwhile
        for wire in wires:
            answer = wire.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    eventually(lambda: len(ended(site, "silent")) == 100, "each endpoint is told of the end")
