"""The slots of a handshake: taken before code of the site runs, released on every refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from websockets.exceptions import InvalidStatus

from wsredis import (
    EndpointContext,
    HandshakeError,
    Identity,
    PermissionDenied,
    PubSubEndpoint,
    WebSocketMiddleware,
)
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.exceptions import BrokerUnavailable
from wsredis.handshake import refusal
from wsredis.runtime.logs import Seldom
from wsredis.runtime.loop import in_gevent

from .gate import HANDSHAKE, Gate, status
from .place import until
from .servers.wire import Answer, Wire

TARGET = "/ws/news?subscribe-broadcast"
ONE_OF_EACH = {
    "max_connections": 1,
    "max_connections_per_address": 1,
    "max_connections_per_user": 1,
}


class Unreliable(MemoryBroker):
    """A broker that is unavailable to new subscribers while a test says so."""

    unavailable = False

    def open(self, *args: Any) -> Any:
        feed = super().open(*args)
        subscribe = feed.subscribe

        def subscribe_or_fail(channels: Any, most: int) -> Any:
            if self.unavailable:
                raise BrokerUnavailable("gone")
            return subscribe(channels)

        feed.subscribe = subscribe_or_fail  # type: ignore[method-assign]
        return feed


class Application:
    """A resolver, a policy and an endpoint that do what a header of the request says.

    ``X-Do: resolver denies`` is a command for the resolver.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_asked = threading.Event()
        self.may_go_on = threading.Event()

    def _carry_out(self, who: str, request: Any) -> None:
        whom, _, what = request.headers.get("X-Do", "").partition(" ")
        if whom != who:
            return
        if what == "denies":
            raise PermissionDenied("Not you.")
        if what == "chooses":
            raise HandshakeError(429, "Later.")
        if what == "fails":
            raise LookupError("a secret")
        if what == "hangs" and in_gevent():
            gevent.event.Event().wait()
        if what == "hangs":  # nothing can interrupt a thread
            time.sleep(0.6)
        if what == "waits":
            self.is_asked.set()
            while not self.may_go_on.is_set():
                (gevent.sleep if in_gevent() else time.sleep)(0.002)

    def identify(self, request: Any) -> Any:
        name = request.headers.get("X-User", "alice")
        self.asked.append(name)
        self._carry_out("resolver", request)
        return name if request.headers.get("X-Do") == "resolver errs" else Identity(name)

    def allow(self, request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
        self._carry_out("policy", request)
        return () if request.headers.get("X-Do") == "policy grants nothing" else requested

    def endpoint(self, request: Any, context: EndpointContext) -> PubSubEndpoint:
        self._carry_out("endpoint", request)
        return PubSubEndpoint(request, context)


class Door:
    """A middleware with an `Application`, and clients that connect to it."""

    def __init__(self, gate: Callable[..., Gate], **options: Any) -> None:
        self.application = Application()
        self.broker = Unreliable()
        self.gate = gate(
            broker=self.broker,
            identity=self.application.identify,
            allowed_channels=self.application.allow,
            endpoint=self.application.endpoint,
            **options,
        )

    @property
    def process(self) -> Any:
        return self.gate.middleware._process_here()

    @property
    def taken(self) -> tuple[int, dict[Any, int]]:
        return self.process.limits.count, self.process.limits._taken

    def assert_free(self) -> None:
        """See that nothing is taken, and that whoever comes now gets in."""
        assert self.taken == (0, {})
        with self.gate.connect(TARGET) as client:
            count, taken = self.taken
            assert count == 1
            assert set(taken.values()) <= {1}
            self.broker.publish(["ws:broadcast:news"], b"come in", 0)
            assert client.recv(timeout=30) == "come in"
        until(lambda: self.taken == (0, {}))

    def wire(self, target: str = TARGET, **headers: str) -> Wire:
        """Return a raw client whose handshake is on its way."""
        wire = Wire(self.gate.port)
        wire.send(wire.request(target, **headers))
        return wire

    def try_(self, target: str = TARGET, **headers: str) -> Answer:
        with self.wire(target, **headers) as wire:
            return wire.answer()

    def refused(self, **headers: str) -> tuple[int, str]:
        with pytest.raises(InvalidStatus) as refused:
            self.gate.connect(TARGET, **headers)
        return status(refused)


@pytest.fixture
def door(gate: Callable[..., Gate]) -> Iterator[Callable[..., Door]]:
    """Give a function that makes a door; whoever waits behind it may go on in the end."""
    made: list[Door] = []

    def make(**options: Any) -> Door:
        made.append(Door(gate, **options))
        return made[-1]

    yield make
    for each in made:
        each.application.may_go_on.set()


# Before the resolver


def test_a_full_process_does_not_ask_the_resolver(door: Callable[..., Door]) -> None:
    here = door(max_connections=1)
    with here.gate.connect(TARGET):
        here.application.asked.clear()
        for user in ("alice", "bob"):
            assert here.refused(X_User=user) == (
                503,
                "This server process has reached its limit of websockets; try again later.\n",
            )
        assert here.application.asked == []
        assert here.taken == (1, {("user", "alice"): 1})
    until(lambda: here.taken == (0, {}))


def test_an_address_that_has_enough_does_not_get_to_the_resolver(
    door: Callable[..., Door],
) -> None:
    here = door(max_connections_per_address=1, trusted_proxies=("127.0.0.1",))
    one, other = {"X_Forwarded_For": "192.0.2.1"}, {"X_Forwarded_For": "192.0.2.2"}
    with here.gate.connect(TARGET, **one):
        here.application.asked.clear()
        assert here.refused(X_User="bob", **one) == (
            429,
            "Too many websockets for this address. Close some, or try again later.\n",
        )
        assert here.application.asked == []
        with here.gate.connect(TARGET, **other):
            assert here.application.asked == ["alice"]
            assert here.taken[0] == 2
    until(lambda: here.taken == (0, {}))


def test_the_limit_of_a_user_is_known_behind_the_resolver_only(door: Callable[..., Door]) -> None:
    here = door(max_connections_per_user=1)
    with here.gate.connect(TARGET):
        here.application.asked.clear()
        assert here.refused() == (
            429,
            "Too many websockets for this user. Close some, or try again later.\n",
        )
        assert here.application.asked == ["alice"]
        assert here.taken == (1, {("user", "alice"): 1})
        with here.gate.connect(TARGET, X_User="bob"):
            assert here.taken == (2, {("user", "alice"): 1, ("user", "bob"): 1})
    until(lambda: here.taken == (0, {}))


def test_a_handshake_has_its_slots_while_the_resolver_works(door: Callable[..., Door]) -> None:
    here = door(max_connections=1)
    with here.wire(x_do="resolver waits") as first:
        assert here.application.is_asked.wait(30)
        assert here.gate.middleware.stats()["connections"] == 0
        assert here.refused()[0] == 503
        here.application.may_go_on.set()
        assert first.answer().status == 101
        assert here.refused()[0] == 503
        assert here.application.asked == ["alice"]
    until(lambda: here.taken == (0, {}))


def test_two_of_one_user_who_come_at_once_do_not_both_get_the_last_slot(
    door: Callable[..., Door],
) -> None:
    here = door(max_connections_per_user=1)
    with ExitStack() as stack:
        wires = [stack.enter_context(here.wire(x_do="endpoint waits")) for _ in range(6)]
        until(lambda: len(here.application.asked) == 6)
        here.application.may_go_on.set()
        assert sorted(wire.answer().status for wire in wires) == [101, *[429] * 5]
        assert here.taken == (1, {("user", "alice"): 1})


def test_what_is_no_handshake_takes_no_slot(door: Callable[..., Door]) -> None:
    here = door(**ONE_OF_EACH)
    for headers in ({"sec_websocket_key": "short"}, {"origin": "https://evil.example"}):
        assert here.try_(**headers).status in (400, 403)
    assert here.application.asked == []
    here.assert_free()


# Every refusal


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ("resolver denies", 403),
        ("resolver chooses", 429),
        ("resolver fails", 403),
        ("resolver errs", 403),
        ("resolver hangs", 503),
        ("policy denies", 403),
        ("policy chooses", 429),
        ("policy fails", 403),
        ("policy grants nothing", 403),
        ("policy hangs", 503),
        ("endpoint denies", 403),
        ("endpoint chooses", 429),
        ("endpoint fails", 500),
        ("endpoint hangs", 503),
    ],
)
def test_who_is_refused_gives_its_slots_back(
    door: Callable[..., Door], order: str, code: int
) -> None:
    here = door(**ONE_OF_EACH, **({"handshake_timeout": 0.5} if "hangs" in order else {}))
    for _ in range(2):
        answer = here.try_(x_do=order)
        assert answer.status == code
        assert "secret" not in answer.body
        assert here.taken == (0, {})
    here.assert_free()


def test_a_query_that_requests_nothing_gives_its_slots_back(door: Callable[..., Door]) -> None:
    here = door(**ONE_OF_EACH)
    assert here.try_("/ws/news").status == 400
    here.assert_free()


def test_a_user_who_has_enough_gives_the_slots_of_process_and_address_back(
    door: Callable[..., Door],
) -> None:
    here = door(max_connections=2, max_connections_per_address=2, max_connections_per_user=1)
    with here.gate.connect(TARGET):
        for _ in range(3):
            assert here.refused()[0] == 429
        with here.gate.connect(TARGET, X_User="bob"):
            assert here.refused(X_User="carol")[0] == 503
    until(lambda: here.taken == (0, {}))
    here.assert_free()


def test_an_unavailable_broker_gives_all_slots_back(
    door: Callable[..., Door], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal, "_seldom", Seldom())
    here = door(**ONE_OF_EACH)
    here.broker.unavailable = True
    for _ in range(2):
        answer = here.try_()
        assert answer.status == 503
        assert answer.body == "The message broker is unavailable; try again.\n"
        assert answer.headers["retry-after"] == "2"
        assert here.taken == (0, {})
    lines = [r for r in caplog.records if "unavailable; try again. (gone)" in r.getMessage()]
    assert [r.levelname for r in lines] == ["WARNING"]  # it comes once a minute
    assert "user=alice asked for /ws/news" in lines[0].getMessage()
    assert here.gate.middleware.stats()["connections"] == 0
    assert here.gate.middleware.stats()["channels"] == 0
    here.broker.unavailable = False
    here.assert_free()


@pytest.mark.parametrize("where", ["resolver", "policy", "endpoint"])
def test_a_client_that_is_gone_before_the_101_gives_all_slots_back(
    door: Callable[..., Door], caplog: pytest.LogCaptureFixture, where: str
) -> None:
    caplog.set_level("INFO")
    here = door(**ONE_OF_EACH)
    wire = here.wire(x_do=f"{where} waits")
    assert here.application.is_asked.wait(30)
    assert here.taken[0] == 1
    wire.abort()
    here.application.may_go_on.set()
    until(lambda: here.taken == (0, {}))
    until(lambda: "the client disconnected during the handshake" in caplog.text)
    assert here.gate.middleware.stats()["connections"] == 0
    assert here.gate.middleware.stats()["accepted"] == 0
    here.assert_free()


def test_a_process_that_drains_gives_all_slots_back(door: Callable[..., Door]) -> None:
    here = door(**ONE_OF_EACH)
    with here.gate.connect(TARGET) as client:
        here.process.loop.run(here.process.hub.drain)
        with pytest.raises(Exception, match="1012"):
            client.recv(timeout=30)
    until(lambda: here.taken == (0, {}))
    for _ in range(2):
        answer = here.try_()
        assert answer.status == 503
        assert answer.body == "The server is about to restart.\n"
        assert answer.headers["retry-after"] == "2"
        assert here.taken == (0, {})
    assert here.gate.middleware.stats()["connections"] == 0


def test_who_came_before_the_drain_and_is_decided_on_after_it_gives_all_slots_back(
    door: Callable[..., Door],
) -> None:
    here = door(**ONE_OF_EACH)
    with here.wire(x_do="endpoint waits") as wire:
        assert here.application.is_asked.wait(30)
        here.process.loop.run(here.process.hub.drain)
        here.application.may_go_on.set()
        assert wire.answer().status == 503
    assert here.taken == (0, {})


@pytest.mark.parametrize("where", ["identity", "allowed_channels", "endpoint"])
def test_who_is_interrupted_before_the_101_gives_all_slots_back(where: str) -> None:
    """A harakiri, or a worker's time-out: no `Exception`, and no answer."""

    def be_interrupted(request: Any, *args: Any) -> Any:
        raise SystemExit(1)

    middleware = WebSocketMiddleware(
        None, redis="memory://interrupted-early", **ONE_OF_EACH, **{where: be_interrupted}
    )
    environ = {**HANDSHAKE, "REMOTE_ADDR": "192.0.2.1", "gunicorn.socket": object()}
    for _ in range(2):
        with pytest.raises(SystemExit):
            middleware(dict(environ), lambda *args: None)
        limits = middleware._process_here().limits
        assert (limits.count, limits._taken) == (0, {})
    middleware.close()
