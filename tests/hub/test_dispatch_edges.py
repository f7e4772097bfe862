"""Writing to subscribers with errors, with subscribers that end, and when many become few."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.hub import dispatch
from wsredis.hub.channel import BATCH_SIZE, JOIN_AT_MOST
from wsredis.message import Message
from wsredis.protocol.closing import MESSAGES_LOST
from wsredis.protocol.frames import FrameEncoding
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until
from .test_dispatch import ALICE, SPORT, heard

Fails = Callable[[list[WebSocket], int], bool]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fails], list[int]]:
    """Give a function that lets writes fail: told the sockets, and how many writes there were."""

    def install(fails: Fails) -> list[int]:
        write_all, written = dispatch.write_all, [0]

        def write(subscribers: Any, data: bytes, encoded: Any) -> None:
            written[0] += 1
            if fails(list(subscribers), written[0]):
                raise MemoryError
            write_all(subscribers, data, encoded)

        monkeypatch.setattr(dispatch, "write_all", write)
        return written

    return install


def idle(place: Place) -> bool:
    return bool(place.run(lambda: not place.hub._dispatch._queue))


def joined(place: Place, count: int, *channels: str) -> list[tuple[Client, WebSocket, Recorder]]:
    return [place.connect(*channels) for _ in range(count)]


def deaf(place: Place, client: Client, connection: WebSocket) -> None:
    """End a client so that only writing to it shows it."""
    place.run(connection._reader.stop)
    client.sock.close()


# Errors


def test_who_lost_something_is_told_before_the_rest_comes(
    place: Place, failing: Callable[[Fails], list[int]]
) -> None:
    client = place.connect(CHANNEL)[0]
    failing(lambda _, written: written == 1)
    text = "x" * JOIN_AT_MOST

    def deliver() -> None:  # two in one turn, which are not joined
        place.publish(text)
        place.publish(text)

    place.run(deliver)
    assert client.read() == (Opcode.CLOSE, b"\x03\xf4" + MESSAGES_LOST.reason.encode())
    assert place.numbers()["gaps"] == 1


def test_an_error_on_the_way_to_many_leaves_nothing_of_what_is_for_one(
    places: Callable[..., Place], failing: Callable[[Fails], list[int]]
) -> None:
    place = places(on_gap="keep")
    joined(place, BATCH_SIZE * 2, CHANNEL)
    alice = place.connect(CHANNEL, ALICE)[0]
    failing(lambda subscribers, written: len(subscribers) == 1 and written == 1)

    def deliver() -> None:
        place.publish("to all")
        place.publish("to alice", ALICE)

    place.run(deliver)
    until(lambda: place.numbers()["gaps"] == 1 and idle(place))
    place.publish("more")
    assert [alice.read()[1], alice.read()[1]] == [b"to alice", b"more"]


def test_a_channel_that_fails_again_and_again_has_no_more_than_its_turns(
    places: Callable[..., Place], failing: Callable[[Fails], list[int]]
) -> None:
    place = places(on_gap="keep")
    crowd = joined(place, BATCH_SIZE * 2, CHANNEL)
    fans = joined(place, BATCH_SIZE * 2, SPORT)

    def fails(subscribers: list[WebSocket], written: int) -> bool:
        if subscribers[0].channels == (CHANNEL,) and written < 100:
            place.publish("more")
            return True
        return False

    written = failing(fails)

    def deliver() -> int:
        place.publish("first")
        place.publish("goal", SPORT)
        while place.hub.stats.delivered < BATCH_SIZE * 2:
            gevent.sleep(1e-6)
        return written[0]

    assert place.run(deliver) < 10
    until(lambda: idle(place))
    assert [client.read()[1] for client, _, _ in fans] == [b"goal"] * BATCH_SIZE * 2
    assert all(heard(client) for client, _, _ in crowd)


# Ends


def test_who_ends_when_it_is_given_what_waits_for_many_gets_nothing_more(place: Place) -> None:
    crowd = joined(place, BATCH_SIZE * 2, CHANNEL)
    client, connection, alice = place.connect(CHANNEL, ALICE)
    deaf(place, client, connection)

    def deliver() -> None:
        place.publish("to all")
        place.publish("to alice", ALICE)

    place.run(deliver)
    until(lambda: alice.codes == [1006])
    assert all(client.read() == (Opcode.TEXT, b"to all") for client, _, _ in crowd)
    assert place.run(lambda: list(place.hub._channels)) == [CHANNEL]


def test_a_hub_that_ends_while_it_writes_ends_in_peace(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    joined(place, BATCH_SIZE, CHANNEL)
    client, connection, last = place.connect(CHANNEL)
    deaf(place, client, connection)
    ended: list[int] = []

    def closed(connection: WebSocket, code: int) -> None:
        place.hub.close()
        ended.append(code)

    monkeypatch.setattr(last, "closed", closed)
    place.publish("to all")
    until(lambda: ended)
    assert place.numbers()["gaps"] == 0
    assert not [record for record in caplog.records if record.exc_info]


# Turns


@pytest.mark.parametrize("own", [False, True])
def test_others_have_their_turn_between_many_messages_to_few(place: Place, own: bool) -> None:
    client, connection, _ = place.connect(CHANNEL, SPORT)
    texts = [b"%d" % number for number in range(BATCH_SIZE * 2)]
    pairs = zip(cycle((CHANNEL, SPORT)), texts, strict=False)  # none are joined
    messages = [Message(*pair) for pair in pairs]

    def deliver() -> int:
        for message in messages if own else ():
            place.hub._channels[message.channel].echoes.append((message, connection, 0))
        return len(list(place.hub.deliver(messages)))

    assert place.run(deliver) == 2
    assert heard(client) == ([] if own else texts)


# What is counted


def test_ones_own_is_not_counted_where_one_leaves_before_its_batch_is_served(place: Place) -> None:
    joined(place, BATCH_SIZE * 2, CHANNEL)
    client, connection, _ = place.connect(CHANNEL, ALICE)

    def deliver() -> int:
        connection.publish([CHANNEL], "mine", echo=False)
        place.publish("to alice", ALICE)
        while not (texts := heard(client)):
            gevent.sleep(1e-6)
        assert texts == [b"to alice"]
        assert place.hub._channels[CHANNEL].waiting
        connection.abort()
        return connection.sent

    assert place.run(deliver) == 1


def test_ones_own_is_not_counted_where_another_ends_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, alice, of_alice = place.connect(CHANNEL)
    _, bob, of_bob = place.connect(CHANNEL)
    sent: list[int] = []
    monkeypatch.setattr(of_alice, "closed", lambda *_: bob.abort())
    monkeypatch.setattr(of_bob, "closed", lambda *_: sent.append(bob.sent))
    deaf(place, client, alice)

    def publish() -> None:
        for connection in (alice, bob):
            connection.publish([CHANNEL], "mine", echo=False)

    place.run(publish)
    until(lambda: sent)
    assert sent == [1]  # what alice has said, and not its own


# Order


def test_a_channel_that_has_become_small_does_not_overtake(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined(place, BATCH_SIZE * 2, CHANNEL)
    fans = joined(place, BATCH_SIZE, SPORT)
    both = place.connect(SPORT, CHANNEL)[0]
    # Both are still waiting when the next one comes.
    monkeypatch.setattr(dispatch, "NEXT_TURN", 3600)

    def deliver() -> None:
        place.publish("first", SPORT)
        place.publish("to all")
        while not place.hub._dispatch._queue:
            gevent.sleep(0)
        fans[0][1].abort()
        place.publish("goal", SPORT)

    place.run(deliver)
    assert [both.read()[1] for _ in range(3)] == [b"first", b"to all", b"goal"]
    assert not idle(place)
    monkeypatch.undo()
    place.run(place.hub._dispatch._work)  # as the timer does
    until(lambda: idle(place))
    assert heard(both) == []


@pytest.mark.parametrize("count", [1, BATCH_SIZE * 2])
def test_what_cannot_be_encoded_is_lost_and_told_and_leaves_nothing(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    place = places(on_gap="keep")
    crowd = joined(place, count, CHANNEL)
    encode = FrameEncoding.encode

    def fail(encoding: FrameEncoding, message: Message) -> bytes:
        if message.payload == b"bad":
            raise MemoryError
        return encode(encoding, message)

    monkeypatch.setattr(FrameEncoding, "encode", fail)

    def deliver() -> None:  # in one turn, so that they are joined
        place.publish("good")
        place.publish("bad")

    place.run(deliver)
    until(lambda: place.numbers()["gaps"] > 0 and idle(place))
    assert place.run(lambda: place.hub._channels[CHANNEL].waiting) == []
    place.publish("end")
    assert [client.read()[1] for client, _, _ in crowd] == [b"end"] * count
