"""Servers that answer the handshake themselves, as those with gevent-websocket do."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from ..handshakes import NOTHING, DirectGate
from .support import Setup, Site, _gunicorn, eventually
from .wire import CLOSE

WORKER = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"

SETUPS = [
    Setup("gunicorn-gevent-websocket", _gunicorn("-k", WORKER)),
    Setup(
        "pywsgi-gevent-websocket",
        (sys.executable, "{here}/run.py", "gevent-websocket", "{port}", "{app}"),
    ),
]

ADVICE = "use gunicorn's worker class gevent instead of GeventWebSocketWorker"


@pytest.mark.servers
@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_a_websocket_of_the_server_is_closed_and_nothing_is_written_into_it(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup)
    with site.wire(f"/ws/{room}?subscribe-broadcast") as wire:
        first, _ = wire.receive()
        assert first == 0x80 | CLOSE
        wire.send_frame(CLOSE)
        with pytest.raises((EOFError, ConnectionError)):
            wire.receive()
    eventually(lambda: site.lines(f"ERROR wsredis.servers .*{ADVICE}"), "it says what to use")
    assert len(site.lines(ADVICE)) == 1
    assert site.get("/page") == (200, "page /page")
    assert site.stats()["accepted"] == 0


class Websocket:
    """The websocket of a server."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def gate() -> Iterator[DirectGate]:
    gate = DirectGate()
    yield gate
    gate.close()


@pytest.mark.parametrize("error", [None, OSError("the client has disconnected")])
def test_a_handshake_that_is_answered_gets_no_second_answer(
    gate: DirectGate, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    websocket = Websocket(error)
    near, far = socket.socketpair()
    environ = {
        "PATH_INFO": "/ws/news",
        "wsgi.websocket": websocket,
        "werkzeug.socket": near,
    }
    with near, far, caplog.at_level(logging.INFO):
        answers: list[object] = []
        assert list(gate.middleware(environ, lambda *args: answers.append(args))) == []
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)
    assert answers == []
    assert websocket.closed == 1
    assert gate.taken() == NOTHING
    said = [record.levelname for record in caplog.records]
    assert said == ["ERROR", "INFO"] if error else ["ERROR"]


def test_a_server_that_has_not_answered_is_served_as_others(gate: DirectGate) -> None:
    status, _ = gate.ask(**{"wsgi.websocket": None})
    assert status == "101 Switching Protocols"
