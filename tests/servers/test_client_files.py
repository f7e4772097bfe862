"""The browser client, served by the middleware on each server."""

from __future__ import annotations

from pathlib import Path

import pytest

import wsredis

from .support import Site
from .wire import TEXT

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("steady")]

FILE = Path(wsredis.__file__).parent / "static" / "wsredis" / "wsredis.js"


def test_the_client_is_served_and_not_sent_twice(server: Site) -> None:
    answer = server.request("GET", "/ws/wsredis.js")
    assert answer.status == 200
    assert answer.text == FILE.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    head = server.request("HEAD", "/ws/wsredis.js")
    assert (head.status, head.text) == (200, "")  # type: ignore[attr-defined]
    assert head.headers["Content-Length"] == str(FILE.stat().st_size)
    known = {"If-None-Match": answer.headers["ETag"]}
    again = server.request("GET", "/ws/wsredis.js", headers=known)
    assert (again.status, again.text) == (304, "")  # type: ignore[attr-defined]


def test_a_websocket_may_have_the_name_of_the_file(server: Site) -> None:
    with server.wire("/ws/wsredis.js?subscribe-broadcast&publish-broadcast&echo") as wire:
        wire.send_frame(TEXT, b"hello")
        assert wire.receive_text() == "hello"
