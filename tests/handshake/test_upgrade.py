from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from webob import Request

from wsredis.config import Config
from wsredis.exceptions import HandshakeError
from wsredis.handshake import negotiation
from wsredis.handshake.upgrade import Handshake, facility_of, read_handshake


def environ(**changes: Any) -> dict[str, Any]:
    """Return what a server makes of a good handshake; None takes a variable away."""
    good = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/ws/news",
        "QUERY_STRING": "subscribe-broadcast",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost:8000",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_ORIGIN": "http://localhost:8000",
    }
    changed = {**good, **{k.replace("wsgi_", "wsgi."): v for k, v in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def shake(config: Config | None = None, **changes: Any) -> Handshake:
    return read_handshake(Request(environ(**changes)), config or Config())


def refused(config: Config | None = None, **changes: Any) -> HandshakeError:
    with pytest.raises(HandshakeError) as refusal:
        shake(config, **changes)
    return refusal.value


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
    assert "headers of a websocket handshake" in refusal.text
    assert refusal.headers == ((("Allow", "GET"),) if "REQUEST_METHOD" in changes else ())


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9"])
def test_an_old_http_is_400_with_the_line_that_mends_it(protocol: str) -> None:
    refusal = refused(SERVER_PROTOCOL=protocol)
    assert refusal.status == 400
    assert "proxy_http_version 1.1;" in refusal.text


def test_a_handshake_with_a_body_is_400() -> None:
    assert refused(CONTENT_LENGTH="1").status == refused(HTTP_TRANSFER_ENCODING="x").status == 400


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


# Origins


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"HTTP_ORIGIN": "http://LOCALHOST:8000"},
        {"HTTP_ORIGIN": "https://example.com", "HTTP_HOST": "example.com"},
        {"HTTP_ORIGIN": "https://example.com", "HTTP_HOST": "example.com:443"},
        {"HTTP_ORIGIN": "http://example.com:80", "HTTP_HOST": "example.com"},
        {"HTTP_ORIGIN": "http://[::1]:8000", "HTTP_HOST": "[::1]:8000"},
        {"HTTP_HOST": None},
        {
            "HTTP_ORIGIN": "https://example.com",
            "HTTP_HOST": "example.com",
            "wsgi_url_scheme": "https",
        },
        {"HTTP_ORIGIN": None},
    ],
)
def test_by_default_the_sites_own_pages_may_connect(changes: dict[str, Any]) -> None:
    assert shake(**changes)


BAD_ORIGINS = [
    "http://localhost",
    "http://localhost:8001",
    "https://localhost:8443",
    "http://localhost:8000.evil.example",
    "http://localhost.evil.example:8000",
    "http://evil.example/localhost:8000",
    "http://evil.example?localhost:8000",
    "http://evil.example#localhost:8000",
    "http://localhost:8000@evil.example",
    "http://evil.example@localhost:8000",
    "http://xlocalhost:8000",
    "http://localhost:8000/",
    "http://localhost:8000?",
    "http://localhost:8000, http://evil.example",
    "http://localhost:8000,http://localhost:8000",
    "http://localhost:8000 http://evil.example",
    "http://localhost:8000\\",
    "http://localhost:port",
    "http://localhost:99999",
    "http://[::1",
    "ws://localhost:8000",
    "localhost:8000",
    "//localhost:8000",
    "http://",
    "http://l\xf6calhost:8000",
    "*",
    "null",
    "",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS)
@pytest.mark.parametrize("config", [Config(), Config(origins=("http://localhost:8000",))])
def test_a_foreign_origin_is_403(origin: str, config: Config) -> None:
    refusal = refused(config, HTTP_ORIGIN=origin)
    assert refusal.status == 403
    assert "origin" in refusal.text


def test_a_page_without_tls_is_a_stranger_to_the_site_with_it() -> None:
    assert refused(wsgi_url_scheme="https").status == 403


def test_without_an_origin_cookies_are_refused() -> None:
    refusal = refused(HTTP_ORIGIN=None, HTTP_COOKIE="sessionid=abc")
    assert refusal.status == 403
    assert "abc" not in refusal.text


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "https://example.com:443",
        "https://EXAMPLE.com",
        "http://a.example:81",
    ],
)
def test_a_listed_origin_may_connect(origin: str) -> None:
    config = Config(origins=("https://example.com", "http://a.example:81"))
    assert shake(config, HTTP_ORIGIN=origin)


def test_with_a_list_ones_own_origin_must_stand_in_it() -> None:
    assert refused(Config(origins=("https://example.com",))).status == 403
    assert refused(Config(origins=())).status == 403


@pytest.mark.parametrize("origin", ["https://anywhere.example", "null", None])
def test_a_star_lets_every_origin_in(origin: str | None) -> None:
    assert shake(Config(origins=("*",)), HTTP_ORIGIN=origin, HTTP_COOKIE="a=b")


BEHIND = {"HTTP_X_FORWARDED_HOST": "a.example", "HTTP_X_FORWARDED_PROTO": "https"}


def test_a_trusted_proxy_says_what_is_ones_own_origin() -> None:
    trusting, peer = Config(trusted_proxies=("192.0.2.1",)), {"REMOTE_ADDR": "192.0.2.1"}
    assert shake(trusting, HTTP_ORIGIN="https://a.example", **BEHIND, **peer)
    for stranger in ("http://a.example", "https://localhost:8000", "http://localhost:8000"):
        assert refused(trusting, HTTP_ORIGIN=stranger, **BEHIND, **peer).status == 403
    assert refused(trusting, HTTP_ORIGIN="https://a.example", **BEHIND).status == 403
    assert refused(Config(), HTTP_ORIGIN="https://a.example", **BEHIND, **peer).status == 403


# Sub-protocols and extensions


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("chat.v2", "chat.v2"),
        ("other, chat.v2,chat.v1", "chat.v2"),
        ("chat.v1", "chat.v1"),
        ("CHAT.v1", None),
        ("other", None),
        ("", None),
        (None, None),
        ("chat.v1\r\nX-Evil: 1", None),
    ],
)
def test_the_first_subprotocol_is_chosen_that_is_spoken_here(
    offered: str | None, chosen: str | None
) -> None:
    settled = shake(
        Config(subprotocols=("chat.v1", "chat.v2")), HTTP_SEC_WEBSOCKET_PROTOCOL=offered
    )
    assert settled.subprotocol == chosen
    assert dict(settled.headers).get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("anything, chat.v1", "anything"),
        ("chat\r\nX-Evil: 1", None),
        ("two words, chat.v1", "chat.v1"),
        ("", None),
        (None, None),
    ],
)
def test_a_star_speaks_whatever_is_offered_first_and_is_a_name(
    offered: str | None, chosen: str | None
) -> None:
    settled = shake(Config(subprotocols=("*",)), HTTP_SEC_WEBSOCKET_PROTOCOL=offered)
    assert settled.subprotocol == chosen
    assert dict(settled.headers).get("Sec-WebSocket-Protocol") == chosen


def test_without_a_list_no_subprotocol_is_chosen() -> None:
    assert shake(HTTP_SEC_WEBSOCKET_PROTOCOL="chat.v1").subprotocol is None


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        ("permessage-deflate", 15),
        ("permessage-deflate; client_max_window_bits", 15),
        ("permessage-deflate; server_max_window_bits=10", 10),
        ("permessage-deflate; server_max_window_bits=9; client_max_window_bits=8", 9),
        ("other, permessage-deflate; server_no_context_takeover", 15),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", 15),
        ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12", 12),
    ],
)
def test_compression_is_agreed_on_without_context_takeover(offers: str, bits: int) -> None:
    settled = shake(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers)
    assert settled.window_bits == bits
    name, *parameters = dict(settled.headers)["Sec-WebSocket-Extensions"].split("; ")
    assert name == "permessage-deflate"
    assert {"server_no_context_takeover", "client_no_context_takeover"} <= set(parameters)
    assert (f"server_max_window_bits={bits}" in parameters) is (bits != 15)


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; unknown=1",
        "x-webkit-deflate-frame",
        None,
        "",
    ],
)
def test_an_offer_that_cannot_be_met_is_passed_over(offers: str | None) -> None:
    settled = shake(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers)
    assert settled.window_bits == 0
    assert "Sec-WebSocket-Extensions" not in dict(settled.headers)


def test_a_window_too_small_for_zlib_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SimpleNamespace(local_max_window_bits=8)
    agreeing = SimpleNamespace(
        name="permessage-deflate", process_request_params=lambda asked, accepted: ([], small)
    )
    monkeypatch.setattr(negotiation, "_DEFLATE", agreeing)
    assert shake(HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate").window_bits == 0


def test_compression_can_be_turned_off() -> None:
    settled = shake(Config(compression=False), HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate")
    assert settled.window_bits == 0
    assert len(settled.headers) == 3


@pytest.mark.parametrize(
    "offers", [";", "permessage-deflate;;", "a b", "=", "permessage-deflate\r\n"]
)
def test_extensions_that_cannot_be_parsed_are_400(offers: str) -> None:
    assert refused(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers).status == 400


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
