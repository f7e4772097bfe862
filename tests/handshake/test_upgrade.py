"""The opening handshake: valid requests, the 101 response, and the facility."""

from __future__ import annotations

from typing import Any

import pytest
from webob import Request

from wsredis.exceptions import HandshakeError
from wsredis.handshake.upgrade import Handshake, facility_of

from .support import environ, refused, shake


def test_a_good_handshake_settles_the_101() -> None:
    # The key and its answer stand in RFC 6455 section 1.3.
    assert shake() == Handshake(
        (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        )
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"HTTP_UPGRADE": "WebSocket"},
        {"HTTP_UPGRADE": "h2c, websocket"},
        {"HTTP_CONNECTION": "keep-alive, Upgrade"},
        {"HTTP_CONNECTION": "UPGRADE"},
        {"SERVER_PROTOCOL": None},
        {"HTTP_SEC_WEBSOCKET_VERSION": " 13 "},
    ],
)
def test_token_lists_are_read_as_such(changes: dict[str, Any]) -> None:
    assert shake(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"HTTP_UPGRADE": None},
        {"HTTP_UPGRADE": "h2c"},
        {"HTTP_UPGRADE": "xwebsocket"},
        {"HTTP_CONNECTION": None},
        {"HTTP_CONNECTION": "keep-alive"},
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "HEAD"},
    ],
)
def test_what_is_no_upgrade_is_400_and_told_what_this_is(changes: dict[str, Any]) -> None:
    refusal = refused(**changes)
    assert refusal.status == 400
    assert refusal.text == (
        "This address serves websockets only: open it with a websocket client, such as"
        " new WebSocket(). Behind a proxy, forward the headers Upgrade and Connection."
    )
    assert refusal.headers == ((("Allow", "GET"),) if "REQUEST_METHOD" in changes else ())


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9"])
def test_an_old_http_is_400_with_the_line_that_mends_it(protocol: str) -> None:
    refusal = refused(SERVER_PROTOCOL=protocol)
    assert refusal.status == 400
    assert "proxy_http_version 1.1;" in refusal.text


def test_a_handshake_with_a_body_is_400() -> None:
    assert refused(CONTENT_LENGTH="1").status == refused(HTTP_TRANSFER_ENCODING="x").status == 400


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Content-Length",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions",
        "Transfer-Encoding",
        "upgrade",
    ],
)
def test_an_endpoint_cannot_add_a_header_of_the_handshake(name: str) -> None:
    with pytest.raises(ValueError, match=f"wsredis sets the header {name} itself"):
        shake().answer(None, [("X-Room", "7"), (name, "1")])


@pytest.mark.parametrize(("offered", "shown"), [(None, "none"), ("one, two", "one, two")])
def test_a_subprotocol_that_was_not_offered_cannot_be_chosen(
    offered: str | None, shown: str
) -> None:
    handshake = shake(HTTP_SEC_WEBSOCKET_PROTOCOL=offered)
    with pytest.raises(ValueError, match=rf"choose one that it offers \({shown}\)\.$"):
        handshake.answer("three", ())


@pytest.mark.parametrize("version", [None, "", "8", "14", "13, 13", "x"])
def test_another_version_is_426_and_told_which_one_is_spoken(version: str | None) -> None:
    refusal = refused(HTTP_SEC_WEBSOCKET_VERSION=version)
    assert refusal.status == 426
    assert ("Sec-WebSocket-Version", "13") in refusal.headers


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "c2hvcnQ=",
        "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n",
        "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBs!SBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ\xe9==",
    ],
)
def test_a_key_that_is_not_16_bytes_in_base64_is_400(key: str | None) -> None:
    refusal = refused(HTTP_SEC_WEBSOCKET_KEY=key)
    assert refusal.status == 400
    assert "16 bytes" in refusal.text


# The facility


@pytest.mark.parametrize(
    ("path", "facility"),
    [
        ("/ws/news", "news"),
        ("/ws/", ""),
        ("/ws//a", "/a"),
        ("/ws/../x", "../x"),
        ("/ws/%2F:", "%2F:"),
        ("/ws/Zo\xc3\xab", "Zoë"),
        ("/ws/\x00\r\n", "\x00\r\n"),
    ],
)
def test_the_facility_is_what_follows_the_prefix_decoded_once(path: str, facility: str) -> None:
    assert facility_of(Request(environ(PATH_INFO=path)), "/ws/") == facility


@pytest.mark.parametrize("path", ["/ws/\xff", "/ws/Zo\xeb", "/ws/\xed\xa0\x80", "/ws/\xef\xbf\xbd"])
def test_a_facility_that_is_not_utf8_is_400(path: str) -> None:
    with pytest.raises(HandshakeError, match="UTF-8") as refusal:
        facility_of(Request(environ(PATH_INFO=path)), "/ws/")
    assert refusal.value.status == 400
