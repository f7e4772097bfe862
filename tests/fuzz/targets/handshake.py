"""A request is a valid handshake, or is refused with a harmless HTTP response."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from hypothesis import strategies as st
from webob import Request

from wsredis.config import Config
from wsredis.exceptions import HandshakeError
from wsredis.handshake.refusal import answer
from wsredis.handshake.upgrade import Handshake, facility_of, read_handshake
from wsredis.protocol.http import MARKERS, split_offers

from ._requests import environ, requests

LISTED = "https://a.example"

CONFIGS = (
    Config(),
    Config(origins=(LISTED,), subprotocols=("chat.v1", "chat.v2"), trusted_proxies=("192.0.2.1",)),
    Config(origins=("*",), subprotocols=("*",), compression=False),
)

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LINE = re.compile(r"[ -~]+")


def check(data: bytes) -> None:
    """Hold that a request gives a `Handshake` or a `HandshakeError`, and nothing else.

    No answer has a CR, an LF or a character beyond ASCII in a header, whatever the client has sent,
    and an error's text is one printable line. A handshake is a GET with version 13 and a key of 16
    bytes, from an origin that is let in; it gets the accept of RFC 6455 section 4.2.2 and one
    subprotocol of those offered, never a credential.
    """
    for config in CONFIGS:
        request = Request(environ(data))
        try:
            handshake = read_handshake(request, config)
            facility = facility_of(request, config.prefix)
        except HandshakeError as refused:
            check_refusal(refused, request.environ)
        else:
            check_handshake(handshake, request.environ, config)
            assert facility == facility.encode().decode()


def check_refusal(refused: HandshakeError, given: dict[str, Any]) -> None:
    """Send the answer and look at it."""
    said: list[tuple[str, list[tuple[str, str]]]] = []
    (body,) = answer(refused, lambda *what: said.append(what), given)
    ((status, headers),) = said
    assert re.fullmatch(r"[45]\d\d [ -~]+", status)
    check_headers(headers)
    text = body.decode()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert dict(headers)["Content-Length"] == str(len(body))


def check_headers(headers: Any) -> None:
    """Let no header end early or say something of its own."""
    for name, value in headers:
        assert TOKEN.fullmatch(name)
        assert LINE.fullmatch(value)


def check_handshake(handshake: Handshake, asked: dict[str, Any], config: Config) -> None:
    """Compare what was granted with what was asked for."""
    answer = handshake.answer(handshake.subprotocol, ())
    headers = dict(answer)
    assert len(headers) == len(answer)
    check_headers(answer)
    assert asked["REQUEST_METHOD"] == "GET"
    assert asked["HTTP_SEC_WEBSOCKET_VERSION"].strip() == "13"
    key = asked["HTTP_SEC_WEBSOCKET_KEY"].strip()
    assert len(base64.b64decode(key)) == 16
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    assert headers["Sec-WebSocket-Accept"] == accept
    check_origin(asked, config)
    names, marker, _ = split_offers(asked)
    chosen = handshake.subprotocol
    assert headers.get("Sec-WebSocket-Protocol") == chosen
    assert chosen is None or TOKEN.fullmatch(chosen)
    assert chosen is None or chosen in names or chosen == marker
    assert set(handshake.offered) <= set(names)
    for name in handshake.offered:  # what an endpoint may choose
        check_headers(handshake.answer(name, ()))
    assert chosen in (None, *MARKERS, *config.subprotocols) or "*" in config.subprotocols
    assert handshake.window_bits in (0, *range(9, 16))
    assert bool(handshake.window_bits) == ("Sec-WebSocket-Extensions" in headers)
    assert not handshake.window_bits or config.compression


def check_origin(asked: dict[str, Any], config: Config) -> None:
    """Ask whether a page of another site may have sent this, its visitor's cookies with it."""
    if config.origins is not None and "*" in config.origins:
        return
    origin = asked.get("HTTP_ORIGIN")
    if origin is None:
        assert "HTTP_COOKIE" not in asked
        return
    host = "a.example" if config.origins else asked.get("HTTP_HOST") or "a.example:8000"
    scheme, _, place = origin.lower().partition("://")
    assert scheme == "https" or (scheme == "http" and not config.origins)
    assert without_port(place, scheme) == without_port(host.lower(), scheme)


def without_port(place: str, scheme: str) -> tuple[str, int]:
    """Return host and port of a place, the port of the scheme if there is none."""
    if found := re.fullmatch(r"(.+):([0-9]*)", place):
        host, port = found.groups()
        return host, int(port) if port else {"http": 80, "https": 443}[scheme]
    return place, {"http": 80, "https": 443}[scheme]


INPUTS = requests(
    st.sampled_from(["GET /ws/news", "GET /ws/a%0d%0ab", "GET /ws/%ff?echo", "POST /ws/", "GET"]),
    Host=["a.example", "a.example:8000", "[::1]:8000", "b.example"],
    Upgrade=["websocket", "WebSocket", "h2c"],
    Connection=["Upgrade", "keep-alive, Upgrade", "close"],
    Sec_WebSocket_Version=["13", "8", "13, 8"],
    Sec_WebSocket_Key=["AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", "dGhlIHNhbXBsZSBub25jZQ=="],
    Sec_WebSocket_Protocol=["chat.v1", "wsredis.ticket, abc", "chat.v3", "a b\r\n Set-Cookie: a"],
    Sec_WebSocket_Extensions=[
        "permessage-deflate",
        'permessage-deflate; client_max_window_bits; server_max_window_bits="10"',
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        "x-webkit-deflate-frame",
    ],
    Origin=[
        "https://a.example",
        "http://a.example",
        "http://a.example:8000",
        "https://a.example.b.example",
        "https://b@a.example",
        "null",
    ],
    Cookie=["a=b"],
    Server_Protocol=["HTTP/1.1", "HTTP/1.0"],
    Remote_Addr=["192.0.2.1", ""],
    X_Forwarded_Proto=["https", "http"],
    X_Forwarded_Host=["a.example"],
)
