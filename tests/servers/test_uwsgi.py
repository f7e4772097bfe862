"""Tests of uWSGI only: few cores serve many websockets, and no timeout kills them."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException

import pytest
from redis import Redis

from wsredis.embedded import EmbeddedRedis

from .support import HTTP_SOCKET, SECONDS, Setup, Site, _uwsgi, eventually
from .wire import TEXT, Wire
from .workers import everywhere

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
TALK = "subscribe-broadcast&publish-broadcast&echo"
MANY = 500
PERSISTENT = ("--puwsgi-socket", "{folder}/persistent")


def subscribers(redis: EmbeddedRedis) -> int:
    """Return how many connections to Redis listen to a channel."""
    with Redis.from_url(redis.url) as client:
        return sum(int(info["sub"]) > 0 for info in client.client_list())


def channels(redis: EmbeddedRedis) -> list[str]:
    """Return the channels that somebody listens to, the control channel apart."""
    with Redis.from_url(redis.url, decode_responses=True) as client:
        return [name for name in client.pubsub_channels() if name != "ws:control"]


def test_ten_cores_hold_500_websockets_while_pages_are_served(
    start: Start, own_redis: EmbeddedRedis, room: str
) -> None:
    site = start("uwsgi-gevent", redis=own_redis.url)
    with ExitStack() as stack:
        wires = []
        for number in range(MANY):
            # Half of them in rooms of their own: as many channels, and still one connection.
            where = room if number % 2 else f"{room}n{number}"
            wires.append(stack.enter_context(site.wire(f"/ws/{where}?{BROADCAST}")))
        assert site.stats()["connections"] == MANY
        assert site.stats()["channels"] == MANY // 2 + 1
        assert subscribers(own_redis) == 1
        with ThreadPoolExecutor(16) as browsers:
            answers = list(browsers.map(site.get, [f"/page/{n}" for n in range(100)]))
        assert answers == [(200, f"page /page/{n}") for n in range(100)]
        assert site.broadcast(room, "to all") == 1
        assert [wire.receive_text() for wire in wires[1::2]] == ["to all"] * (MANY // 2)
    eventually(lambda: not site.stats()["connections"], "all have been forgotten")
    eventually(lambda: not channels(own_redis), "no channel is left")


def test_each_worker_has_one_connection_that_listens(
    start: Start, own_redis: EmbeddedRedis, room: str
) -> None:
    site = start("uwsgi-workers", redis=own_redis.url)
    with ExitStack() as stack:

        def come() -> Wire:
            return stack.enter_context(site.wire(f"/ws/{room}?{BROADCAST}"))

        wires = everywhere(site, come)
        wires += [come() for _ in range(20)]
        assert subscribers(own_redis) == site.setup.workers
        assert site.broadcast(room, "to all") == site.setup.workers
        assert {wire.receive_text() for wire in wires} == {"to all"}


@pytest.mark.parametrize("setup", ["uwsgi-gevent", "uwsgi-threads"])
def test_harakiri_does_not_see_websockets(start: Start, setup: str, room: str) -> None:
    site = start(setup, options=["--harakiri", "3"])  # pages get more than a busy machine takes
    workers = site.workers()
    with site.connect(room, BROADCAST) as ws:
        # The master looks once a second; it has had its chance when this returns.
        with pytest.raises(TimeoutError):
            ws.recv(timeout=5.5)
        site.broadcast(room, "still here")
        assert ws.recv(timeout=SECONDS) == "still here"
    assert site.workers() == workers
    assert not site.lines("HARAKIRI")
    # A request that ends after the next has begun would call that one's harakiri off.
    eventually(lambda: len(site.lines("GET /stats")) >= 2, "the last request has ended")
    # A page that takes as long is killed: it was on.
    with pytest.raises((OSError, HTTPException)):
        site.get("/hang/60")
    eventually(lambda: site.lines("HARAKIRI"), "a line about the harakiri")


# Protocols in which uWSGI reads the next request from the same socket


HTTP11 = [
    ("--http11-socket", "{host}:{port}"),
    ("--protocol", "http11", "--socket", "{host}:{port}"),
    ("--protocol", "http", "--protocol", "http11", "--socket", "{host}:{port}"),
]


@pytest.mark.parametrize("words", HTTP11, ids=["option", "protocol", "protocol-twice"])
def test_uwsgi_does_not_read_on_from_a_socket_that_it_would_keep_alive(
    start: Start, words: tuple[str, ...], room: str
) -> None:
    site = start(Setup("uwsgi-http11", _uwsgi(*words, "--threads", "2")))
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire(f"/ws/{room}?{BROADCAST}")) for _ in range(4)]
        for number in range(10):
            with site.wire() as wire:
                wire.upgrade(f"/ws/{room}?{TALK}")
                wire.send_frame(TEXT, f"{number}".encode())
                assert {each.receive_text() for each in (wire, *wires)} == {f"{number}"}
        assert site.get("/page") == (200, "page /page")
    eventually(lambda: not site.stats()["connections"], "all have been forgotten")


def test_a_packet_of_the_persistent_protocol_becomes_a_websocket(start: Start, room: str) -> None:
    site = start(Setup("uwsgi-puwsgi", _uwsgi(*HTTP_SOCKET, "--threads", "2", *PERSISTENT)))
    packet = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/ws/{room}",
        "QUERY_STRING": TALK,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    words = [word.encode() for pair in packet.items() for word in pair]
    body = b"".join(struct.pack("<H", len(word)) + word for word in words)
    with Wire(site.port) as wire:
        wire.socket.close()
        wire.socket = socket.socket(socket.AF_UNIX)
        wire.socket.settimeout(SECONDS)
        wire.socket.connect(str(site.folder / "persistent"))
        wire.send(struct.pack("<BHB", 0, len(body), 0) + body)
        assert wire.answer().status == 101
        for number in range(10):
            wire.send_frame(TEXT, f"{number}".encode())
            assert wire.receive_text() == f"{number}"


# What uWSGI's loop still knows of the socket


def test_a_client_is_not_left_alone_when_a_wrapper_fails(start: Start) -> None:
    site = start("uwsgi-gevent", app="answering.py")
    with site.wire() as wire:
        wire.send(wire.request("/ws/raises"))
        assert wire.socket.recv(1) == b""
    eventually(lambda: site.lines("^LookupError"), "uWSGI has logged it")  # and no page meanwhile
    assert json.loads(site.get("/")[1])["raises"] == [[1006, ""]]


def test_a_client_that_half_closes_right_after_its_request_is_answered_and_forgotten(
    start: Start, room: str
) -> None:
    """uWSGI's number of its socket has left the epoll set by then, and cannot be taken out."""
    site = start("uwsgi-gevent", app="guarded.py", handshake_timeout=60)
    with site.wire() as wire:
        wire.send(wire.request(f"/ws/{room}?{BROADCAST}", x_hold="ended"))
        eventually((site.folder / "ended").exists, "the resolver is asked")
        wire.socket.shutdown(socket.SHUT_WR)
        (site.folder / "ended-go").touch()
        assert wire.answer().status == 101
        assert wire.close_code() == 1006
    eventually(lambda: not site.stats()["connections"], "it has been forgotten")
    assert site.stats()["accepted"] == 1


def test_what_a_client_says_while_its_request_is_decided_arrives(start: Start, room: str) -> None:
    """As above: an event at a number that nobody waits for any more."""
    site = start("uwsgi-gevent", app="guarded.py", handshake_timeout=60)
    with site.wire() as wire:
        wire.send(wire.request(f"/ws/{room}?{TALK}", x_hold="said"))
        eventually((site.folder / "said").exists, "the resolver is asked")
        wire.send_frame(TEXT, b"early")
        (site.folder / "said-go").touch()
        assert wire.answer().status == 101
        assert wire.receive_text() == "early"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GEVENT_BACKEND", "poll"), ("GEVENT_BACKEND", "select"), ("GEVENT_LOOP", "libuv")],
)
def test_websockets_work_on_each_of_gevents_loops(
    start: Start, variable: str, value: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)  # uWSGI's own option comes too late for gevent
    site = start("uwsgi-gevent")
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        wire.send_frame(TEXT, b"hello")
        assert wire.receive_text() == "hello"
