"""Handshakes that wait for Redis: all of them for a moment, a few of them for longer."""

from __future__ import annotations

import time
from typing import Any

import pytest
from gevent.event import AsyncResult, Event

from wsredis.brokers.redis import asking
from wsredis.brokers.redis.asking import FEW, Asking
from wsredis.brokers.redis.link import Link
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable

from .fake import NEWS, SECONDS, Broker, Call, FakeRedis, message
from .support import broker_at

CROWD = FEW + 5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.1)


def waiting(calls: list[Call]) -> int:
    return sum(call.is_alive() for call in calls)


def refused(calls: list[Call], why: str) -> int:
    """Return how many have been refused; the others have not ended yet."""
    count = 0
    for call in calls:
        if not call.is_alive():
            with pytest.raises(BrokerUnavailable, match=why):
                call.result()
            count += 1
    return count


def test_while_redis_is_silent_at_most_two_handshakes_wait(
    fake: FakeRedis, listener: Any, eventually: Any
) -> None:
    fake.peer()
    calls = [Call(listener.subscribe, NEWS) for _ in range(CROWD)]
    eventually(lambda: waiting(calls) == FEW)
    assert refused(calls, "no answer within") == CROWD - FEW
    with pytest.raises(BrokerUnavailable, match="no answer within"):
        listener.subscribe("another")  # at once


def test_a_redis_that_says_something_else_is_not_silent(
    fake: FakeRedis, listener: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something arrives just before the callers lose their patience."""
    peer = fake.peer()
    found: list[bool] = []
    is_silent = Link.is_silent_since

    def looking(link: Link, heard_at: float) -> bool:
        peer.say(message("busy"))
        found.append(is_silent(link, heard_at))
        return found[-1]

    monkeypatch.setattr(Link, "is_silent_since", looking)
    calls = [Call(listener.subscribe, NEWS) for _ in range(CROWD)]
    eventually(lambda: len(found) == CROWD)
    assert found == [False] * CROWD
    assert waiting(calls) == CROWD


def test_while_a_connection_is_being_made_at_most_two_handshakes_wait(
    fake: FakeRedis, listen: Any, loop: Any, eventually: Any
) -> None:
    fake.gate = loop.run(Event)
    listener = listen(Broker(fake, SECONDS))
    calls = [Call(listener.subscribe, NEWS) for _ in range(CROWD)]
    eventually(lambda: waiting(calls) == FEW)
    assert refused(calls, "no answer within") == CROWD - FEW
    with pytest.raises(BrokerUnavailable, match="no answer within"):
        listener.subscribe(NEWS)
    loop.run(fake.gate.set)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    eventually(lambda: not listener.feed._asking._late)


def test_after_a_failed_attempt_handshakes_are_refused_at_once_until_one_succeeds(
    fake: FakeRedis, listen: Any, loop: Any, eventually: Any
) -> None:
    fake.unavailable = True
    listener = listen(Broker(fake, SECONDS))
    eventually(lambda: fake.attempts)
    fake.gate = loop.run(Event)
    attempts = fake.attempts
    eventually(lambda: fake.attempts > attempts)  # the next attempt hangs
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="the fake is unavailable"):
            listener.subscribe(NEWS)
    fake.unavailable = False
    loop.run(fake.gate.set)
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    eventually(lambda: listener.feed.stats.connected)
    if joining.is_alive():
        peer.accept(NEWS)
        assert joining.result() == []
    else:
        assert refused([joining], "the fake is unavailable") == 1


def test_a_frozen_redis_makes_a_few_wait_and_no_one_when_it_is_lost(
    own_redis: EmbeddedRedis, listen: Any, eventually: Any
) -> None:
    listener = listen(broker_at(own_redis.url, 3))
    listener.subscribe(NEWS)
    own_redis.freeze()
    try:
        calls = [Call(listener.subscribe, f"room-{number}") for number in range(CROWD)]
        eventually(lambda: waiting(calls) <= FEW)
        eventually(lambda: not listener.feed.stats.connected)
        eventually(lambda: not waiting(calls))
        eventually(lambda: listener.feed._failed)
        with pytest.raises(BrokerUnavailable):
            listener.subscribe(NEWS)
    finally:
        own_redis.thaw()
    eventually(lambda: listener.feed.stats.connected)
    assert listener.subscribe(NEWS) == []


class Busy:
    """A result that never comes, in a process whose waits take the listed times.

    Args:
        times: how long each wait takes, in seconds; later waits take as long as they should.
    """

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.now = 0.0
        self.waits = 0

    def monotonic(self) -> float:
        return self.now

    def ready(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.now += self.times.pop(0) if self.times else seconds


class Waits(AsyncResult):  # type: ignore[type-arg]
    """A result that counts how often it is waited for."""

    count = 0

    def wait(self, timeout: float | None = None) -> Any:
        self.count += 1
        return super().wait(timeout)


@pytest.mark.parametrize("reply", [[], 0, b"", b"OK"])
def test_an_empty_reply_is_a_reply(loop: Any, reply: object) -> None:
    def ask() -> tuple[Any, int]:
        result = Waits()
        result.set(reply)
        return Asking(10, "Redis")._wait_patiently(result, time.monotonic() + 10), result.count

    assert loop.run(ask) == (reply, 1)


@pytest.mark.parametrize(
    ("times", "deadline", "waits"),
    [
        ([], 10, 5),  # nothing is busy: five parts of 0.02 seconds
        ([0.1, 3, 0.1], 10, 3 + 5),
        ([3, 3, 3], 8, 3),
    ],
)
def test_time_in_which_the_process_is_busy_does_not_count(
    monkeypatch: pytest.MonkeyPatch, times: list[float], deadline: float, waits: int
) -> None:
    busy = Busy(*times)
    monkeypatch.setattr(asking, "time", busy)
    result: Any = busy
    assert Asking(deadline, "Redis")._wait_patiently(result, deadline) is None
    assert busy.waits == waits
