"""The middleware in this process: on a threaded server and a gevent one, with the memory broker."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import wsredis.middleware
import wsredis.process
from wsredis import (
    Config,
    ConfigurationError,
    Endpoint,
    EndpointContext,
    HandshakeError,
    Identity,
    PermissionDenied,
    Publisher,
    WebSocketMiddleware,
    configure,
)
from wsredis.runtime.loop import in_gevent

from .gate import HANDSHAKE, Gate, status
from .place import until


def test_pages_and_sockets_live_side_by_side(gate: Callable[..., Gate]) -> None:
    here = gate()
    assert here.middleware.stats() == dict.fromkeys(here.middleware.stats(), 0)
    with here.connect("/ws/news?subscribe-broadcast") as client:
        here.publisher().publish("hello")
        here.publisher().publish(b"\xff\x00")
        here.publisher().publish({"n": 1})
        assert [client.recv(5), client.recv(5), client.recv(5)] == ["hello", b"\xff\x00", '{"n":1}']
        assert here.get("/about") == (200, "the page /about")
        assert here.middleware.stats()["connections"] == 1


def test_the_prefix_matches_whole_path_segments(gate: Callable[..., Gate]) -> None:
    here = gate()
    assert here.get("/wsfoo") == (200, "the page /wsfoo")
    assert here.get("/ws") == (200, "the page /ws")
    code, text = here.get("/ws/news")
    assert code == 400
    assert "serves websockets only" in text


def test_without_an_app_everything_else_is_404(gate: Callable[..., Gate]) -> None:
    here = gate(None)
    code, text = here.get("/about")
    assert code == 404
    assert "/ws/" in text


def test_identity_and_policy_decide(gate: Callable[..., Gate]) -> None:
    def identify(request: Any) -> Identity | None:
        name = request.headers.get("X-User")
        return Identity(name, groups=["editors"], session="abc") if name else None

    def allow(request: Any, requested: tuple[str, ...]) -> list[str]:
        if request.identity.user == "mallory":
            raise PermissionDenied("Not you.")
        return [*requested, "publish-broadcast"]

    here = gate(identity=identify, allowed_channels=allow)
    requested = "subscribe-user&subscribe-group&subscribe-session"
    with here.connect(f"/ws/news?{requested}", X_User="alice") as alice:
        here.publisher(users=["bob"]).publish("not for alice")
        for audience in ({"users": ["alice"]}, {"groups": ["editors"]}, {"sessions": ["abc"]}):
            here.publisher(**audience).publish(str(audience))
            assert alice.recv(5) == str(audience)
        alice.send("granted without being asked for is not granted")
        with pytest.raises(Exception, match="1008"):
            alice.recv(5)
    with pytest.raises(InvalidStatus) as refused:
        here.connect(f"/ws/news?{requested}", X_User="mallory")
    assert status(refused) == (403, "Not you.\n")
    with pytest.raises(InvalidStatus) as refused:
        here.connect(f"/ws/news?{requested}")
    assert status(refused)[0] == 403


@pytest.mark.parametrize(
    "resolver", [lambda request: 1 / 0, lambda request: "alice"], ids=["raises", "no-identity"]
)
def test_a_resolver_that_fails_lets_nobody_in(
    gate: Callable[..., Gate], resolver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    here = gate(identity=resolver)
    with pytest.raises(InvalidStatus) as refused:
        here.connect("/ws/news?subscribe-broadcast")
    code, text = status(refused)
    assert code == 403
    assert "division" not in text
    assert "resolver failed" in caplog.text


def test_a_resolver_may_choose_its_answer(gate: Callable[..., Gate]) -> None:
    def identify(request: Any) -> Identity:
        raise HandshakeError(429, "Later.")

    with pytest.raises(InvalidStatus) as refused:
        gate(identity=identify).connect("/ws/news?subscribe-broadcast")
    assert status(refused) == (429, "Later.\n")


LIMIT = 0.2


def wait_for_ever(request: Any, *args: Any) -> Any:
    """Hang, in a greenlet; in a thread, which nothing interrupts, take longer than is allowed."""
    if in_gevent():
        gevent.event.Event().wait()
    time.sleep(2 * LIMIT)


@pytest.mark.parametrize("slow", ["identity", "allowed_channels", "endpoint"])
def test_who_is_kept_waiting_too_long_gets_503(gate: Callable[..., Gate], slow: str) -> None:
    here = gate(**{slow: wait_for_ever}, handshake_timeout=LIMIT)
    with pytest.raises(InvalidStatus) as refused:
        here.connect("/ws/news?subscribe-broadcast")
    assert status(refused) == (503, "Identifying the client took too long; try again.\n")
    assert refused.value.response.headers["Retry-After"] == "2"
    assert here.get("/page")[0] == 200
    assert here.middleware.stats()["connections"] == 0


def test_a_resolver_whose_own_time_runs_out_has_failed(
    gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    def identify(request: Any) -> Identity:
        raise TimeoutError("the session store")

    with pytest.raises(InvalidStatus) as refused:
        gate(identity=identify).connect("/ws/news?subscribe-broadcast")
    assert status(refused)[0] == 403
    assert "TimeoutError: the session store" in caplog.text


def test_a_websocket_that_cannot_be_taken_over_leaves_no_slot(
    gate: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Any, client: Any, loop: Any) -> None:
        os.close(client.fd)
        raise ConnectionError("the tunnel could not be dug")

    here = gate(max_connections=1)
    with monkeypatch.context() as patch:
        patch.setattr(wsredis.middleware, "_open", fail)
        with here.connect("/ws/news?subscribe-broadcast") as ws, pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
    until(lambda: here.middleware.stats()["connections"] == 0)
    with here.connect("/ws/news?subscribe-broadcast") as ws:
        here.publisher().publish("now it works")
        assert ws.recv(timeout=30) == "now it works"


def test_who_is_interrupted_between_the_101_and_its_end_leaves_no_slot() -> None:
    """A harakiri, or a worker's time-out."""

    class Interrupted(socket.socket):
        def sendall(self, *args: Any) -> None:
            raise KeyboardInterrupt

    middleware = WebSocketMiddleware(None, redis="memory://interrupted")
    near, far = socket.socketpair()
    with far, Interrupted(fileno=near.detach()) as sock:
        with pytest.raises(KeyboardInterrupt):
            middleware({**HANDSHAKE, "gunicorn.socket": sock}, lambda *args: None)
        assert middleware.stats()["accepted"] == middleware.stats()["connections"] == 0
    middleware.close()


def test_an_endpoint_of_ones_own(gate: Callable[..., Gate]) -> None:
    class Upper(Endpoint):
        def __init__(self, request: Any, context: EndpointContext) -> None:
            if context.facility == "broken":
                raise LookupError("a secret")
            if context.facility == "closed":
                raise PermissionDenied
            self.facility = context.facility

        def opened(self, connection: Any) -> None:
            connection.send(f"welcome to {self.facility}")

        def received(self, connection: Any, message: str | bytes) -> None:
            if message == "bye":
                connection.close(4000, "as you wish")
            else:
                connection.send(message.upper())

    here = gate(endpoint=Upper)
    with here.connect("/ws/h%C3%A4user") as client:
        assert client.recv(5) == "welcome to häuser"
        client.send("loud")
        assert client.recv(5) == "LOUD"
        client.send("bye")
        with pytest.raises(Exception, match="4000"):
            client.recv(5)
    for facility, code in (("broken", 500), ("closed", 403)):
        with pytest.raises(InvalidStatus) as refused:
            here.connect(f"/ws/{facility}")
        assert status(refused)[0] == code
        assert "secret" not in status(refused)[1]


def test_options_lie_over_the_config_which_lies_over_the_default_of_the_process() -> None:
    config = Config(redis="memory://a", key_prefix="one", expire=5)
    middleware = WebSocketMiddleware(None, config=config, expire=7)
    assert (middleware.config.key_prefix, middleware.config.expire) == ("one", 7)
    with pytest.raises(ConfigurationError, match="did you mean 'heartbeat'"):
        WebSocketMiddleware(None, config=config, heartbeet="x")


def test_configure_holds_for_middleware_and_publisher(nothing_is_configured: None) -> None:
    configure(redis="memory://both", key_prefix="site")
    assert WebSocketMiddleware(None).config.key_prefix == "site"
    assert Publisher("news", broadcast=True).channels == ("site:broadcast:news",)


def test_where_no_websocket_was_there_is_nothing_to_close() -> None:
    middleware = WebSocketMiddleware(None, redis="memory://idle")
    middleware.close()
    assert middleware.stats() == dict.fromkeys(middleware.stats(), 0)


def test_pages_without_an_application_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    middleware = WebSocketMiddleware(None, prefix="/live/")
    answers: list[str] = []
    for _ in range(3):
        middleware({"PATH_INFO": "/"}, lambda code, headers: answers.append(code))
    assert answers == ["404 Not Found"] * 3
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("A request outside /live/ gets 404, as the middleware")


# ASGI servers


@pytest.mark.parametrize(
    "arguments",
    [({"type": "lifespan"},), ({"type": "http"}, print, print)],
    ids=["asgi2", "asgi3"],
)
def test_an_asgi_server_gets_a_sentence(arguments: tuple[Any, ...]) -> None:
    middleware: Any = WebSocketMiddleware(None, redis="memory://")
    with pytest.raises(ConfigurationError, match="is a WSGI application: start it with uWSGI"):
        middleware(*arguments)
