"""The parts of a handshake for resolvers: the subprotocol marker, and the allowed origin."""

from __future__ import annotations

from typing import Any

import pytest
from webob import Request

from wsredis.config import Config
from wsredis.handshake.upgrade import read_handshake
from wsredis.protocol.http import CHECKED_ORIGIN

ORIGIN = "http://localhost:8000"


def environ(**changes: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost:8000",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        **changes,
    }


@pytest.mark.parametrize(
    ("known", "offers", "chosen"),
    [
        ((), "wsredis.ticket, abc", "wsredis.ticket"),
        ((), "chat.v1, wsredis.token, abc", "wsredis.token"),
        (("chat.v1",), "chat.v1, wsredis.token, abc", "chat.v1"),
        (("chat.v1",), "wsredis.token, chat.v1", "wsredis.token"),
        (("*",), "wsredis.ticket, abc", "wsredis.ticket"),
        (("*",), "any, wsredis.ticket, abc", "any"),
        (("abc",), "wsredis.ticket, abc", "wsredis.ticket"),
        ((), "chat.v1, abc", None),
    ],
)
def test_the_marker_is_answered_where_no_other_offer_is_spoken(
    known: tuple[str, ...], offers: str, chosen: str | None
) -> None:
    request = Request(environ(HTTP_SEC_WEBSOCKET_PROTOCOL=offers))
    settled = read_handshake(request, Config(subprotocols=known))
    assert settled.subprotocol == chosen
    answer = dict(settled.answer(settled.subprotocol, ()))
    assert answer.get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    ("origins", "changes", "kept"),
    [
        (None, {"HTTP_ORIGIN": ORIGIN}, ORIGIN),
        ((ORIGIN,), {"HTTP_ORIGIN": ORIGIN}, ORIGIN),
        (("tauri://localhost",), {"HTTP_ORIGIN": "tauri://localhost"}, "tauri://localhost"),
        # A frame of any page can send it.
        (("null",), {"HTTP_ORIGIN": "null"}, None),
        # Without a check there is no origin that one could rely on.
        (("*",), {"HTTP_ORIGIN": ORIGIN}, None),
        (None, {}, None),
    ],
)
def test_a_checked_origin_is_marked_as_checked(
    origins: tuple[str, ...] | None, changes: dict[str, str], kept: str | None
) -> None:
    request = Request(environ(**changes))
    read_handshake(request, Config(origins=origins))
    assert request.environ.get(CHECKED_ORIGIN) == kept
