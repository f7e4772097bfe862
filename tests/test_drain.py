"""The end of a process with many websockets: all are told, in steps, before any is ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

import gevent
import gevent.event
import pytest

from wsredis import drain
from wsredis.drain import _drain
from wsredis.hub import steps
from wsredis.runtime.loop import NEXT_TURN

from .place import CHANNEL, Place, Recorder


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Give the list of what happens whenever work has done a step."""
    sleep, happens = gevent.sleep, []

    def note(seconds: float = 0.0) -> None:
        if seconds == NEXT_TURN:
            for each in happens:
                each()
        sleep(seconds)

    monkeypatch.setattr(gevent, "sleep", note)
    return happens


def test_all_are_told_and_then_ended_and_each_step_has_a_limited_number(
    places: Callable[..., Place], turns: list[Callable[[], None]]
) -> None:
    place = places(close_timeout=1e-6)
    joined = [place.websocket(Recorder()) for _ in range(2 * steps.STEP + 1)]
    for connection in joined:
        place.join(connection, [CHANNEL])
    told: list[tuple[int, int]] = []

    def note() -> None:
        left = list(place.hub.subscribers())
        told.append((sum(each._pending_close is not None for each in left), len(left)))

    turns.append(note)
    place.run(_drain, place.hub, lambda: told.append((0, 0)))
    most = len(joined)
    assert told == [
        *[(steps.STEP, most), (2 * steps.STEP, most), (most, most)],
        *[(steps.STEP + 1, steps.STEP + 1), (1, 1), (0, 0)],
        (0, 0),
    ]


def test_a_client_has_its_close_frame_however_short_the_timeout_is(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 1)
    place = places(close_timeout=1e-6)
    clients = [place.connect(CHANNEL)[0] for _ in range(5)]
    done: list[bool] = []
    place.run(_drain, place.hub, lambda: done.append(True))
    assert [client.close_code() for client in clients] == [1012] * 5
    assert place.numbers()["connections"] == 0
    assert done == [True]


def test_a_loop_that_hangs_does_not_keep_the_others_from_being_drained(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "SPARE", 0.1)
    hanging, other = places(close_timeout=0.1), places(close_timeout=0.1)
    client, _, _ = other.connect(CHANNEL)
    hangs, enough = threading.Event(), threading.Event()
    hanging.loop.soon(lambda: (hangs.set(), enough.wait(30)))
    assert hangs.wait(30)
    for place in (hanging, other):
        monkeypatch.setitem(drain._hubs, place.hub, place.loop)
    try:
        drain._drain_all()
    finally:
        enough.set()
    assert client.close_code() == 1012


def test_what_follows_the_websockets_runs_at_once_and_a_failure_does_not_keep_the_process(
    place: Place,
) -> None:
    ready = place.run(gevent.event.Event)
    done: list[str] = []

    def waits() -> None:
        assert ready.wait(30)
        done.append("waited")

    def fails() -> None:
        ready.set()
        raise gevent.GreenletExit

    place.hub.on_drained += [waits, fails]
    place.run(_drain, place.hub, lambda: done.append("done"))
    assert done == ["waited", "done"]


def test_one_that_leaves_between_the_steps_is_not_missed_nor_told_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch, turns: list[Callable[[], None]]
) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    clients = {place.connect(CHANNEL) for _ in range(6)}
    left = []

    def leave() -> None:
        told = [connection for _, connection, _ in clients if not connection.is_open]
        waiting = [connection for _, connection, _ in clients if connection.is_open]
        if len(told) == 2:
            told[0].abort()
            waiting[0].abort()
            left.append(waiting[0])

    turns.append(leave)
    place.run(place.hub.drain)
    for client, connection, endpoint in clients:
        if connection in left:
            assert endpoint.codes == [1006]
        else:
            assert client.close_code() == 1012
