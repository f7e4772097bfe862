"""The end of a websocket's request, as error trackers and other wrappers see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .support import SECONDS, SETUPS, Setup, Site, each, eventually

pytestmark = pytest.mark.servers

NAMES = [name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain")]


@each(*NAMES, always=["gunicorn-gthread"])
def test_no_wrapper_takes_a_websocket_for_an_error(
    start: Callable[..., Site], setup: Setup
) -> None:
    site = start(setup, app="tracked.py")

    def seen() -> Any:
        return json.loads(site.get("/seen")[1])

    for _ in range(3):
        with site.connect("room", "subscribe-broadcast") as ws:
            site.broadcast("room", "hello")
            assert ws.recv(timeout=SECONDS) == "hello"
    eventually(lambda: seen()["answers"].count("101 Switching Protocols") == 3, "three answers")
    assert (seen()["sentry"], seen()["caught"], seen()["failed"]) == ([], [], [])
    site.get("/fail")  # they would have seen it
    # A span ends after its response has been sent.
    eventually(lambda: len(seen()["failed"]) == 1, "the span of the error has ended")
    assert set(seen()["sentry"]) == {"LookupError"}
