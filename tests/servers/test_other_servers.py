"""Servers that run only some of the tests: cheroot, and the sync worker of gunicorn.

The sync worker runs all of them in `make test-all`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from .support import SECONDS, SETUPS, Setup, Site, closed
from .wire import TEXT, frame

pytestmark = [
    pytest.mark.servers,
    pytest.mark.parametrize(
        "setup",
        [
            Setup("cheroot", (sys.executable, "{here}/run.py", "cheroot", "{port}", "{app}")),
            SETUPS["gunicorn-sync"],
        ],
        ids=str,
    ),
]

Start = Callable[..., Site]
TALK = ("subscribe-broadcast", "publish-broadcast", "echo")
MANY = 40
"""More websockets than cheroot has threads, which are ten."""


def test_more_websockets_than_threads_talk_while_pages_are_served(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup)
    with ExitStack() as stack:
        sockets = [stack.enter_context(site.connect(room, *TALK)) for _ in range(MANY)]
        assert site.get("/page") == (200, "page /page")
        sockets[0].send("from a websocket")
        site.broadcast(room, "from a view")
        for ws in sockets:
            assert {ws.recv(SECONDS), ws.recv(SECONDS)} == {"from a websocket", "from a view"}
        sockets[-1].send("x" * 2**20 * 2)
        assert closed(sockets[-1]) == 1009
        assert site.get("/page") == (200, "page /page")


def test_bytes_behind_a_handshake_are_not_lost(start: Start, setup: Setup, room: str) -> None:
    site = start(setup)
    with site.wire() as wire:
        answer = wire.upgrade(f"/ws/{room}?{'&'.join(TALK)}", behind=frame(TEXT, b"early"))
        assert answer.status == 101
        assert wire.receive_text() == "early"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_clients_get_1012_before_it_ends(
    start: Start, setup: Setup, room: str, signum: signal.Signals
) -> None:
    site = start(setup)
    with site.connect(room, "subscribe-broadcast") as ws:
        site.get("/page")  # the only thread of the sync worker has left the handshake
        site.signal(signum)
        assert closed(ws) == 1012
    site.wait()


def test_a_refusal_is_an_answer(start: Start, setup: Setup, room: str) -> None:
    site = start(setup)
    with site.wire() as wire:
        answer = wire.refused(f"/ws/{room}", sec_websocket_version="8")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    with site.wire() as wire:
        assert wire.refused(f"/ws/{room}", origin="http://evil.example").status == 403
