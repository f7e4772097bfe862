"""A process for websockets only, and a server that cannot serve websockets."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from .support import SECONDS, Setup, Site, each

pytestmark = pytest.mark.servers

WAITRESS = Setup("waitress", (sys.executable, "{here}/run.py", "waitress", "{port}", "{app}"))


@each("uwsgi-gevent", "gunicorn-gthread", "pywsgi", "wsgiref")
def test_without_a_site_all_but_websockets_is_404(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup, app="bare.py")
    for path in ("/", "/ws", "/wsfoo", "/stats"):
        status, body = site.get(path)
        assert status == 404
        assert "/ws/" in body
    assert site.get("/ws/x")[0] == 400
    with site.connect(room, "subscribe-broadcast", "publish-broadcast", "echo") as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"


def test_waitress_has_pages_and_a_501_that_names_servers_which_work(
    start: Callable[..., Site], room: str
) -> None:
    site = start(WAITRESS)
    assert site.get("/page") == (200, "page /page")
    with site.wire() as wire:
        answer = wire.refused(f"/ws/{room}?subscribe-broadcast")
    assert answer.status == 501
    for name in ("uWSGI", "gunicorn", "gevent.pywsgi"):
        assert name in answer.body
    assert site.get("/page") == (200, "page /page")
