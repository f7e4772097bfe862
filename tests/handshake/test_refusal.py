"""The responses to refused handshakes, and the marks that a handshake leaves in the environ."""

from __future__ import annotations

import re
from typing import Any

import pytest
from webob import Request

from wsredis.config import Config
from wsredis.exceptions import HandshakeError, PermissionDenied
from wsredis.handshake.refusal import answer, answer_bytes
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
    assert WITH_BODY.startswith("A websocket handshake must not have a body")
    assert refused(CONTENT_LENGTH="5").text == WITH_BODY
    assert "needs an Origin header" in refused(HTTP_ORIGIN=None, HTTP_COOKIE="a=b").text


NOT_OWN = (
    "Origin {} does not match Host {}. Add the origin to `origins`, or configure the proxy to"
    " forward the Host header."
).format
NO_SITE = (
    "Origin {} is not that of a website. Open the page over http or https, not as a local file or"
    " in a sandboxed frame."
).format
OF_APPLICATION = " If it is that of an application, add it to `origins` as it is written here."
BEHIND = {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_HOST": "a.example:8443"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"HTTP_ORIGIN": "https://a.example"}, NOT_OWN("https://a.example", "localhost:8000")),
        (
            {"HTTP_ORIGIN": "https://a.example", **BEHIND},
            NOT_OWN("https://a.example", "a.example:8443"),
        ),
        (
            {"wsgi_url_scheme": "https"},
            NOT_OWN("http://localhost:8000", "localhost:8000 with https"),
        ),
        (
            {"HTTP_ORIGIN": "https://a.example", "HTTP_HOST": None},
            NOT_OWN("https://a.example", "(none)"),
        ),
        (
            {"HTTP_ORIGIN": "https://a.example", "HTTP_HOST": ""},
            NOT_OWN("https://a.example", "(none)"),
        ),
        (
            {"HTTP_ORIGIN": "https://a.example", "HTTP_HOST": "x" * 200},
            NOT_OWN("https://a.example", "x" * 97 + "..."),
        ),
        (
            {"HTTP_ORIGIN": "http://{host}" + "h" * 5000},
            NOT_OWN("http://{host}" + "h" * 84 + "...", "localhost:8000"),
        ),
        ({"HTTP_ORIGIN": ""}, NO_SITE('""')),
        ({"HTTP_ORIGIN": "null"}, NO_SITE("null")),
        (
            {"HTTP_ORIGIN": "chrome-extension://abc"},
            NO_SITE("chrome-extension://abc") + OF_APPLICATION,
        ),
        (
            {"HTTP_ORIGIN": "\xe2\x80\xae\r\n\x1b[2J"},
            NO_SITE("%C3%A2%C2%80%C2%AE%0D%0A%1B[2J"),
        ),
        ({"HTTP_ORIGIN": "h" * 5000}, NO_SITE("h" * 97 + "...")),
        ({"HTTP_ORIGIN": "{host}"}, NO_SITE("{host}")),
    ],
)
def test_a_foreign_origin_is_told_what_does_not_match(changes: dict[str, Any], text: str) -> None:
    assert refused(Config(trusted_proxies=["192.0.2.1"]), **changes).text == text


def test_an_origin_that_is_not_listed_is_told_where_to_add_it() -> None:
    listed = Config(origins=["http://localhost:8000"])
    text = "Origin http://example.com is not listed in `origins`. Add the origin there."
    assert refused(listed, HTTP_ORIGIN="http://example.com").text == text


def test_the_origin_null_is_not_told_to_be_added() -> None:
    for config in (Config(), Config(origins=["http://localhost:8000"])):
        assert refused(config, HTTP_ORIGIN="null").text == NO_SITE("null")


def test_an_origin_that_was_checked_is_marked_and_no_other() -> None:
    for origin in ("http://localhost:8000", None):
        asked = environ(HTTP_ORIGIN=origin)
        read_handshake(Request(asked), Config())
        assert asked.get(CHECKED_ORIGIN) == origin
    asked = environ(HTTP_ORIGIN="null")
    read_handshake(Request(asked), Config(origins=["null"]))
    assert CHECKED_ORIGIN not in asked


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
        (HandshakeError(599, "No."), "599 Refused"),
    ],
)
def test_a_refusal_is_answered_with_one_plain_sentence(error: HandshakeError, line: str) -> None:
    sent: list[Any] = []
    (body,) = answer(error, lambda status, headers: sent.append((status, headers)), {})
    ((status, headers),) = sent
    assert status == line
    assert body.decode() == error.text + "\n"
    assert dict(headers)["Content-Length"] == str(len(body))
    assert dict(headers)["Content-Type"] == "text/plain; charset=utf-8"
    assert dict(headers)["Cache-Control"] == "no-store"
    assert dict(headers)["X-Refused-By"] == "wsredis"
    assert set(error.headers) <= set(headers)
    assert re.fullmatch(r"[^\r\n]+", status)


@pytest.mark.parametrize("software", ["uwsgi", "", "WSGIServer/0.2"])
def test_a_426_names_the_protocol_where_the_server_allows_it(software: str) -> None:
    sent: dict[str, str] = {}
    error = HandshakeError(426, "Old.", [("Sec-WebSocket-Version", "13")])
    answer(error, lambda status, headers: sent.update(headers), {"SERVER_SOFTWARE": software})
    assert sent["Sec-WebSocket-Version"] == "13"
    allowed = software != "WSGIServer/0.2"
    assert sent.get("Upgrade") == ("websocket" if allowed else None)
    assert sent.get("Connection") == ("Upgrade" if allowed else None)


def test_a_426_on_a_taken_socket_names_the_protocol_too() -> None:
    head = answer_bytes(HandshakeError(426, "Old.")).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert {b"Upgrade: websocket", b"Connection: Upgrade, close"} <= set(head)
    head = answer_bytes(HandshakeError(403, "No.")).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert b"Connection: close" in head
    assert not any(line.startswith(b"Upgrade:") for line in head)


@pytest.mark.parametrize(
    "name", ["connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Upgrade"]
)
def test_a_refusal_cannot_have_a_header_of_the_response_itself(name: str) -> None:
    error = HandshakeError(404, "There is no such room.", [("X-Room", "7"), (name, "1")])
    with pytest.raises(ValueError, match=f"wsredis sets the header {name} itself"):
        answer_bytes(error)
    sent: list[Any] = []
    (body,) = answer(error, lambda status, headers: sent.append((status, dict(headers))), {})
    ((status, headers),) = sent
    assert status == "500 Internal Server Error"
    assert b"server error" in body
    assert "X-Room" not in headers
