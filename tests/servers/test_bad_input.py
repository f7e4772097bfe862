"""Arbitrary bytes: a clear response, no traceback, and other clients are not affected."""

from __future__ import annotations

import base64
import socket
from contextlib import suppress
from typing import Any

import pytest

from .support import SECONDS, SETUPS, Site, eventually, on
from .wire import Wire

EVERY = tuple(name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain"))
"""The set-ups that differ in what bytes of clients go through."""

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("steady"), on(*EVERY)]

ASK = "subscribe-broadcast"
TALK = "subscribe-broadcast&publish-broadcast&echo"


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "BREW"])
def test_methods_other_than_get_are_refused(server: Site, room: str, method: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", method=method, content_length="0")
        assert answer.status in (400, 405, 501)
        if answer.status == 400:
            assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "headers",
    [
        {"upgrade": None},
        {"upgrade": "h2c"},
        {"upgrade": "websockets"},
        {"connection": None},
        {"connection": "keep-alive"},
        {"upgrade": None, "connection": None},
        {"sec_websocket_key": None},
        {"sec_websocket_key": ""},
        {"sec_websocket_key": "short"},
        {"sec_websocket_key": base64.b64encode(bytes(15)).decode()},
        {"sec_websocket_key": base64.b64encode(bytes(17)).decode()},
        {"sec_websocket_key": "!" * 24},
        {"sec_websocket_key": "ÿ" * 22 + "=="},
        {"sec_websocket_extensions": "permessage-deflate; ="},
        {"sec_websocket_extensions": ";"},
    ],
    ids=str,
)
def test_an_invalid_handshake_gets_400(server: Site, room: str, headers: dict[str, Any]) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", **headers)
        assert answer.status == 400
        assert_short_and_plain(answer.body)


def assert_short_and_plain(body: str) -> None:
    """Find a sentence for a person, without anything of our inside."""
    assert 0 < len(body) < 300
    assert not any(word in body for word in ("Traceback", "Error", "secret", "<html", "wsredis."))


@pytest.mark.parametrize(
    ("name", "value", "body"),
    [
        ("content_length", "5", b"hello"),
        ("content_length", "6", b"\x81\x80" + bytes(4)),
        ("transfer_encoding", "chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_a_handshake_with_a_body_is_refused(
    server: Site, room: str, name: str, value: str, body: bytes
) -> None:
    with server.wire() as wire:
        headers: dict[str, Any] = {name: value}
        wire.send(wire.request(f"/ws/{room}?{ASK}", **headers) + body)
        answer = wire.answer()
        assert answer.status in (400, 501)
        assert_short_and_plain(answer.body)


def test_the_body_of_a_refused_handshake_is_not_read_as_a_request(server: Site, room: str) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with server.wire() as wire:
        headers = {"content_length": str(len(smuggled))}
        wire.send(wire.request(f"/ws/{room}?{ASK}", **headers) + smuggled)
        assert wire.answer().status == 400
        wire.socket.shutdown(socket.SHUT_WR)
        rest = b""
        with suppress(ConnectionError):
            while data := wire.socket.recv(4096):
                rest += data
    assert b"smuggled" not in rest
    assert "GET /smuggled" not in server.news()


@pytest.mark.parametrize("values", ["05", "50", "00", "55"])
def test_a_repeated_content_length_is_400(server: Site, room: str, values: str) -> None:
    """Servers show the first value, the last one, or both."""
    with server.wire() as wire:
        more = tuple(("Content-Length", value) for value in values)
        wire.send(wire.request(f"/ws/{room}?{ASK}", more=more) + b"hello")
        assert wire.answer().status == 400


def test_a_handshake_that_announces_no_body_is_let_in(server: Site, room: str) -> None:
    if server.setup.name == "werkzeug":  # it does not show whether the header is repeated
        with server.wire() as wire:
            assert wire.refused(f"/ws/{room}?{ASK}", content_length="0").status == 400
        return
    with server.wire(f"/ws/{room}?{ASK}", content_length="0") as wire:
        server.broadcast(room, "hello")
        assert wire.receive_text() == "hello"


@pytest.mark.parametrize("version", [None, "8", "0", "14", "thirteen", "013", "13, 8", ""])
def test_versions_other_than_13_get_426(server: Site, room: str, version: str | None) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", sec_websocket_version=version)
        assert answer.status == 426
        assert answer.headers["sec-websocket-version"] == "13"
        if not server.setup.name.startswith("wsgiref"):  # it refuses hop-by-hop headers
            assert answer.headers["upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("name", "value", "statuses"),
    [
        ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode(), {400}),
        ("Sec-WebSocket-Version", "13", {400, 426}),
        ("Origin", "http://127.0.0.1", {400, 403}),
        ("Host", "evil.example", {400, 403}),
    ],
)
def test_a_repeated_header_is_refused(
    server: Site, room: str, name: str, value: str, statuses: set[int]
) -> None:
    own = f"http://127.0.0.1:{server.port}"
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", origin=own, more=((name, value),))
        assert answer.status in statuses


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade", "UPGRADE,x"])
@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket"])
def test_header_tokens_are_found_in_lists_and_in_any_case(
    server: Site, room: str, connection: str, upgrade: str
) -> None:
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?{ASK}", connection=connection, upgrade=upgrade)


def test_http_1_0_cannot_upgrade(server: Site, room: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", version="HTTP/1.0")
        assert answer.status == 400
        assert "1.1" in answer.body


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "",
        "file://",
        "http://127.0.0.1",
        "http://127.0.0.1:{port}0",
        "http://127.0.0.1:{port}.evil.example",
        "http://evil.127.0.0.1:{port}",
        "http://127.0.0.1:{port}@evil.example",
        "http://evil.example:{port}",
        "http://127.0.0.1:{port}, http://evil.example",
        "http://evil.example, http://127.0.0.1:{port}",
        "http://127.0.0.1:{port} http://evil.example",
        "http://127.0.0.1:{port}/",
        "ws://127.0.0.1:{port}",
        "//127.0.0.1:{port}",
        "127.0.0.1:{port}",
        "http://127.0.0.1:{port}\\.evil.example",
        "http://127.0.0.1:{port}#evil.example",
        "http://127.0.0.1:99999",
        "http://[::1",
    ],
)
def test_a_page_of_another_origin_gets_403(server: Site, room: str, origin: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", origin=origin.format(port=server.port))
        assert answer.status == 403
        assert_short_and_plain(answer.body)


def test_cookies_with_the_origin_of_the_site_are_accepted(server: Site, room: str) -> None:
    with server.wire() as wire:
        own = f"http://127.0.0.1:{server.port}"
        wire.upgrade(f"/ws/{room}?{ASK}", origin=own, cookie="session=1")


def test_cookies_without_an_origin_get_403(server: Site, room: str) -> None:
    with server.wire() as wire:
        assert wire.refused(f"/ws/{room}?{ASK}", cookie="session=1").status == 403


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("subscribe-brodcast", "broadcast"),
        ("subscribe-", "broadcast"),
        ("publish-everything", "broadcast"),
        ("subscribe-broadcast&subscribe-users", "user"),
        ("", "subscribe-broadcast"),
        ("echo", "subscribe-broadcast"),
        ("page=2", "subscribe-broadcast"),
        ("broadcast", "subscribe-broadcast"),
    ],
)
def test_a_query_that_asks_for_nothing_or_is_misspelt_is_400(
    server: Site, room: str, query: str, hint: str
) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{query}")
        assert answer.status == 400
        assert hint in answer.body


def test_query_keys_of_other_people_are_ignored(server: Site, room: str) -> None:
    query = f"page=2&{ASK}&utm_source=%ff%00&&=&Echo=1&token=x%26subscribe-user"
    with server.wire(f"/ws/{room}?{query}") as wire:
        server.broadcast(room, "hello")
        assert wire.receive_text() == "hello"


ODD_FACILITIES = [
    ("a%2Fb/c", "a/b/c"),
    ("a%3Ab:c", "a:b:c"),
    ("100%25", "100%"),
    ("%253A", "%3A"),
    ("nul%00byte", "nul\0byte"),
    ("cr%0D%0ASet-Cookie:%20x", "cr\r\nSet-Cookie: x"),
    ("caf%C3%A9-%E4%B8%96%E7%95%8C-%F0%9F%8E%89", "café-世界-🎉"),
    ("*%3F%5Bab%5D%5C", "*?[ab]\\"),
    ("a%20b%09c", "a b\tc"),
]


@pytest.mark.parametrize(("path", "facility"), ODD_FACILITIES, ids=[p for p, _ in ODD_FACILITIES])
def test_an_unusual_facility_works_and_shares_no_channel(
    server: Site, room: str, path: str, facility: str
) -> None:
    with (
        server.wire(f"/ws/{room}{path}?{ASK}") as odd,
        server.wire(f"/ws/{room}?{ASK}") as plain,
    ):
        server.broadcast(room + facility, "to the odd one")
        server.broadcast(room, "to the plain one")
        server.broadcast(room + facility, "again")
        assert odd.receive_text() == "to the odd one"
        assert odd.receive_text() == "again"
        assert plain.receive_text() == "to the plain one"
    eventually(lambda: server.lines(f"close .*{room}"), "the line is whole, whatever the name is")


def test_different_names_never_share_a_channel(server: Site, room: str) -> None:
    pairs = [("a", f"b:{room}"), ("a:b", room), ("a%3Ab", room), ("a%253Ab", room)]
    wires = []
    try:
        for user, facility in pairs:
            wire = server.wire(f"/ws/{facility.replace('%', '%25')}?subscribe-user", x_user=user)
            wires.append(wire)
        for user, facility in pairs:
            server.publisher(facility, users=[user]).publish(f"for {user}")
        for user, facility in pairs:
            server.publisher(facility, users=[user]).publish("end")
        for wire, (user, _) in zip(wires, pairs, strict=True):
            assert [wire.receive_text() for _ in range(2)] == [f"for {user}", "end"]
    finally:
        for wire in wires:
            wire.socket.close()


@pytest.mark.parametrize("path", ["%ff", "a%C3", "%ED%A0%80", "%C0%AF", "%EF%BF%BD"])
def test_a_path_that_is_not_utf8_gets_400(server: Site, path: str) -> None:
    with server.wire() as wire:
        assert wire.refused(f"/ws/{path}?{ASK}").status == 400


def test_a_failing_resolver_gets_403_and_its_error_is_not_sent(server: Site, room: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?{ASK}", x_fail="1")
        assert answer.status == 403
        assert_short_and_plain(answer.body)
    assert "the session store has a secret problem" in server.news()


@pytest.mark.parametrize("path", ["/wsfoo", "/ws", "/WS/x", "/other/ws/", "/"])
def test_paths_outside_the_prefix_go_to_the_site(server: Site, path: str) -> None:
    assert server.get(path) == (200, f"page {path}")
    with server.wire() as wire:
        answer = wire.refused(f"{path}?{ASK}")
        assert (answer.status, answer.body) == (200, f"page {path}")


@pytest.mark.parametrize("path", ["/ws/", "/ws/x", "/ws/x/y"])
def test_plain_requests_under_the_prefix_do_not_reach_the_site(server: Site, path: str) -> None:
    status, body = server.get(path)
    assert status == 400
    assert "page" not in body


@pytest.mark.parametrize(
    "path",
    [
        "/ws/../x",
        "/ws/%2e%2e/x",
        "//ws/x",
        "/./ws/x",
        "/ws%2Fx",
        "/ws;x/y",
        "/x/..%2Fws/y",
        "/ws%00/x",
    ],
)
def test_unusual_paths_are_routed_alike_for_pages_and_websockets(server: Site, path: str) -> None:
    """Servers tidy paths in ways of their own; what they make of one decides for both."""
    status, body = server.get(path)
    with server.wire() as wire:
        wire.send(wire.request(f"{path}?{ASK}"))
        answer = wire.answer()
    if status == 200:
        assert body.startswith("page /")
        assert (answer.status, answer.body) == (200, body)
    else:
        assert (status, answer.status) == (400, 101)
        assert "page" not in body


@pytest.mark.parametrize("scheme", ["http", "HTTP", "https", "ws"])
def test_an_absolute_url_in_the_request_line_is_taken_apart(
    server: Site, room: str, scheme: str
) -> None:
    target = f"{scheme}://127.0.0.1:{server.port}/ws/{room}%20x"
    with server.wire(f"{target}?{ASK}") as wire:
        server.broadcast(f"{room} x", "hello")
        assert wire.receive_text() == "hello"
    with server.wire() as wire:
        answer = wire.refused(target, upgrade=None)
        assert answer.status == 400
        assert "page" not in answer.body


def test_the_host_of_an_absolute_url_replaces_the_header(server: Site, room: str) -> None:
    own = f"http://127.0.0.1:{server.port}"
    target = f"http://example.com/ws/{room}?{ASK}"
    with server.wire() as wire:
        assert wire.refused(target, origin=own).status == 403
    with server.wire() as wire:
        wire.upgrade(target, origin="http://example.com")


@pytest.mark.parametrize("authority", ["", "alice@example.com", "a,b"])
def test_an_absolute_url_with_a_bad_host_is_400(server: Site, room: str, authority: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"http://{authority}/ws/{room}?{ASK}")
        assert answer.status == 400
        assert_short_and_plain(answer.body)


def test_an_absolute_url_that_is_not_below_the_prefix_goes_to_the_site(server: Site) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"http://127.0.0.1:{server.port}/wsfoo?{ASK}")
    assert answer.status == 200
    assert answer.body.startswith("page ")
    assert answer.body.endswith("/wsfoo")


def test_the_bare_prefix_is_the_facility_without_a_name(server: Site) -> None:
    with server.wire(f"/ws/?{ASK}") as wire:
        server.broadcast("", "nameless")
        assert wire.receive_text() == "nameless"


def test_requesting_only_denied_channels_gets_403(server: Site, room: str) -> None:
    with server.wire() as wire:
        assert wire.refused(f"/ws/{room}/readonly?publish-broadcast").status == 403


def test_half_a_request_and_garbage_harm_nobody(server: Site) -> None:
    for data in (b"\x00" * 1000, b"GET /ws/", b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n"):
        with Wire(server.port) as wire:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
            wire.socket.settimeout(SECONDS)
            try:
                while wire.socket.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert server.get("/")[0] == 200
