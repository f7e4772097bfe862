"""Clients that may have missed a message are told before the next one, in a hub in this process."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pytest
from gevent.event import Event
from websockets.frames import Opcode

from wsredis.exceptions import BrokerUnavailable
from wsredis.hub import channel as channel_module
from wsredis.hub import dispatch as dispatch_module
from wsredis.hub import steps
from wsredis.hub.channel import JOIN_AT_MOST
from wsredis.identity import Identity
from wsredis.identity.revocation import LOG_LENGTH, LOG_SECONDS, Revocation
from wsredis.message import Message
from wsredis.protocol.closing import CHANNEL_REFUSED, MESSAGES_LOST
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, complete, until

CONTROL = "ws:control"

TOLD = (Opcode.CLOSE, MESSAGES_LOST.code.to_bytes(2, "big") + MESSAGES_LOST.reason.encode())


def lose(place: Place, *messages: str) -> None:
    """Stage a gap and what comes right after it."""

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        for message in messages:
            place.publish(message)

    place.run(stage)


def test_nobody_gets_a_message_from_after_a_gap_before_it_is_told(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(5)]
    place.publish("before")
    for client in clients:
        assert client.read() == (Opcode.TEXT, b"before")
    lose(place, "after")
    for client in clients:
        assert client.read() == TOLD
    assert place.numbers()["gaps"] == 1


def test_where_no_message_comes_everybody_is_told_all_the_same(place: Place) -> None:
    client, _, _ = place.connect(CHANNEL)
    lose(place)
    assert client.read() == TOLD


def test_while_the_broker_is_unavailable_nobody_is_sent_back_to_nothing(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)

    def lost() -> str:
        place.hub._feed.stats.connected = False
        place.hub._feed.stats.count_gap()
        place.hub._gaps.check()
        gevent.sleep(0)
        return connection.state.name

    assert place.run(lost) == "OPEN"
    place.hub._feed.stats.connected = True
    assert client.read() == TOLD


def test_who_comes_after_the_gap_gets_what_comes_then_and_is_not_told(place: Place) -> None:
    old, _, _ = place.connect(CHANNEL)

    def stage() -> Client:
        place.hub._feed.stats.count_gap()
        new, connection, _ = place.connect(CHANNEL)  # before anybody has been told
        assert connection.since >= place.hub._feed.stats.lost_at
        place.publish("after")
        return new

    new = place.run(stage)
    assert old.read() == TOLD
    assert new.read() == (Opcode.TEXT, b"after")
    until(lambda: place.hub._gaps._caught_up == 1)  # and the rest that a gap brings is done
    place.publish("end")
    assert new.read() == (Opcode.TEXT, b"end")


def test_who_is_subscribed_to_nothing_has_missed_nothing(place: Place) -> None:
    silent, _, _ = place.connect()
    subscribed, _, _ = place.connect(CHANNEL)
    lose(place)
    assert subscribed.read() == TOLD
    silent.send(Opcode.PING, b"and I?")
    assert silent.read() == (Opcode.PONG, b"and I?")


def test_who_was_joining_is_told_and_gets_no_message(place: Place) -> None:
    connection = place.websocket(Recorder(), Identity("alice"))
    place.join(connection, [CHANNEL])
    other, _, _ = place.connect(CHANNEL)
    lose(place, "after")
    assert other.read() == TOLD
    near, far = place.pair()
    place.run(connection.open, near.detach())
    assert Client(far).read() == TOLD


def test_who_stays_gets_what_comes_after_the_gap(places: Callable[..., Place]) -> None:
    place = places(on_gap="keep")
    client, _, _ = place.connect(CHANNEL)
    lose(place, "after")
    assert client.read() == (Opcode.TEXT, b"after")
    assert place.numbers()["gaps"] == 1


def test_a_revocation_from_after_the_gap_goes_first(place: Place) -> None:
    alice, _, _ = place.connect(CHANNEL, identity=Identity("alice"))
    bob, _, _ = place.connect(CHANNEL, identity=Identity("bob"))
    revocation = Revocation(user="alice", code=4403, at=time.time())

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        place.publish("after")
        place.broker.append(CONTROL, revocation.encode(), LOG_SECONDS, LOG_LENGTH)

    place.run(stage)
    assert alice.close_code() == 4403
    assert bob.read() == TOLD


def test_a_message_that_comes_while_they_are_told_waits_for_all(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    clients = [place.connect(CHANNEL)[0] for _ in range(7)]

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        next(place.hub._gaps._tell())  # the first two
        place.publish("after")

    place.run(stage)
    for client in clients:
        assert client.read() == TOLD


def test_an_error_on_the_way_to_many_is_a_gap_of_those_it_concerns(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dispatch_module, channel_module):
        monkeypatch.setattr(module, "BATCH_SIZE", 1)
    clients = [place.connect(CHANNEL)[0] for _ in range(4)]
    write_all = dispatch_module.write_all
    written: list[int] = []

    def fail_once(subscribers: Sequence[WebSocket], *args: Any) -> None:
        written.append(len(subscribers))
        if len(written) == 2:
            raise MemoryError("no room for another frame")
        write_all(subscribers, *args)

    monkeypatch.setattr(dispatch_module, "write_all", fail_once)

    def stage() -> None:
        place.publish("lost for some")
        place.publish("after " + "x" * JOIN_AT_MOST)  # not joined with the other one

    place.run(stage)
    frames = [client.read() for client in clients]
    assert sorted(frames) == [*[(Opcode.TEXT, b"lost for some")] * 3, TOLD]
    for client, frame in zip(clients, frames, strict=True):
        if frame != TOLD:
            assert client.read()[1].startswith(b"after ")
    assert place.numbers()["gaps"] == 1
    assert place.numbers()["connections"] == 4  # the one that was told has not answered yet


def test_an_error_on_the_way_to_one_keeps_it_where_gaps_close_nobody(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places(on_gap="keep")
    client, _, _ = place.connect(CHANNEL)
    write_all = dispatch_module.write_all

    def fail_once(*args: Any) -> None:
        monkeypatch.setattr(dispatch_module, "write_all", write_all)
        raise MemoryError

    monkeypatch.setattr(dispatch_module, "write_all", fail_once)
    place.publish("lost")
    until(lambda: place.numbers()["gaps"] == 1)
    place.publish("after")
    assert client.read() == (Opcode.TEXT, b"after")
    assert place.numbers()["gaps"] == 1


@pytest.mark.parametrize("told_first", [0, 1, 2, 3])
def test_while_many_are_told_of_a_gap_others_come_and_go(
    place: Place, monkeypatch: pytest.MonkeyPatch, told_first: int
) -> None:
    """Each that stays is told once; one that comes is not, and gets what arrives then."""
    monkeypatch.setattr(steps, "STEP", 2)
    told: list[tuple[WebSocket, int]] = []
    close = WebSocket.close

    def note(connection: WebSocket, code: int, reason: str = "") -> None:
        told.append((connection, code))
        close(connection, code, reason)

    monkeypatch.setattr(WebSocket, "close", note)
    here = [place.connect(CHANNEL) for _ in range(7)]
    place.hub._gaps._busy = True  # so that nothing else tells them

    def stage() -> tuple[Client, WebSocket]:
        place.hub._feed.stats.count_gap()
        telling = place.hub._gaps._tell()
        for number in range(told_first):
            next(telling)
            assert len(told) == 2 * (number + 1)
        before = [connection for connection, _ in told]
        leaving = next(each for _, each, _ in here if each not in before)
        leaving.abort()
        newcomer, _, _ = place.connect(CHANNEL)
        complete(telling)
        place.publish("after")
        return newcomer, leaving

    newcomer, left = place.run(stage)
    assert newcomer.read() == (Opcode.TEXT, b"after")
    expected = {(connection, MESSAGES_LOST.code): 1 for _, connection, _ in here}
    assert {**Counter(told), (left, MESSAGES_LOST.code): 1} == expected
    for client, connection, _ in here:
        if connection is not left:
            assert client.read() == TOLD


def test_one_step_tells_a_limited_number_of_a_gap(place: Place) -> None:
    for _ in range(2 * steps.STEP + 1):
        connection = place.websocket(Recorder())
        place.join(connection, [CHANNEL])

    def numbers() -> list[int]:
        place.hub._feed.stats.count_gap()
        waiting = place.hub.subscribers
        pending = [sum(each._pending_close is not None for each in waiting())]
        for _ in place.hub._gaps._tell():
            pending.append(sum(each._pending_close is not None for each in waiting()))
        return pending

    assert place.run(numbers) == [0, steps.STEP, 2 * steps.STEP, 2 * steps.STEP + 1]


def test_a_refused_channel_with_many_is_closed_in_steps(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    sport = "ws:broadcast:sport"
    connections = [place.connect(CHANNEL, sport)[1] for _ in range(5)]
    monkeypatch.setattr(place.hub._feed, "refused", lambda: [CHANNEL, sport])
    open_after: list[int] = []
    sleep = gevent.sleep

    def note(seconds: float) -> None:
        open_after.append(sum(each.is_open for each in connections))
        sleep(seconds)

    def catch_up() -> None:
        monkeypatch.setattr("wsredis.hub.hub.gevent.sleep", note)
        try:
            place.hub._catch_up()
        finally:
            monkeypatch.setattr("wsredis.hub.hub.gevent.sleep", sleep)

    place.run(catch_up)
    assert [count for count in open_after if count != 5] == [3, 1, 0]


def test_what_was_revoked_meanwhile_is_asked_for_until_it_is_known(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []
    catch_up = place.hub._gaps._catch_up

    def unreachable_at_first() -> None:
        asked.append(True)
        if len(asked) < 3:
            raise BrokerUnavailable("unavailable again")
        catch_up()

    place.hub._gaps._catch_up = unreachable_at_first
    client, _, _ = place.connect(CHANNEL)
    lose(place)
    assert client.read() == TOLD
    until(lambda: len(asked) == 3)
    text = "could not catch up on revocations: unavailable again"
    assert caplog.record_tuples == [("wsredis.gaps", logging.WARNING, text)] * 2
    lose(place)
    until(lambda: len(asked) == 4)


def test_after_a_gap_a_revocation_is_delivered_once_and_before_the_rest(
    places: Callable[..., Place],
) -> None:
    place = places(on_gap="keep")
    client, _, _ = place.connect(CHANNEL)
    delivered: list[list[str]] = []
    deliver = place.hub._gaps._deliver

    def note(messages: list[Message]) -> Iterator[None]:
        delivered.append([message.channel for message in messages])
        yield from deliver(messages)

    place.hub._gaps._deliver = note

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        place.publish("one")
        place.publish(Revocation(user="bob", at=time.time()).encode().decode(), CONTROL)
        place.publish("two")

    place.run(stage)
    assert [client.read()[1] for _ in range(2)] == [b"one", b"two"]
    assert delivered == [[CONTROL], [CHANNEL, CHANNEL]]
    assert len(place.hub._expiry._recent) == 1


@pytest.mark.parametrize("on_gap", ["close", "keep"])
def test_once_all_are_told_the_feed_delivers_to_the_hub_itself(
    places: Callable[..., Place], on_gap: str
) -> None:
    place = places(on_gap=on_gap)
    feed = place.hub._feed
    place.connect(CHANNEL)
    assert feed.deliver == place.hub.deliver

    def stage() -> bool:
        feed.stats.count_gap()
        return feed.deliver != place.hub.deliver

    assert place.run(stage)
    until(lambda: feed.deliver == place.hub.deliver)
    assert place.hub._gaps._told == 1


def test_where_another_gap_comes_while_they_are_told_nobody_gets_ahead_of_it(place: Place) -> None:
    feed, gaps = place.hub._feed, place.hub._gaps
    first, _, _ = place.connect(CHANNEL)

    def stage() -> Client:
        feed.stats.count_gap()
        telling = gaps._tell()
        next(telling)
        second, connection, _ = place.connect(CHANNEL)
        feed.stats.count_gap()
        connection.since = feed.stats.lost_at - 1e-9  # it was there before the other one
        assert list(telling) == []
        assert feed.deliver != place.hub.deliver
        place.publish("after both")
        return second

    second = place.run(stage)
    assert first.read() == second.read() == TOLD


def test_whoever_hears_nothing_any_more_is_closed_after_a_gap(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places(on_gap="keep")
    sport = "ws:broadcast:sport"
    deaf, _, _ = place.connect(CHANNEL, sport)
    other, _, _ = place.connect(sport)
    monkeypatch.setattr(place.hub._feed, "refused", lambda: [CHANNEL, "ws:broadcast:gone"])
    lose(place)
    assert deaf.close_code() == CHANNEL_REFUSED.code
    place.publish("go on", sport)
    assert other.read() == (Opcode.TEXT, b"go on")


def test_an_error_while_catching_up_keeps_nobody_from_being_told_and_it_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def broken_at_first(channel: str) -> list[Message]:
        asked.append(channel)
        if len(asked) == 1:
            raise MemoryError
        return []

    client, _, _ = place.connect(CHANNEL)
    monkeypatch.setattr(place.hub._feed, "logged", broken_at_first)
    lose(place)
    assert client.read() == TOLD
    until(lambda: place.hub._gaps._caught_up == 1)
    assert asked == [CONTROL] * 2


def test_who_comes_at_the_very_moment_of_the_gap_is_not_told(place: Place) -> None:
    earlier, _, _ = place.connect(CHANNEL)
    client, connection, _ = place.connect(CHANNEL)

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        connection.since = place.hub._feed.stats.lost_at
        place.publish("after")

    place.run(stage)
    assert earlier.read() == TOLD
    assert client.read() == (Opcode.TEXT, b"after")


def test_without_a_gap_there_is_nothing_to_do(place: Place) -> None:
    place.connect(CHANNEL)
    asked: list[bool] = []
    place.hub._gaps._catch_up = lambda: asked.append(True)

    def check() -> None:
        for _ in range(3):
            place.hub._gaps.check()
            gevent.sleep(0)

    place.run(check)
    assert asked == []
    lose(place)
    until(lambda: place.hub._gaps._caught_up == 1)
    place.run(check)
    assert asked == [True]


def test_what_is_being_done_after_a_gap_is_not_begun_again(place: Place) -> None:
    asked: list[Event] = []

    def slowly() -> None:
        asked.append(Event())
        asked[-1].wait()

    place.hub._gaps._catch_up = slowly

    def check_and_go_on() -> None:
        place.hub._feed.stats.count_gap()
        for _ in range(3):
            place.hub._gaps.check()
            gevent.sleep(0)
        assert len(asked) == 1
        place.hub._feed.stats.count_gap()  # while the first one is dealt with
        asked[0].set()
        while len(asked) < 2:
            place.hub._gaps.check()
            gevent.sleep(0)
        assert place.hub._gaps._caught_up == 1
        asked[1].set()

    place.run(check_and_go_on)
    until(lambda: place.hub._gaps._caught_up == 2)


def test_others_have_their_turn_while_many_are_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 1)
    connections = [place.connect(CHANNEL)[1] for _ in range(4)]

    def watch() -> set[int]:
        place.hub._feed.stats.count_gap()
        place.hub._gaps.check()
        seen = {4}
        while 0 not in seen:
            gevent.sleep(0)
            seen.add(sum(each.is_open for each in connections))
        return seen

    assert place.run(watch) == {0, 1, 2, 3, 4}
