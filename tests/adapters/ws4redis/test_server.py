"""The server's class: closing, ``websockets``, and what a subclass may override."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory
from websockets.exceptions import ConnectionClosed
from ws4redis.django_runserver import WebsocketRunServer, application
from ws4redis.exceptions import (
    FrameTooLargeException,
    HandshakeError,
    UpgradeRequiredError,
    WebSocketError,
)
from ws4redis.publisher import RedisPublisher
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer
from ws4redis.wsgi_server import WebsocketWSGIServer

from .conftest import Live
from .talk import BOTH, SECONDS, hear, refusal

Site = Callable[..., None]


# The end


SENDABLE = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999, 1005, 1006, 1015, 999)


@pytest.mark.parametrize("code", SENDABLE)
def test_closing_with_any_code_is_quiet(
    live: Live, room: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    closed = threading.Event()
    watch(live, closed)
    with socket.create_connection(live.host.split(":"), timeout=SECONDS) as raw:
        raw.sendall(
            f"GET /ws/{room}?{BOTH} HTTP/1.1\r\nHost: {live.host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 101 ")
        frame = b"\x88\x82\x00\x00\x00\x00" + code.to_bytes(2, "big")
        raw.sendall(frame if code != 1005 else b"\x88\x80\x00\x00\x00\x00")
        if code == 1006:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            while raw.recv(4096):
                pass
    assert closed.wait(SECONDS)
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []
    assert not live.errors


def watch(live: Live, closed: threading.Event) -> None:
    """Tell when the one websocket that is open, or opens, has gone."""

    class Watched(set[Any]):
        def discard(self, connection: Any) -> None:
            super().discard(connection)
            closed.set()

    live.server._websockets = Watched()


def test_websockets_holds_what_is_open_and_nothing_else(live: Live, room: str) -> None:
    closed = threading.Event()
    watch(live, closed)
    with live.open(f"/ws/{room}?{BOTH}&echo") as ws:
        ws.send("hello")
        assert hear(ws) == "hello"
        assert len(live.server.websockets) == 1
    assert closed.wait(SECONDS)
    assert len(live.server.websockets) == 0


# The class


def test_possible_channels_are_those_of_the_subscriber(site: Site) -> None:
    server = WebsocketWSGIServer()
    assert set(server.possible_channels) == {
        f"{way}-{who}"
        for way in ("subscribe", "publish")
        for who in ("broadcast", "user", "group", "session")
    }

    class Subscriber:
        subscription_channels = ("subscribe-team",)
        publish_channels = ("publish-team",)

    site(WS4REDIS_SUBSCRIBER=Subscriber)
    assert server.possible_channels == ["subscribe-team", "publish-team"]
    assert WebsocketWSGIServer.possible_channels == server.possible_channels


def test_all_servers_are_one_kind() -> None:
    for kind in (uWSGIWebsocketServer, WebsocketRunServer):
        assert issubclass(kind, WebsocketWSGIServer)
    assert callable(application)


@pytest.fixture
def serve(live: Live, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that puts a server of another class behind the live one."""
    from ws4redis import django_runserver

    made: list[WebsocketWSGIServer] = []

    def put(kind: type[WebsocketWSGIServer]) -> WebsocketWSGIServer:
        made.append(kind())
        monkeypatch.setattr(django_runserver, "_websocket_app", made[-1])
        return made[-1]

    yield put
    for server in made:
        server.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [(HandshakeError("Not <now>."), 400), (UpgradeRequiredError("Later."), 426)],
)
def test_a_subclass_may_require_more_of_the_protocol(
    serve: Any, live: Live, room: str, error: Exception, status: int
) -> None:
    class Server(WebsocketWSGIServer):
        def assure_protocol_requirements(self, environ: dict[str, Any]) -> None:
            super().assure_protocol_requirements(environ)
            if "HTTP_X_TOKEN" not in environ:
                raise error

    serve(Server)
    answer = refusal(live, f"/ws/{room}")
    assert answer.status_code == status
    assert answer.body.decode().strip() == str(error).replace("<now>", "&lt;now&gt;")
    with live.open(f"/ws/{room}", **{"X-Token": "yes"}):
        pass


def test_a_subclass_may_process_requests_and_subscriptions(
    serve: Any, live: Live, room: str
) -> None:
    class Server(WebsocketWSGIServer):
        def process_request(self, request: Any) -> None:
            super().process_request(request)
            assert not request.user.is_authenticated
            request.session["ws4redis:memberof"] = ["staff"]
            request.user = type("User", (), {
                "is_authenticated": True, "get_username": lambda self: "john",
            })()  # fmt: skip

        def process_subscriptions(self, request: Any) -> tuple[list[str], bool]:
            channels, _ = super().process_subscriptions(request)
            return [*channels, "subscribe-group", "subscribe-user"], True

    server = serve(Server)
    with live.open(f"/ws/{room}?{BOTH}") as ws:
        ws.send("echo")
        assert hear(ws) == "echo"
        for to in ({"users": ["john"]}, {"groups": ["staff"]}):
            RedisPublisher(facility=room, **to).publish_message("hello", 0)
            assert hear(ws) == "hello"
        assert server.stats()["connections"] == 1


def test_the_errors_are_what_except_clauses_expect() -> None:
    from django.http import BadHeaderError

    assert issubclass(FrameTooLargeException, WebSocketError)
    assert issubclass(WebSocketError, socket.error)
    assert issubclass(UpgradeRequiredError, HandshakeError)
    assert issubclass(HandshakeError, BadHeaderError)


def test_a_request_that_is_no_websocket_is_a_handshake_error() -> None:
    server = WebsocketWSGIServer()
    with pytest.raises(HandshakeError, match="serves websockets only"):
        server.assure_protocol_requirements(RequestFactory().get("/ws/room").environ)


def test_a_websocket_may_be_closed_from_any_thread(serve: Any, live: Live, room: str) -> None:
    server = serve(WebsocketWSGIServer)
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        ws.ping().wait(SECONDS)
        (connection,) = server.websockets
        connection.soon(connection.close, 1001, "bye")
        with pytest.raises(ConnectionClosed) as ended:
            hear(ws)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1001, "bye")


def test_no_text_of_an_exception_reaches_the_client(live: Live, site: Site, room: str) -> None:
    class Subscriber:
        subscription_channels = publish_channels = ()

        def __init__(self, connection: Any) -> None:
            raise LookupError("a secret")

    site(WS4REDIS_SUBSCRIBER=Subscriber)
    answer = refusal(live, f"/ws/{room}")
    assert answer.status_code == 500
    assert not re.search(rb"secret|Traceback|Lookup", answer.body)
