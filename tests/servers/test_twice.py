"""A handshake that is passed to the middleware again after its socket has been taken over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .support import Setup, Site, each, eventually
from .wire import TEXT

pytestmark = pytest.mark.servers


@each("uwsgi-gevent", "gunicorn-gthread", "pywsgi", "werkzeug")
def test_a_request_passed_on_twice_gets_400_and_its_websocket_stays_open(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup, app="twice.py")
    with site.wire(f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo") as wire:
        eventually(lambda: site.get("/answers")[1] == "400 Bad Request", "it is refused")
        wire.send_frame(TEXT, b"hello")
        assert wire.receive_text() == "hello"
