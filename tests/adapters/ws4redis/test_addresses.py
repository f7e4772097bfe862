"""Addresses, and the responses to refused handshakes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from ws4redis import names
from ws4redis.publisher import RedisPublisher
from ws4redis.wsgi_server import WebsocketWSGIServer

from .conftest import Live
from .talk import SECONDS, ask, broadcast, hear, in_silence, refusal

Site = Callable[..., None]


# Addresses


@pytest.mark.parametrize(
    "query",
    [
        "subscribe-broadcast",
        "%20Subscribe-BROADCAST%20=no&color=red&subscribe-nobody",
        "subscribe-user&subscribe-group&subscribe-session&subscribe-broadcast",
    ],
)
def test_keys_are_stripped_and_lowered_and_the_rest_is_ignored(
    live: Live, room: str, query: str
) -> None:
    with live.open(f"/ws/{room}?{query}") as ws:
        broadcast(room, "hello")
        assert hear(ws) == "hello"


@pytest.mark.parametrize("facility", ["", "a/b", "eu:x", "50%", "two words", "über", "a\nb"])
def test_the_facility_is_what_follows_the_prefix(live: Live, facility: str) -> None:
    from urllib.parse import quote

    with live.open(f"/ws/{quote(facility)}?subscribe-broadcast") as ws:
        RedisPublisher(facility=facility, broadcast=True).publish_message("hello", 0)
        assert hear(ws) == "hello"


def test_a_socket_without_channels_stays_open(live: Live, room: str) -> None:
    with live.open(f"/ws/{room}") as ws, live.open(f"/ws/{room}?subscribe-broadcast") as other:
        ws.send("nobody gets this")
        ws.ping().wait(SECONDS)
        in_silence(live, room, other)


def test_what_may_not_be_published_is_dropped_and_the_socket_stays(live: Live, room: str) -> None:
    with live.open(f"/ws/{room}?subscribe-broadcast&echo") as ws:
        ws.send("nobody gets this")
        ws.ping().wait(SECONDS)
        in_silence(live, room, ws)


@pytest.mark.parametrize("url", ["/sockets", "/sockets/", "sockets"])
def test_the_prefix_matches_whole_segments(site: Site, live: Live, room: str, url: str) -> None:
    site(WEBSOCKET_URL=url)
    with live.open(f"/sockets/{room}?subscribe-broadcast") as ws:
        broadcast(room, "hello")
        assert hear(ws) == "hello"
    for path in ("/socketsfoo", "/ws/foo", "/foo/sockets/"):
        assert not names.is_websocket(path)
        assert refusal(live, path).status_code == 404
    assert names.is_websocket("/sockets") == (not url.endswith("/"))


def test_a_starter_that_compares_beginnings_gets_a_404_for_what_only_resembles(
    site: Site,
) -> None:
    site(WEBSOCKET_URL="/ws")
    status = []
    environ = RequestFactory().get("/wsfoo", HTTP_UPGRADE="websocket").environ
    body = WebsocketWSGIServer()(environ, lambda line, headers: status.append(line))
    assert status == ["404 Not Found"]
    assert b"/ws/" in b"".join(body)


def test_without_a_url_there_are_no_websockets(site: Site, live: Live) -> None:
    site(WEBSOCKET_URL=None)
    assert refusal(live, "/ws/room").status_code == 404


def test_a_proxy_may_have_cut_the_prefix_off() -> None:
    assert names.facility_of("/room") == "/room"
    assert names.facility_of("/ws/room") == "room"


# Answers


def test_a_plain_request_is_told_to_upgrade(live: Live, room: str) -> None:
    for method in ("GET", "POST"):
        status, text, headers = ask(live, method, f"/ws/{room}")
        assert status == 400
        assert "serves websockets only" in text
        assert headers["Content-Type"].startswith("text/plain")


def test_another_or_no_version_is_426(live: Live, room: str) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": "x" * 24}
    for version in ({}, {"Sec_WebSocket_Version": "6"}):
        status, _, headers = ask(live, "GET", f"/ws/{room}", **upgrade, **version)
        assert status == 426
        assert headers["Sec-WebSocket-Version"] == "13"


def test_a_bad_key_is_refused_with_a_short_text(live: Live, room: str) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": "short"}
    status, text, _ = ask(live, "GET", f"/ws/{room}", Sec_WebSocket_Version="13", **upgrade)
    assert status == 400
    assert len(text) < 200


def test_the_words_of_a_denial_are_shown_and_escaped(site: Site, live: Live, room: str) -> None:
    def deny(request: Any, channels: list[str]) -> list[str]:
        raise PermissionDenied("Not for you,\n<script>alert(1)</script>")

    site(WS4REDIS_ALLOWED_CHANNELS=deny)
    answer = refusal(live, f"/ws/{room}?subscribe-broadcast")
    assert answer.status_code == 403
    assert answer.body == b"Not for you, &lt;script&gt;alert(1)&lt;/script&gt;\n"
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["chat.v1"], "chat.v1"), (["b", "a"], "b"), (None, None)],
    ids=["one", "several", "none"],
)
def test_the_first_subprotocol_offered_is_chosen(
    live: Live, room: str, offered: Any, chosen: str | None
) -> None:
    with live.open(f"/ws/{room}", options={"subprotocols": offered}) as ws:
        assert ws.subprotocol == chosen
        assert ws.response is not None
        assert ws.response.headers.get_all("Sec-WebSocket-Protocol") == ([chosen] if chosen else [])


def test_a_list_of_subprotocols_may_be_set(site: Site, live: Live, room: str) -> None:
    site(WSREDIS={"subprotocols": ["a"]})
    with live.open(f"/ws/{room}", options={"subprotocols": ["b", "a"]}) as ws:
        assert ws.subprotocol == "a"


# Origins


def test_a_foreign_origin_is_refused_unless_it_is_listed(site: Site, live: Live, room: str) -> None:
    assert refusal(live, f"/ws/{room}", Origin="http://evil.example").status_code == 403
    site(WSREDIS={"origins": ["http://evil.example"]})
    with live.open(f"/ws/{room}", Origin="http://evil.example"):
        pass


@pytest.mark.parametrize(
    ("allowed", "origin", "opens"),
    [
        (["chat.example"], "https://chat.example", True),
        (["Chat.Example"], "http://chat.example", True),
        (["chat.example"], "https://evil.example", False),
        (["chat.example"], "https://chat.example:8443", False),
        (["chat.example"], "https://chat.example:port", False),
        ([".chat.example"], "https://user.chat.example", False),
        (["chat.example", "127.0.0.1"], "https://chat.example", False),
        (["*"], "https://chat.example", False),
    ],
)
def test_behind_a_proxy_that_names_itself_allowed_hosts_are_the_sites_own(
    site: Site, live: Live, room: str, allowed: list[str], origin: str, opens: bool
) -> None:
    site(ALLOWED_HOSTS=allowed)
    if opens:
        with live.open(f"/ws/{room}", Origin=origin):
            pass
    else:
        assert refusal(live, f"/ws/{room}", Origin=origin).status_code == 403


def test_a_page_whose_name_leads_here_is_none_of_the_sites(live: Live, room: str) -> None:
    """A name that is in no ``ALLOWED_HOSTS`` is not the site's, even if page and host agree."""
    origin: Any = "http://evil.example"
    with (
        socket.create_connection(live.host.split(":")) as sock,
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://evil.example/ws/{room}", sock=sock, origin=origin),
    ):
        pass
    assert refused.value.response.status_code == 403
    with (
        socket.create_connection(live.host.split(":")) as sock,
        connect(f"ws://upstream/ws/{room}", sock=sock),
    ):
        pass  # no page at all, by way of a proxy
