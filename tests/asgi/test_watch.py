"""The watch over the asyncio loop: the task that holds it is named, and no other one is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import pytest

from wsredis.asgi import loop as loop_module
from wsredis.asgi.loop import AsyncioLoop
from wsredis.asgi.watch import TaskWatch
from wsredis.runtime.logs import INTERVAL
from wsredis.runtime.loop import Loop
from wsredis.runtime.watchdog import LIMIT

from ..servers.support import SECONDS, eventually


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """An asyncio loop that the test can hold, and the watch over it."""

    def __init__(self) -> None:
        self.hub = Loop()
        self.loop = AsyncioLoop(self.hub)
        self.clock = Clock()
        self.watch = TaskWatch(self.loop, self.hub, self.clock)
        self._tasks: list[Any] = []

    def start(self, coroutine: Any, name: str = "websocket /ws/x") -> None:
        """Start a task on the asyncio loop."""
        self.loop.call(
            lambda: self._tasks.append(asyncio.Task(coroutine, loop=self.loop.asyncio, name=name))
        )

    def settle(self) -> None:
        """Return when both loops have called all that was asked for before."""
        for _ in range(2):
            done = threading.Event()
            self.loop.call(self.hub.soon, done.set)
            assert done.wait(SECONDS)
            self.hub.run(lambda: None)

    def hold(self, seconds: float, *, cooperatively: bool = False) -> None:
        """Let a task hold the loop for some time, between two looks of the watch."""
        holds, enough = threading.Event(), threading.Event()
        free = self.hub.run(gevent.event.Event)

        async def blocks() -> None:
            holds.set()
            if cooperatively:
                free.wait()
            else:
                assert enough.wait(SECONDS)

        self.start(blocks())
        assert holds.wait(SECONDS)
        eventually(self.loop.current_task, "a task runs")
        self.watch.look()
        self.clock.now += seconds
        self.watch.look()
        self.clock.now += seconds
        self.watch.look()  # it is reported only once
        enough.set()
        self.hub.soon(free.set)
        self.settle()


@pytest.fixture(params=["thread", "greenlet"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    patched = request.param == "greenlet"
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: patched)
    made = Place()
    yield made
    made.loop.stop()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Give a function that returns the warnings since its last call."""

    def lines() -> list[str]:
        found = [r.getMessage() for r in caplog.records if r.name == "wsredis.watchdog"]
        caplog.clear()
        return found

    return lines


def test_a_task_that_holds_the_loop_is_named(place: Place, lines: Callable[[], list[str]]) -> None:
    place.hold(0.7)
    (line,) = lines()
    assert "held the asyncio loop for at least 700 ms: the task 'websocket /ws/x' (" in line
    assert "Place.hold.<locals>.blocks)." in line
    assert ("in blocks\n" in line) != place.loop.in_greenlet  # the stack


def test_a_task_below_the_limit_is_not_reported(
    place: Place, lines: Callable[[], list[str]]
) -> None:
    place.hold(LIMIT / 3)
    assert lines() == []


def test_a_function_is_named_once_a_minute(place: Place, lines: Callable[[], list[str]]) -> None:
    place.hold(1)
    assert len(lines()) == 1
    place.hold(1)
    assert lines() == []
    place.clock.now += INTERVAL
    place.hold(1)
    assert len(lines()) == 1


def test_a_task_that_waits_in_its_greenlet_is_named(
    monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]
) -> None:
    """In a patched process ``time.sleep`` stops the applications, but not the hub."""
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: True)
    place = Place()
    place.hold(0.7, cooperatively=True)
    (line,) = lines()
    assert "at least 700 ms: the task 'websocket /ws/x' (" in line
    place.loop.stop()


def test_an_idle_loop_is_not_called(place: Place) -> None:
    place.settle()
    eventually(lambda: place.loop.current_task() is None, "it waits")
    place.watch.look()
    assert place.watch._seen is None


def test_another_task_in_between_is_not_taken_for_the_same(
    place: Place, lines: Callable[[], list[str]]
) -> None:
    """Each of two tasks runs for a short time, the loop not free between the two looks."""
    holds, enough = [threading.Event(), threading.Event()], threading.Event()
    go_on = threading.Event()

    async def one() -> None:
        holds[0].set()
        assert go_on.wait(SECONDS)

    async def two() -> None:
        holds[1].set()
        assert enough.wait(SECONDS)

    def both() -> None:
        tasks.extend(asyncio.Task(each(), loop=place.loop.asyncio) for each in (one, two))

    tasks: list[Any] = []
    place.loop.call(both)
    assert holds[0].wait(SECONDS)
    place.watch.look()
    go_on.set()
    assert holds[1].wait(SECONDS)
    place.clock.now += 1
    place.watch.look()
    place.clock.now += 1
    place.watch.look()
    enough.set()
    place.settle()
    assert lines() == []


def test_a_loop_that_is_closed_meanwhile_is_not_called(place: Place) -> None:
    holds, enough = threading.Event(), threading.Event()

    async def blocks() -> None:
        holds.set()
        assert enough.wait(SECONDS)

    def call(function: Any) -> None:
        raise RuntimeError("Event loop is closed")

    place.start(blocks())
    assert holds.wait(SECONDS)
    real, place.loop.call = place.loop.call, call  # type: ignore[assignment]
    place.watch.look()
    place.loop.call = real  # type: ignore[method-assign]
    enough.set()
    place.settle()
