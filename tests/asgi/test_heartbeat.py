"""The text of the option ``heartbeat`` and the websockets of an ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.client import connect

from ..servers.support import SECONDS, Setup, Site, each

pytestmark = pytest.mark.servers

HEARTBEAT = "--heartbeat--"


@each("uwsgi-gevent", "uwsgi-threads", "gunicorn-gevent", "gunicorn-gthread")
def test_it_stays_outside(start: Callable[..., Site], setup: Setup, room: str) -> None:
    """Another websocket gets it twice meanwhile; what a client sends as such is a message."""
    options: dict[str, Any] = {"heartbeat": HEARTBEAT, "heartbeat_interval": 0.2}
    site = start(setup, app="hosted.py", prefix="/live/", asgi_prefix="/ws/", **options)
    url = f"ws://127.0.0.1:{site.port}/live/{room}?subscribe-broadcast"
    with site.connect("echo") as hosted, connect(url, proxy=None) as other:
        assert [other.recv(timeout=SECONDS) for _ in range(2)] == [HEARTBEAT] * 2
        messages = ["first", HEARTBEAT, "last"]
        for message in messages:
            hosted.send(message)
        assert [hosted.recv(timeout=SECONDS) for _ in messages] == messages
