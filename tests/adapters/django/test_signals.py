"""The signals: which receivers are called, in which thread, and the effect of bad receivers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from websockets.exceptions import InvalidStatus

from wsredis import Endpoint, Identity, PubSubEndpoint
from wsredis.adapters.django import Publisher, connected, disconnected, signals, worker
from wsredis.adapters.django.worker import Worker

SECONDS = 30.0

Receiver = Callable[..., Any]


@pytest.fixture
def listen() -> Iterator[Callable[[Any, Receiver], None]]:
    """Give a function that connects a receiver for this test."""
    receivers: list[tuple[Any, Receiver]] = []

    def connect(signal: Any, receiver: Receiver) -> None:
        signal.connect(receiver, weak=False)
        receivers.append((signal, receiver))

    yield connect
    for signal, receiver in receivers:
        signal.disconnect(receiver)


class Heard:
    """A receiver that stores its calls, for which a test can wait.

    Args:
        facility: the facility whose events count; websockets of the previous test may still end.
    """

    def __init__(self, facility: str | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._facility = facility
        self._new = threading.Condition()

    def __call__(self, **said: Any) -> None:
        if said.get("facility") != self._facility:
            return
        with self._new:
            self.events.append(said | {"thread": threading.current_thread().name})
            self._new.notify_all()

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        with self._new:
            assert self._new.wait_for(lambda: len(self.events) >= count, SECONDS)
            return self.events


def test_both_signals_say_who_and_what(
    live: Any,
    room: str,
    listen: Any,
    person: Callable[..., Any],
    login: Callable[[Any], Client],
) -> None:
    came, went = Heard(room), Heard(room)
    listen(connected, came)
    listen(disconnected, went)
    client = login(person("alice", "editors"))
    with live.open(f"/ws/{room}?subscribe-user&subscribe-broadcast", client) as ws:
        (event,) = came.wait()
        assert not went.events
        ws.close(4001, "enough")
    key, ends = client.cookies["sessionid"].value, event["identity"].expires
    said = {
        "sender": PubSubEndpoint,
        "identity": Identity("alice", ("editors",), key, ends),
        "facility": room,
        "channels": (f"ws:user:alice:{room}", f"ws:broadcast:{room}"),
        "thread": "wsredis-signals",
    }
    assert event == {**said, "signal": connected}
    assert ends > time.time()
    assert went.wait() == [{**said, "signal": disconnected, "code": 4001}]


def test_a_refused_handshake_is_not_announced(live: Any, room: str, listen: Any) -> None:
    came = Heard(room)
    listen(connected, came)
    with pytest.raises(InvalidStatus), live.open(f"/ws/{room}?subscribe-user"):
        pass
    with live.open(f"/ws/{room}?subscribe-broadcast"):
        assert [event["channels"] for event in came.wait()] == [(f"ws:broadcast:{room}",)]


def test_a_slow_receiver_holds_up_no_websocket(live: Any, room: str, listen: Any) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(facility: str, **said: Any) -> None:
        if facility == room:
            entered.set()
            assert leave.wait(SECONDS)

    went = Heard(room)
    listen(connected, slow)
    listen(disconnected, went)
    try:
        with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
            assert entered.wait(SECONDS)
            with live.open(f"/ws/{room}?subscribe-broadcast") as other:
                Publisher(room, broadcast=True).publish("hello")
                assert ws.recv(timeout=SECONDS) == other.recv(timeout=SECONDS) == "hello"
        assert not went.events
    finally:
        leave.set()
    assert len(went.wait(2)) == 2


def test_a_receiver_that_fails_is_logged_and_the_next_one_hears(
    live: Any, room: str, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(**said: Any) -> None:
        raise LookupError("a problem of the receiver")

    came = Heard(room)
    listen(connected, failing)
    listen(connected, came)
    with caplog.at_level(logging.ERROR), live.open(f"/ws/{room}?subscribe-broadcast"):
        came.wait()
    assert "a problem of the receiver" in caplog.text


@pytest.mark.parametrize("error", [SystemExit("a bug"), OSError("the database has gone")])
def test_an_event_that_fails_does_not_end_the_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    calls = iter([error])

    def close() -> None:
        if threading.current_thread().name == "jobs":  # other workers of this process go on
            for problem in calls:
                raise problem

    monkeypatch.setattr("wsredis.adapters.django.worker.close_old_connections", close)
    jobs, done = Worker("jobs"), threading.Event()
    jobs.start()
    jobs.put(print)
    jobs.put(done.set)
    assert done.wait(SECONDS)
    assert str(error) in caplog.text
    jobs._end(jobs._pid)


@pytest.mark.parametrize("ends", [True, False])
def test_a_function_waits_for_the_end_of_an_asyncio_loop(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """In a patched process that of an async view is seen in all greenlets; Django refuses then."""
    looks: list[object] = []

    def running_loop() -> object:
        looks.append(None)
        return None if ends and len(looks) > 2 else "a loop"

    monkeypatch.setattr(worker, "asyncio", SimpleNamespace(_get_running_loop=running_loop))
    monkeypatch.setattr(worker, "LOOP_SECONDS", 20 if ends else 0.01)
    worker._call(lambda: looks.append("called"))
    assert "called" in looks[2:]


def test_a_receiver_may_use_the_database(
    live: Any, room: str, listen: Any, person: Callable[..., Any], eventually: Any
) -> None:
    person("alice")
    used: list[Any] = []

    def count(facility: str, **said: Any) -> None:
        if facility == room:
            used.append((User.objects.count(), connection._connections[connection._alias]))

    listen(connected, count)
    with live.open(f"/ws/{room}?subscribe-broadcast"):
        eventually(lambda: used)
    ((users, database),) = used
    assert users == 1
    eventually(lambda: database.connection is None)


def test_what_nobody_hears_costs_nothing(live: Any) -> None:
    endpoint = object()
    assert signals.announced(endpoint, Identity("alice"), "x") is endpoint


def test_an_endpoint_that_is_announced_has_all_its_members(listen: Any) -> None:
    came, went = Heard("x"), Heard("x")
    listen(connected, came)
    listen(disconnected, went)
    called: list[tuple[Any, ...]] = []

    class Mine(Endpoint):
        channels = ("ws:broadcast:x",)
        wants_retained = False
        deferred = True
        subprotocol = "one"
        headers = (("X-Mine", "yes"),)

        def connecting(self, connection: Any) -> None:
            called.append(("connecting", connection))

        def received(self, connection: Any, message: Any) -> None:
            called.append(("received", connection, message))

        def drained(self, connection: Any) -> None:
            called.append(("drained", connection))

        def closed(self, connection: Any, code: int) -> None:
            called.append(("closed", connection, code))

    mine = Mine(None, None)
    for opens in (False, True):
        endpoint = signals.announced(mine, Identity("alice"), "x")
        for name in ("channels", "wants_retained", "deferred", "subprotocol", "headers"):
            assert getattr(endpoint, name) == getattr(mine, name)
        called.clear()
        endpoint.connecting("c")
        if opens:
            endpoint.opened("c")
            endpoint.received("c", "hello")
            endpoint.drained("c")
        endpoint.closed("c", 1006)
        names = ["connecting", *(["received", "drained"] if opens else []), "closed"]
        assert [call[0] for call in called] == names
    (event,) = went.wait()  # of the one that was open
    assert event["code"] == 1006
    assert event["channels"] == came.wait()[0]["channels"] == ("ws:broadcast:x",)


def test_too_many_events_are_dropped_and_logged(
    listen: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entered, leave = threading.Event(), threading.Event()
    heard = Heard()

    def slow(**said: Any) -> None:
        entered.set()
        assert leave.wait(SECONDS)
        heard(**said)

    listen(connected, slow)
    monkeypatch.setattr(signals, "LIMIT", 3)
    events = signals._Events("events")
    events.start()
    events.send(connected, None, {"number": 0})
    assert entered.wait(SECONDS)
    for number in range(1, 9):
        events.send(connected, None, {"number": number})
    leave.set()
    assert [event["number"] for event in heard.wait(4)] == [0, 1, 2, 3]
    assert caplog.text.count("dropping events") == 1
    events._end(events._pid)
    assert not events._thread.is_alive()
