"""What a handshake says: to who is refused, and to the rooms behind it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from webob import Request

from wsredis.config import Config
from wsredis.exceptions import HandshakeError, PermissionDenied
from wsredis.handshake.origin import NOT_LISTED, NOT_OWN
from wsredis.handshake.refusal import answer
from wsredis.handshake.upgrade import WITH_BODY, read_handshake
from wsredis.protocol.http import CHECKED_ORIGIN

from .support import environ, refused, shake


def test_a_handshake_is_settled_once_and_for_all() -> None:
    settled = shake()
    for name in ("headers", "anything"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(settled, name, ())
    assert not hasattr(settled, "__dict__")


@pytest.mark.parametrize("length", [None, "", "0"])
def test_no_body_is_no_body_however_a_server_says_so(length: str | None) -> None:
    assert shake(CONTENT_LENGTH=length).headers


def test_each_refusal_has_its_sentence() -> None:
    assert WITH_BODY.startswith("A handshake has no body")
    assert refused(CONTENT_LENGTH="5").text == WITH_BODY
    assert "Cookies" in refused(HTTP_ORIGIN=None, HTTP_COOKIE="a=b").text
    assert refused(HTTP_ORIGIN="http://example.com").text == NOT_OWN
    listed = Config(origins=["http://localhost:8000"])
    assert refused(listed, HTTP_ORIGIN="http://example.com").text == NOT_LISTED


def test_an_origin_that_was_checked_is_marked_and_no_other() -> None:
    for origin in ("http://localhost:8000", None):
        asked = environ(HTTP_ORIGIN=origin)
        read_handshake(Request(asked), Config())
        assert asked.get(CHECKED_ORIGIN) == origin


def test_an_origin_with_a_space_is_none_whatever_the_host_is_called() -> None:
    assert refused(HTTP_ORIGIN="http://alice bob", HTTP_HOST="alice bob").status == 403


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HandshakeError(400, "No."), "400 Bad Request"),
        (PermissionDenied("Nicht für dich."), "403 Forbidden"),
        (HandshakeError(404, "Nothing is here."), "404 Not Found"),
        (HandshakeError(426, "Old.", [("Sec-WebSocket-Version", "13")]), "426 Upgrade Required"),
        (HandshakeError(429, "Too much.", [("Retry-After", "2")]), "429 Too Many Requests"),
        (HandshakeError(500, "Broken."), "500 Internal Server Error"),
        (HandshakeError(501, "No sockets."), "501 Not Implemented"),
        (HandshakeError(503, "Full.", [("Retry-After", "2")]), "503 Service Unavailable"),
        (HandshakeError(418, "Short and stout."), "418 Refused"),
    ],
)
def test_a_refusal_is_answered_with_one_plain_sentence(error: HandshakeError, line: str) -> None:
    sent: list[Any] = []
    (body,) = answer(error, lambda status, headers: sent.append((status, headers)))
    ((status, headers),) = sent
    assert status == line
    assert body.decode() == error.text + "\n"
    assert dict(headers)["Content-Length"] == str(len(body))
    assert dict(headers)["Content-Type"] == "text/plain; charset=utf-8"
    assert dict(headers)["Cache-Control"] == "no-store"
    assert dict(headers)["X-Refused-By"] == "wsredis"
    assert set(error.headers) <= set(headers)
    assert re.fullmatch(r"[^\r\n]+", status)
