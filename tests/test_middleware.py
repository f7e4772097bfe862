"""The gate, in this process: a threaded server and a gevent one, with the memory broker."""

from __future__ import annotations

import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.pywsgi import WSGIServer as PyWSGIServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import WSGIRequestHandler, make_server

import wsredis.middleware
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
from wsredis.config import _current as _untouched  # the process default is restored below
from wsredis.drain import _drain_all
from wsredis.loop import in_gevent

from .place import until


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        """Say nothing."""


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the page " + environ["PATH_INFO"].encode()]


class Site:
    """A middleware on a server of this process."""

    def __init__(self, kind: str, app: Any, **options: Any) -> None:
        self.config = Config(redis=f"memory://{id(self)}", close_timeout=0.3)
        self.middleware = WebSocketMiddleware(app, config=self.config, **options)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=getattr(self, f"_{kind}"), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _threads(self) -> None:
        self._server: Any = make_server(
            "127.0.0.1", 0, self.middleware, threaded=True, request_handler=Quiet
        )
        self.port = self._server.server_port
        self.stop = self._stop_threads
        self._ready.set()
        self._server.serve_forever(poll_interval=0.01)

    def _stop_threads(self) -> None:
        self.middleware.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def _greenlets(self) -> None:
        server = PyWSGIServer(("127.0.0.1", 0), self.middleware, log=None)
        server.start()
        self.port = server.server_port
        loop, ended = gevent.get_hub().loop, gevent.event.Event()
        self.stop = lambda: (loop.run_callback_threadsafe(ended.set), self._thread.join(30))
        self._ready.set()
        ended.wait()
        gevent.spawn(self.middleware.close).join()
        server.stop()
        gevent.get_hub().destroy()

    def connect(self, path: str, **headers: str) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers={key.replace("_", "-"): value for key, value in headers.items()},
            open_timeout=30,
            close_timeout=5,
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def publisher(self, facility: str = "news", **audience: Any) -> Publisher:
        return Publisher(facility, config=self.config, **(audience or {"broadcast": True}))


@pytest.fixture(params=["threads", "greenlets"])
def site(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(app: Any = page, **options: Any) -> Site:
        made.append(Site(request.param, app, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def status(refused: pytest.ExceptionInfo[InvalidStatus]) -> tuple[int, str]:
    response = refused.value.response
    return response.status_code, bytes(response.body or b"").decode()


def test_pages_and_sockets_live_side_by_side(site: Callable[..., Site]) -> None:
    here = site()
    assert here.middleware.stats() == dict.fromkeys(here.middleware.stats(), 0)
    with here.connect("/ws/news?subscribe-broadcast") as client:
        here.publisher().publish("hello")
        here.publisher().publish(b"\xff\x00")
        here.publisher().publish({"n": 1})
        assert [client.recv(5), client.recv(5), client.recv(5)] == ["hello", b"\xff\x00", '{"n":1}']
        assert here.get("/about") == (200, "the page /about")
        assert here.middleware.stats()["connections"] == 1


def test_the_prefix_takes_whole_segments(site: Callable[..., Site]) -> None:
    here = site()
    assert here.get("/wsfoo") == (200, "the page /wsfoo")
    assert here.get("/ws") == (200, "the page /ws")
    code, text = here.get("/ws/news")
    assert code == 400
    assert "upgrade to a websocket" in text


def test_without_an_app_everything_else_is_404(site: Callable[..., Site]) -> None:
    here = site(None)
    code, text = here.get("/about")
    assert code == 404
    assert "/ws/" in text


def test_identity_and_policy_decide(site: Callable[..., Site]) -> None:
    def identify(request: Any) -> Identity | None:
        name = request.headers.get("X-User")
        return Identity(name, groups=["editors"], session="abc") if name else None

    def allow(request: Any, wishes: tuple[str, ...]) -> list[str]:
        if request.identity.user == "mallory":
            raise PermissionDenied("Not you.")
        return [*wishes, "publish-broadcast"]

    here = site(identity=identify, allowed_channels=allow)
    wishes = "subscribe-user&subscribe-group&subscribe-session"
    with here.connect(f"/ws/news?{wishes}", X_User="alice") as alice:
        here.publisher(users=["bob"]).publish("not for alice")
        for audience in ({"users": ["alice"]}, {"groups": ["editors"]}, {"sessions": ["abc"]}):
            here.publisher(**audience).publish(str(audience))
            assert alice.recv(5) == str(audience)
        alice.send("granted without being asked for is not granted")
        with pytest.raises(Exception, match="1008"):
            alice.recv(5)
    with pytest.raises(InvalidStatus) as refused:
        here.connect(f"/ws/news?{wishes}", X_User="mallory")
    assert status(refused) == (403, "Not you.\n")
    with pytest.raises(InvalidStatus) as refused:
        here.connect(f"/ws/news?{wishes}")
    assert status(refused)[0] == 403


@pytest.mark.parametrize(
    "resolver", [lambda request: 1 / 0, lambda request: "alice"], ids=["raises", "no-identity"]
)
def test_a_resolver_that_fails_lets_nobody_in(
    site: Callable[..., Site], resolver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    here = site(identity=resolver)
    with pytest.raises(InvalidStatus) as refused:
        here.connect("/ws/news?subscribe-broadcast")
    code, text = status(refused)
    assert code == 403
    assert "division" not in text
    assert "resolver failed" in caplog.text


def test_a_resolver_may_choose_its_answer(site: Callable[..., Site]) -> None:
    def identify(request: Any) -> Identity:
        raise HandshakeError(429, "Later.")

    with pytest.raises(InvalidStatus) as refused:
        site(identity=identify).connect("/ws/news?subscribe-broadcast")
    assert status(refused) == (429, "Later.\n")


LIMIT = 0.2


def wait_for_ever(request: Any, *args: Any) -> Any:
    """Hang, in a greenlet; in a thread, which nothing interrupts, take longer than is allowed."""
    if in_gevent():
        gevent.event.Event().wait()
    time.sleep(2 * LIMIT)


@pytest.mark.parametrize("slow", ["identity", "allowed_channels", "endpoint"])
def test_who_is_kept_waiting_too_long_gets_503(site: Callable[..., Site], slow: str) -> None:
    here = site(**{slow: wait_for_ever}, handshake_timeout=LIMIT)
    with pytest.raises(InvalidStatus) as refused:
        here.connect("/ws/news?subscribe-broadcast")
    assert status(refused) == (503, "It took too long to find out who you are.\n")
    assert refused.value.response.headers["Retry-After"] == "2"
    assert here.get("/page")[0] == 200
    assert here.middleware.stats()["connections"] == 0


def test_a_resolver_whose_own_time_runs_out_has_failed(
    site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    def identify(request: Any) -> Identity:
        raise TimeoutError("the session store")

    with pytest.raises(InvalidStatus) as refused:
        site(identity=identify).connect("/ws/news?subscribe-broadcast")
    assert status(refused)[0] == 403
    assert "TimeoutError: the session store" in caplog.text


def test_a_websocket_that_cannot_be_taken_over_leaves_no_seat(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Any, client: Any, loop: Any) -> None:
        os.close(client.fd)
        raise ConnectionError("the tunnel could not be dug")

    here = site(max_connections=1)
    with monkeypatch.context() as patch:
        patch.setattr(wsredis.middleware, "_open", fail)
        with here.connect("/ws/news?subscribe-broadcast") as ws, pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
    until(lambda: here.middleware.stats()["connections"] == 0)
    with here.connect("/ws/news?subscribe-broadcast") as ws:
        here.publisher().publish("now it works")
        assert ws.recv(timeout=30) == "now it works"


def test_who_is_interrupted_between_the_101_and_its_end_leaves_no_seat() -> None:
    """A harakiri, or a worker's time-out."""

    class Interrupted(socket.socket):
        def sendall(self, *args: Any) -> None:
            raise KeyboardInterrupt

    middleware = WebSocketMiddleware(None, redis="memory://interrupted")
    near, far = socket.socketpair()
    asked = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/ws/news",
        "QUERY_STRING": "subscribe-broadcast",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.com",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "wsgi.url_scheme": "http",
    }
    with far, Interrupted(fileno=near.detach()) as sock:
        with pytest.raises(KeyboardInterrupt):
            middleware({**asked, "gunicorn.socket": sock}, lambda *args: None)
        assert middleware.stats()["accepted"] == middleware.stats()["connections"] == 0
    middleware.close()


def test_two_first_websockets_at_once_make_one_hub() -> None:
    class Lock:
        def __init__(self) -> None:
            self.asked, self.held = threading.Event(), threading.Lock()

        def __enter__(self) -> None:
            self.asked.set()
            self.held.acquire()

        def __exit__(self, *exc: object) -> None:
            self.held.release()

    middleware = WebSocketMiddleware(None, redis="memory://both-at-once")
    middleware._lock = lock = Lock()  # type: ignore[assignment]
    found: list[Any] = []
    with lock:
        lock.asked.clear()
        second = threading.Thread(target=lambda: found.append(middleware._hub()))
        second.start()
        assert lock.asked.wait(30)
        middleware._home = first = middleware._make_hub()
    second.join(30)
    assert found == [first[1:]]
    middleware.close()


def test_an_endpoint_of_ones_own(site: Callable[..., Site]) -> None:
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

    here = site(endpoint=Upper)
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


def test_configure_holds_for_middleware_and_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsredis.config._current", _untouched)
    configure(redis="memory://both", key_prefix="site")
    assert WebSocketMiddleware(None).config.key_prefix == "site"
    assert Publisher("news", broadcast=True).channels == ("site:broadcast:news",)


def test_where_no_websocket_was_there_is_nothing_to_close() -> None:
    middleware = WebSocketMiddleware(None, redis="memory://idle")
    middleware.close()
    assert middleware.stats() == dict.fromkeys(middleware.stats(), 0)


def test_a_process_that_was_forked_has_a_hub_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = WebSocketMiddleware(None, redis="memory://fork")
    hub, _ = middleware._hub()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert middleware.stats() == dict.fromkeys(middleware.stats(), 0)
    other, _ = middleware._hub()
    assert other is not hub
    middleware.close()


def test_a_forked_child_that_ends_says_goodbye_to_nobody(site: Callable[..., Site]) -> None:
    here = site()
    with here.connect("/ws/news?subscribe-broadcast") as client:
        child = os.fork()
        if child == 0:
            try:
                _drain_all()  # would wait in vain for a thread that the child has not got
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        here.publisher().publish("still here")
        assert client.recv(5) == "still here"
