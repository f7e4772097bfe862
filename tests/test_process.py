"""The parts shared by all middleware of a process: hub, loop, link to the broker, limits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import wsredis.process
from wsredis import Config, Identity, PermissionDenied, WebSocketMiddleware
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.drain import _drain_all, _hubs

from .gate import Gate, page, status
from .place import until


class Pair:
    """Two middleware below ``/one`` and ``/two`` of one server."""

    def __init__(self, gate: Callable[..., Gate], *options: dict[str, Any]) -> None:
        self.broker = MemoryBroker()
        config = Config(close_timeout=0.3, heartbeat=None)
        self.one, self.two = (
            WebSocketMiddleware(page, **{"config": config, "broker": self.broker} | each)
            for each in options or ({}, {})
        )
        self._gate = gate(DispatcherMiddleware(page, {"/one": self.one, "/two": self.two}))

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.one.close()
        self.two.close()

    def connect(self, which: str, **headers: str) -> ClientConnection:
        return self._gate.connect(f"/{which}/ws/news?subscribe-broadcast", **headers)

    def refused(self, which: str, **headers: str) -> tuple[int, str]:
        with pytest.raises(InvalidStatus) as refused:
            self.connect(which, **headers)
        return status(refused)

    def publish(self, text: str) -> int:
        return self.broker.publish(["ws:broadcast:news"], text.encode(), 0)


def by_header(request: Any) -> Identity | None:
    name = request.headers.get("X-User")
    return Identity(name) if name else None


def test_middleware_with_equal_options_and_the_same_broker_counts_together(
    gate: Callable[..., Gate],
) -> None:
    with Pair(gate) as pair, pair.connect("one") as first, pair.connect("two") as second:
        assert pair.one._process_here() is pair.two._process_here()
        until(lambda: pair.one.stats()["accepted"] == 2)
        assert pair.one.stats() == pair.two.stats()
        assert pair.one.stats()["connections"] == 2
        assert pair.one.stats()["channels"] == 1
        assert pair.publish("hello") == 1  # one link to the broker for both
        assert first.recv(timeout=30) == second.recv(timeout=30) == "hello"
        until(lambda: pair.one.stats()["delivered"] == pair.two.stats()["delivered"] == 2)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("max_connections", 503),
        ("max_connections_per_address", 429),
        ("max_connections_per_user", 429),
    ],
)
def test_the_limits_of_the_process_hold_for_both_together(
    gate: Callable[..., Gate], limit: str, code: int
) -> None:
    options = {"config": Config(close_timeout=0.3, **{limit: 2}), "identity": by_header}
    with Pair(gate, options, dict(options)) as pair, ExitStack() as stack:
        for which in ("one", "two"):
            stack.enter_context(pair.connect(which, X_User="alice"))
        for which in ("one", "two"):
            assert pair.refused(which, X_User="alice")[0] == code
        stack.close()
        until(lambda: pair.one.stats()["connections"] == 0)
        with pair.connect("two", X_User="alice"), pair.connect("two", X_User="alice"):
            assert pair.refused("one", X_User="alice")[0] == code


@pytest.mark.parametrize(
    "other",
    [{"expire": 5}, {"max_connections": 1}, {"prefix": "/ws/"}, {"broker": MemoryBroker()}],
    ids=lambda options: next(iter(options)),
)
def test_what_differs_in_an_option_or_its_broker_counts_for_itself(
    gate: Callable[..., Gate], other: dict[str, Any]
) -> None:
    alike = other == {"prefix": "/ws/"}  # which is what it is anyway
    with Pair(gate, {}, other) as pair, pair.connect("one"), pair.connect("two"):
        assert (pair.one._process_here() is pair.two._process_here()) is alike
        for middleware in (pair.one, pair.two):
            assert middleware.stats()["connections"] == (2 if alike else 1)


def test_a_full_process_object_leaves_the_other_its_room(gate: Callable[..., Gate]) -> None:
    with Pair(gate, {"max_connections": 1}, {"max_connections": 2}) as pair, pair.connect("one"):
        assert pair.refused("one")[0] == 503
        with pair.connect("two"), pair.connect("two"):
            assert pair.refused("two")[0] == 503
            assert pair.one.stats()["connections"] == 1


def test_resolver_policy_and_endpoint_are_not_shared(gate: Callable[..., Gate]) -> None:
    def nobody(request: Any, requested: tuple[str, ...]) -> list[str]:
        raise PermissionDenied("Not here.")

    with Pair(gate, {}, {"allowed_channels": nobody}) as pair, pair.connect("one"):
        assert pair.refused("two") == (403, "Not here.\n")
        assert pair.one._process_here() is pair.two._process_here()


def test_when_one_is_closed_the_other_begins_anew_at_its_next_websocket(
    gate: Callable[..., Gate],
) -> None:
    with Pair(gate) as pair, ExitStack() as stack:
        before = [stack.enter_context(pair.connect(which)) for which in ("one", "two")]
        first = pair.one._process_here()
        pair.one.close()
        for client in before:
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=30)
        assert first.closed
        assert pair.publish("nobody") == 0
        for middleware in (pair.one, pair.two):
            assert middleware.stats() == dict.fromkeys(middleware.stats(), 0)
        with pair.connect("two") as client:
            second = pair.two._process_here()
            assert second is not first
            until(lambda: pair.two.stats()["accepted"] == pair.two.stats()["connections"] == 1)
            assert pair.publish("anew") == 1
            assert client.recv(timeout=30) == "anew"
            with pair.connect("one"):
                assert pair.one._process_here() is second
                assert pair.two.stats()["connections"] == 2


def test_nobody_finds_a_process_object_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for one meanwhile waits, and makes another."""
    middleware = WebSocketMiddleware(None, redis="memory://closing")
    process = middleware._process_here()
    closed_before: list[bool] = []

    class Lock:
        def __enter__(self) -> None:
            closed_before.append(process.closed)

        def __exit__(self, *exc_info: object) -> None:
            assert process not in wsredis.process._processes

    with monkeypatch.context() as patch:
        patch.setattr(wsredis.process, "_lock", Lock())
        process.close()
    assert closed_before == [False]
    assert process.closed
    other = middleware._process_here()
    assert other is not process
    middleware.close()


def test_who_is_closed_before_its_first_websocket_takes_nothing_from_the_other(
    gate: Callable[..., Gate],
) -> None:
    with Pair(gate) as pair, pair.connect("one") as client:
        pair.two.close()
        pair.publish("still here")
        assert client.recv(timeout=30) == "still here"


def test_two_first_websockets_at_once_make_one_process_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One waits for the other, be they of one middleware or of two that are alike."""
    asked, entered, may_go = threading.Semaphore(0), threading.Event(), threading.Event()

    class Lock:
        def __init__(self) -> None:
            self._held = threading.Lock()

        def __enter__(self) -> None:
            asked.release()
            self._held.acquire()

        def __exit__(self, *exc: object) -> None:
            self._held.release()

    class Slow(wsredis.process.Process):
        def __init__(self, *args: Any) -> None:
            entered.set()
            assert may_go.wait(30)
            super().__init__(*args)

    monkeypatch.setattr(wsredis.process, "_lock", Lock())
    monkeypatch.setattr(wsredis.process, "Process", Slow)
    one, other = (WebSocketMiddleware(None, redis="memory://both-at-once") for _ in range(2))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda which=which: found.append(which._process_here()))
        for which in (one, one, other)
    ]
    threads[0].start()
    assert entered.wait(30)
    entered.clear()
    for thread in threads[1:]:
        thread.start()
    for _ in threads:
        assert asked.acquire(timeout=30)
    may_go.set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert len(set(found)) == 1
    assert not entered.is_set()
    one.close()


def test_two_that_need_the_first_asyncio_loop_at_once_get_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    middleware = WebSocketMiddleware(None, redis="memory://asyncio-at-once")
    process = middleware._process_here()
    made: Any = object()

    class Lock:
        """A lock that another thread has got just before."""

        def __enter__(self) -> None:
            process.asyncio = made

        def __exit__(self, *exc_info: object) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr(wsredis.process, "_lock", Lock())
        assert process.asyncio_loop() is made
    process.asyncio = None
    middleware.close()


def test_a_process_that_was_forked_has_a_hub_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = WebSocketMiddleware(None, redis="memory://fork")
    process = middleware._process_here()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        assert middleware.stats() == dict.fromkeys(middleware.stats(), 0)
        middleware.close()  # which is none of the child's business
        assert not process.closed
        child = middleware._process_here()
        assert child is not process
        assert child.hub is not process.hub
        middleware.close()
        assert child.closed
    process.close()


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    config, broker = Config(), MemoryBroker()
    with wsredis.process._lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            process = wsredis.process.process_for(config, broker)
            os._exit(0 if process.pid == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("greenlets", [True, False])
def test_threads_share_one_only_where_none_of_them_runs_a_loop_of_its_own(greenlets: bool) -> None:
    config, broker = Config(), MemoryBroker()
    found: list[wsredis.process.Process] = []
    both = threading.Barrier(2)

    def find() -> None:
        process = wsredis.process.process_for(config, broker)
        found.append(process)
        both.wait(30)
        if greenlets:  # the loop ends with its thread
            process.close()

    def run() -> None:
        if greenlets:
            gevent.spawn(find).get()
        else:
            find()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == (2 if greenlets else 1)
    if not greenlets:
        found[0].close()
    assert not set(_hubs) & {process.hub for process in found}


def test_a_forked_child_that_ends_says_goodbye_to_nobody(gate: Callable[..., Gate]) -> None:
    here = gate()
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


@pytest.mark.parametrize(
    ("options", "own", "each", "room", "limit", "warning"),
    [
        ({}, 0, 1, 896, 1024, None),
        ({}, 1000, 1, 896, 2024, None),
        ({}, 5000, 1, 16, 4096, "may open 4096 files (ulimit -n), of which the server may take"),
        ({"max_connections": 5}, 0, 1, 896, 1024, None),
        ({"max_connections": 900}, 0, 3, 2700, 2828, None),
        ({"max_connections": 3968}, 0, 1, 3968, 4096, None),
        (
            {"max_connections": 3969},
            0,
            1,
            3968,
            4096,
            "max_connections=3969 needs more files than this process may open",
        ),
        ({"max_connections": 2000}, 0, 3, 3968, 4096, "websockets get 1322"),
    ],
)
def test_room_is_made_for_the_descriptors_of_websockets_or_a_warning_names_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, int],
    own: int,
    each: int,
    room: int,
    limit: int,
    warning: str | None,
) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr("resource.getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr("resource.setrlimit", lambda kind, given: limits.append(given))
    reserved: list[int] = []
    monkeypatch.setattr(wsredis.process, "reserve", reserved.append)
    process = wsredis.process.Process(Config(**options), MemoryBroker(), own, each)
    process.close()
    assert (process.limits._room, limits[-1][0]) == (room, limit)
    assert reserved == [min(room, options.get("max_connections", room) * each)]
    said = [record.getMessage() for record in caplog.records if record.name == "wsredis.process"]
    if warning is None:
        assert said == []
    else:
        assert len(said) == 1
        assert warning in said[0]
        assert str(limit) in said[0]
