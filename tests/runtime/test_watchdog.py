"""The watchdog: application code that holds the loop is named, and no other code is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from wsredis import WebSocketMiddleware
from wsredis.asgi.endpoint import AsgiEndpoint
from wsredis.runtime.logs import INTERVAL, MAX_REASONS, Seldom
from wsredis.runtime.watchdog import LIMIT, TOLERANCE, Watchdog, check_handshake

from ..handshakes import DirectGate
from ..place import CHANNEL, SECONDS, Place, Recorder, until


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Holding(Recorder):
    """An endpoint that holds the loop until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = threading.Event()
        self.enough = threading.Event()

    def received(self, connection: Any, message: str | bytes) -> None:
        self.hold()

    def hold(self) -> None:
        self.holds.set()
        assert self.enough.wait(SECONDS)

    def release(self) -> None:
        self.enough.set()
        self.holds.clear()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.run(place.hub.close)
    for far in place.far_ends:
        far.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(place: Place, clock: Clock) -> Watchdog:
    return Watchdog(place.loop, place.hub, clock)


def wait_for_loop(place: Place) -> None:
    """Return when the loop has called back all that was asked for before."""
    for _ in range(2):
        place.run(lambda: None)


@pytest.fixture
def held(
    place: Place, watch: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> Callable[..., list[str]]:
    """Give a function that lets an endpoint hold the loop for some time, and returns the log."""

    def hold(seconds: float) -> list[str]:
        caplog.clear()
        endpoint = Holding()
        connection = place.websocket(endpoint)
        place.join(connection, [CHANNEL])
        near, _ = place.pair()
        place.run(connection.open, near.detach())
        place.loop.soon(connection._received, ["a message"])
        assert endpoint.holds.wait(SECONDS)
        watch.look()
        clock.now += seconds
        watch.look()
        endpoint.release()
        wait_for_loop(place)
        records = [r for r in caplog.records if r.name == "wsredis.watchdog"]
        assert {r.levelno for r in records} <= {logging.WARNING}
        return [r.getMessage() for r in records]

    return hold


def test_an_endpoint_that_holds_the_loop_is_named(held: Callable[..., list[str]]) -> None:
    (line,) = held(0.7)
    assert line.startswith("The endpoint held the loop for at least 700 ms: ")
    assert "test_watchdog.Holding.received (" in line
    assert "test_watchdog.py:" in line


def test_a_call_below_the_limit_is_not_reported(held: Callable[..., list[str]]) -> None:
    assert held(LIMIT / 2) == []


def test_a_function_is_named_once_a_minute(held: Callable[..., list[str]], clock: Clock) -> None:
    assert len(held(1)) == 1
    assert held(1) == []
    clock.now += INTERVAL
    assert len(held(1)) == 1


def test_another_call_in_between_is_not_taken_for_the_same(
    place: Place, watch: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two short calls of one function, the loop not free between the two looks."""
    endpoint = Holding()
    connection = place.websocket(endpoint)

    def both() -> None:
        connection._tell(endpoint.received, connection, "one")
        endpoint.enough.clear()
        connection._tell(endpoint.received, connection, "two")

    place.loop.soon(both)
    assert endpoint.holds.wait(SECONDS)
    watch.look()
    endpoint.holds.clear()
    endpoint.enough.set()
    assert endpoint.holds.wait(SECONDS)
    clock.now += 1
    watch.look()
    endpoint.enough.set()
    wait_for_loop(place)
    assert "wsredis.watchdog" not in [record.name for record in caplog.records]


def test_an_idle_loop_is_not_reported(place: Place, watch: Watchdog) -> None:
    wait_for_loop(place)
    watch.look()
    assert watch._sighting is None


def test_a_method_without_code_is_named_too(
    place: Place, watch: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    holds = threading.Lock()
    holds.acquire()
    connection = place.websocket()
    place.loop.soon(connection._tell, holds.acquire)
    until(lambda: place.hub.calling)
    watch.look()
    clock.now += 1
    watch.look()
    holds.release()
    wait_for_loop(place)
    assert "at least 1000 ms: " in caplog.text
    assert "lock.acquire. Meanwhile" in caplog.text
    assert place.hub.calling is None


def test_a_method_that_waits_in_its_greenlet_is_not_reported(
    place: Place, watch: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Something else holds the loop meanwhile; here it is the test."""
    go_on, held, enough = place.run(gevent.event.Event), threading.Event(), threading.Event()
    connection = place.websocket()
    place.loop.soon(gevent.spawn, connection._tell, go_on.wait)
    until(lambda: place.hub.calling)

    def hold() -> None:
        held.set()
        enough.wait(SECONDS)

    place.loop.soon(hold)
    assert held.wait(SECONDS)
    watch.look()
    clock.now += 1
    watch.look()
    enough.set()
    wait_for_loop(place)
    assert "wsredis.watchdog" not in [record.name for record in caplog.records]
    place.run(go_on.set)
    until(lambda: place.hub.calling is None)


def test_a_method_that_is_killed_is_called_no_more(place: Place) -> None:
    def killed() -> None:
        raise gevent.GreenletExit

    connection = place.websocket()
    with pytest.raises(gevent.GreenletExit):
        place.run(connection._tell, killed)
    assert place.hub.calling is None


def test_a_method_that_fails_is_called_no_more(place: Place) -> None:
    endpoint = Recorder()
    endpoint.error = LookupError("for the test")
    connection = place.websocket(endpoint)
    place.run(connection._tell, endpoint.received, connection, "x")
    assert place.hub.calling is None


class Looking(Watchdog):
    """A watchdog that only notes its looks, and stops after some."""

    def __init__(self, place: Place, looks: int) -> None:
        super().__init__(place.loop, place.hub)
        self.left = looks
        self.ended = threading.Event()

    def look(self) -> None:
        self.left -= 1
        self.stopped = not self.left

    def _run(self) -> None:
        super()._run()
        self.ended.set()


# The code of a handshake


class Resolver:
    def __call__(self, request: object) -> None:
        pass


def identify(request: object) -> None:
    pass


def report(took: float, **called: Any) -> None:
    """Report a handshake in a greenlet whose iteration of the loop has lasted a moment."""
    gevent.spawn(check_handshake, took, called).get()


def test_code_of_a_handshake_is_named_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        report(TOLERANCE, identity=Resolver(), allowed_channels=identify, endpoint=Recorder)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "wsredis.watchdog"]
    here = "tests.runtime.test_watchdog"
    assert line.startswith(f"A handshake held the loop for 10 ms, in identity={here}.Resolver (")
    assert f" or allowed_channels={here}.identify (" in line
    assert line.count("test_watchdog.py:") == 2
    assert " or endpoint=tests.place.Recorder. Meanwhile" in line


def test_a_handshake_that_has_waited_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    report(1e6, identity=identify)
    assert "wsredis.watchdog" not in [record.name for record in caplog.records]


def test_code_of_ours_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    report(TOLERANCE)
    assert "wsredis.watchdog" not in [record.name for record in caplog.records]


def test_a_handshake_in_a_thread_holds_no_loop(caplog: pytest.LogCaptureFixture) -> None:
    check_handshake(TOLERANCE, {"identity": identify})
    assert "wsredis.watchdog" not in [record.name for record in caplog.records]


@pytest.mark.parametrize("own", [False, True], ids=["site", "default"])
def test_a_slow_handshake_is_checked(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[float, list[str]]] = []
    monkeypatch.setattr("wsredis.middleware.LIMIT", 0.0)
    monkeypatch.setattr(
        "wsredis.middleware.check_handshake", lambda took, called: checked.append((took, [*called]))
    )
    options: dict[str, Any] = {} if own else {"allowed_channels": lambda r, keys: keys}
    gate = DirectGate(identity=None if own else Resolver(), **options)
    try:
        assert gate.ask()[0].startswith("101")
    finally:
        gate.close()
    ((took, names),) = checked
    assert took > 0
    assert names == ([] if own else ["identity", "allowed_channels"])


def test_a_hosted_application_has_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[list[str]] = []
    monkeypatch.setattr(
        "wsredis.middleware.check_handshake", lambda took, called: checked.append([*called])
    )
    middleware = WebSocketMiddleware(
        None, redis="memory://x", identity=Resolver(), allowed_channels=lambda r, keys: keys
    )
    middleware._check_handshake(1.0, AsgiEndpoint.__new__(AsgiEndpoint))
    middleware._check_handshake(1.0, Recorder())
    assert checked == [["identity"], ["identity", "allowed_channels", "endpoint"]]


def test_it_looks_until_it_is_stopped(place: Place) -> None:
    watch = Looking(place, 2)
    others: list[int] = []
    watch.also.append(lambda: others.append(watch.left))
    watch._run()
    assert watch.left == 0
    assert others == [1, 0]
    watch._run()
    assert watch.left == 0


def test_it_has_a_thread(place: Place) -> None:
    watch = Looking(place, 2)
    watch.start()
    assert watch.ended.wait(SECONDS)
    assert watch.left == 0


def test_a_closed_middleware_stops_its_watchdog() -> None:
    gate = DirectGate()
    assert not gate.process._watchdog.stopped
    gate.close()
    assert gate.process._watchdog.stopped


def test_seldom_forgets_the_oldest_reason_first() -> None:
    clock = Clock()
    seldom = Seldom(clock)
    assert all(seldom.passes(number) for number in range(MAX_REASONS))
    assert not seldom.passes(0)
    assert seldom.passes("one more")
    assert len(seldom._last) == MAX_REASONS
    assert not seldom.passes(1)
    assert seldom.passes(0)
