"""The order of writing to subscribers: many in batches, a few in between, each in order."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.hub import channel as channel_module
from wsredis.hub import dispatch
from wsredis.hub.channel import BATCH_SIZE, JOIN_AT_MOST
from wsredis.hub.encoding import Encoded
from wsredis.identity import ANONYMOUS
from wsredis.message import Message
from wsredis.protocol.frames import encode_message
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until

ALICE, SPORT = "ws:user:alice:news", "ws:broadcast:sport"

MANY = BATCH_SIZE * 4


@pytest.fixture
def crowd(place: Place) -> list[Client]:
    """Clients that are subscribed to the channel of all; the last one has another of its own."""
    clients = [place.connect(CHANNEL)[0] for _ in range(MANY - 1)]
    return [*clients, place.connect(CHANNEL, ALICE)[0]]


def heard(client: Client) -> list[bytes]:
    """Return what a client has been sent so far."""
    messages = []
    client.sock.setblocking(False)
    try:
        while True:
            messages.append(client.read()[1])
    except BlockingIOError:
        return messages
    finally:
        client.sock.setblocking(True)


def bring(place: Place, *pairs: tuple[str, str]) -> None:
    """Deliver (channel, text) pairs as if each had come in a turn of its own."""

    def deliver() -> None:
        for channel, text in pairs:
            place.broker.publish([channel], text.encode(), 0)
            gevent.sleep(0)

    place.run(deliver)


def test_many_are_written_to_a_batch_at_a_time(place: Place, crowd: list[Client]) -> None:
    def deliver() -> list[int]:
        place.broker.publish([CHANNEL], b"to all", 0)
        turns = []
        while place.hub.stats.delivered < MANY:
            turns.append(place.hub.stats.delivered)
            gevent.sleep(1e-6)
        return turns

    turns = place.run(deliver)
    assert {BATCH_SIZE, BATCH_SIZE * 2, BATCH_SIZE * 3} <= set(turns)
    assert all(heard(client) == [b"to all"] for client in crowd)


def test_one_is_served_while_many_wait_and_hears_things_in_order(
    place: Place, crowd: list[Client]
) -> None:
    alice = crowd[-1]

    def deliver() -> int:
        place.broker.publish([CHANNEL], b"to all", 0)
        place.broker.publish([ALICE], b"to alice", 0)
        while place.hub.stats.delivered == 0:
            gevent.sleep(1e-6)
        while not (texts := heard(alice)):
            gevent.sleep(1e-6)
        assert texts == [b"to all", b"to alice"]
        return place.hub.stats.delivered

    assert place.run(deliver) < MANY
    until(lambda: place.numbers()["delivered"] == MANY + 1)
    assert heard(alice) == []
    assert all(heard(client) == [b"to all"] for client in crowd[:-1])


def test_what_comes_meanwhile_is_joined(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks: list[int] = []
    write_all = dispatch.write_all

    def note(subscribers: Any, data: bytes, encoded: Any) -> None:
        chunks.append(len(subscribers))
        write_all(subscribers, data, encoded)

    monkeypatch.setattr(dispatch, "write_all", note)
    bring(place, *((CHANNEL, str(number)) for number in range(10)))
    until(lambda: place.numbers()["delivered"] == MANY * 10)
    assert len(chunks) < 5 * MANY / BATCH_SIZE
    assert sum(chunks) == len(chunks) * BATCH_SIZE
    assert all(heard(client) == [b"%d" % n for n in range(10)] for client in crowd)


def test_what_comes_while_another_is_on_its_way_does_not_have_to_wait(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks: list[bytes] = []
    write_all = dispatch.write_all

    def note(subscribers: Any, data: bytes, encoded: Any) -> None:
        chunks.append(data)
        write_all(subscribers, data, encoded)

    monkeypatch.setattr(dispatch, "write_all", note)

    def deliver() -> None:
        place.broker.publish([CHANNEL], b"one", 0)
        while not chunks:
            gevent.sleep(0)
        place.broker.publish([CHANNEL], b"two", 0)

    place.run(deliver)
    until(lambda: place.numbers()["delivered"] == MANY * 2)
    one, two = encode_message(b"one"), encode_message(b"two")
    assert chunks == [one, *[one + two] * 3, two]
    assert all(heard(client) == [b"one", b"two"] for client in crowd)


def test_of_two_channels_that_never_end_each_has_its_rounds(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = [place.connect(SPORT)[0] for _ in range(BATCH_SIZE * 2)]
    write_all = dispatch.write_all
    written: list[str] = []

    def say_more(subscribers: Any, data: bytes, encoded: Any) -> None:
        channel = encoded.messages[0].channel if encoded else CHANNEL
        written.append(channel)
        write_all(subscribers, data, encoded)
        if len(written) < 60:
            place.broker.publish([channel], b"more", 0)

    monkeypatch.setattr(place.hub._dispatch, "_drops", True)  # so that it tells the channel
    monkeypatch.setattr(dispatch, "write_all", say_more)

    def deliver() -> None:
        place.broker.publish([CHANNEL], b"first", 0)
        place.broker.publish([SPORT], b"first", 0)

    place.run(deliver)
    until(lambda: len(written) >= 60 and not place.hub._dispatch._queue)
    runs = [(name, len(list(run))) for name, run in itertools.groupby(written[:36])]
    assert runs == [(CHANNEL, 4), (SPORT, 2)] * 6
    assert len(heard(crowd[0])) > 6
    assert len(heard(fans[0])) > 6


def test_the_order_holds_whatever_comes_and_whoever_goes(place: Place) -> None:
    """Each socket has one channel of many and some of few: it hears all in order."""
    chance = random.Random(20)
    many, few = [CHANNEL, "ws:broadcast:sport"], ["ws:group:editors:news", ALICE]
    audience: list[tuple[Client, set[str]]] = []
    for number in range(MANY):
        mine = {many[number % 2]}
        mine |= {few[0]} if number % 40 == 0 else set()
        mine |= {few[1]} if number % 200 == 0 else set()
        audience.append((place.connect(*mine, bits=15 if number % 3 else 0)[0], mine))
    said = [(chance.choice(many + few), f"{number:03}" * 50) for number in range(300)]
    for start in range(0, 300, 10):
        bring(place, *said[start : start + 10])
        audience.pop(1)[0].sock.close()
    for client, mine in audience:
        expected = [text.encode() for channel, text in said if channel in mine]
        assert [client.read()[1] for _ in expected] == expected
        assert heard(client) == []


def test_a_newcomer_hears_nothing_that_is_older(place: Place, crowd: list[Client]) -> None:
    def deliver() -> Client:
        place.broker.publish([CHANNEL], b"one", 0)
        while place.hub.stats.delivered == 0:
            gevent.sleep(0)
        place.broker.publish([CHANNEL], b"two", 0)
        while len(place.hub._channels[CHANNEL].waiting) < 2:
            gevent.sleep(0)
        assert place.hub.stats.delivered < MANY
        connection = place.websocket(Recorder(), ANONYMOUS)
        place.join(connection, [CHANNEL])
        near, far = place.pair()
        connection.open(near.detach())
        return Client(far)

    newcomer = place.run(deliver)
    place.publish("three")
    until(lambda: place.numbers()["delivered"] == MANY * 3 + 1)
    assert heard(newcomer) == [b"three"]
    assert all(heard(client) == [b"one", b"two", b"three"] for client in crowd)


def test_a_sender_misses_its_own_among_many(place: Place, crowd: list[Client]) -> None:
    sender, connection, _ = place.connect(CHANNEL)

    def publish() -> None:
        for text, echo in (("one", True), ("mine", False), ("two", True)):
            connection.publish([CHANNEL], text, echo=echo)

    place.run(publish)
    until(lambda: place.numbers()["delivered"] == MANY * 3 + 2)
    assert heard(sender) == [b"one", b"two"]
    assert all(heard(client) == [b"one", b"mine", b"two"] for client in crowd)


def test_who_leaves_before_its_turn_disturbs_nobody(place: Place, crowd: list[Client]) -> None:
    def deliver() -> None:
        place.broker.publish([CHANNEL], b"to all", 0)
        for client in crowd[::2]:
            client.sock.shutdown(socket.SHUT_RDWR)
        gevent.sleep(0)

    place.run(deliver)
    until(lambda: place.numbers()["connections"] == MANY / 2)
    assert all(client.read() == (Opcode.TEXT, b"to all") for client in crowd[1::2])


def test_what_is_too_much_to_be_joined_goes_one_after_the_other(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "JOIN_AT_MOST", 100)
    texts = [b"%060d" % number for number in range(4)]

    def deliver() -> None:  # in one turn
        for text in texts:
            place.broker.publish([CHANNEL], text, 0)

    place.run(deliver)
    until(lambda: place.numbers()["delivered"] == MANY * 4)
    assert all(heard(client) == texts for client in crowd)


def test_what_is_too_much_to_wait_is_begun_with_before_more_is_taken(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_WAITING", 100)
    place.publish("x" * 200)
    place.publish("y" * 200)
    until(lambda: place.numbers()["delivered"] == MANY * 2)
    assert all(heard(client) == [b"x" * 200, b"y" * 200] for client in crowd)


@pytest.fixture
def fans(place: Place) -> list[tuple[Client, WebSocket]]:
    """Clients that have another channel; the last one has one of its own, too."""
    made = [place.connect(SPORT)[:2] for _ in range(BATCH_SIZE)]
    return [*made, place.connect(SPORT, ALICE)[:2]]


def between(place: Place, act: Callable[[], None]) -> None:
    """Do something when a message to all is on its way and one to the fans waits behind it."""

    def deliver() -> None:
        place.broker.publish([CHANNEL], b"to all", 0)
        place.broker.publish([SPORT], b"goal", 0)
        while place.hub.stats.delivered == 0:
            gevent.sleep(1e-6)
        assert place.hub.stats.delivered < MANY
        act()

    place.run(deliver)


def test_who_leave_a_channel_that_waits_leave_nothing_to_do(
    place: Place, crowd: list[Client], fans: list[tuple[Client, WebSocket]]
) -> None:
    between(place, lambda: [connection.abort() for _, connection in fans] and None)
    until(lambda: not place.hub._dispatch._queue)
    assert place.numbers()["delivered"] == MANY
    assert all(heard(client) == [b"to all"] for client in crowd)


def test_who_gets_something_of_ones_own_gets_first_what_waits_for_many(
    place: Place, crowd: list[Client], fans: list[tuple[Client, WebSocket]]
) -> None:
    between(place, lambda: place.broker.publish([ALICE], b"to alice", 0) and None)
    until(lambda: place.numbers()["delivered"] == MANY + BATCH_SIZE + 3)
    assert heard(fans[-1][0]) == [b"goal", b"to alice"]
    assert all(heard(client) == [b"goal"] for client, _ in fans[:-1])


def test_what_came_while_one_was_joining_goes_out_after_what_waits_for_many(
    place: Place, crowd: list[Client]
) -> None:
    client, connection, _ = place.connect(CHANNEL)

    def deliver() -> None:
        place.broker.publish([CHANNEL], b"to all", 0)
        while not place.hub._dispatch._queue:
            gevent.sleep(0)
        recent = [Encoded((Message(SPORT, text),)) for text in (b"one", b"two")]
        place.hub._dispatch.send_recent(connection, recent)

    place.run(deliver)
    assert heard(client) == [b"to all", b"one", b"two"]
    place.run(connection.abort)
    assert connection.sent == 3


def test_no_more_is_taken_than_may_wait(
    place: Place, crowd: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_WAITING", 1000)
    sizes: list[int] = []
    channel = place.hub._channels[CHANNEL]

    def deliver() -> None:
        for number in range(30):
            place.broker.publish([CHANNEL], b"%0100d" % number, 0)
            gevent.sleep(0)
            sizes.append(channel.size)
        while place.hub.stats.delivered < MANY * 30:
            gevent.sleep(1e-6)
            sizes.append(channel.size)

    place.run(deliver)
    grown_from = [one for one, other in itertools.pairwise(sizes) if other > one]
    assert len(grown_from) > 2
    assert max(grown_from) <= 1000 < max(sizes)  # what one turn has brought is taken whole
    assert sizes[-1] == 0
    assert all(heard(client) == [b"%0100d" % n for n in range(30)] for client in crowd)


def test_what_fails_costs_one_batch_and_counts_as_a_gap(
    place: Place,
    crowd: list[Client],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_all = dispatch.write_all

    def fail(subscribers: Any, data: bytes, encoded: Any) -> None:
        monkeypatch.setattr(dispatch, "write_all", write_all)
        raise MemoryError

    monkeypatch.setattr(dispatch, "write_all", fail)
    place.publish("lost")
    until(lambda: place.numbers()["gaps"] == 1)
    assert sorted(client.read()[0] for client in crowd) == [
        *[Opcode.TEXT] * (MANY - BATCH_SIZE),
        *[Opcode.CLOSE] * BATCH_SIZE,
    ]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [MemoryError]


def test_a_channel_that_failed_is_not_deaf(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places(on_gap="keep")
    client = place.connect(CHANNEL)[0]
    write_all = dispatch.write_all

    def fail(subscribers: Any, data: bytes, encoded: Any) -> None:
        monkeypatch.setattr(dispatch, "write_all", write_all)
        raise MemoryError

    monkeypatch.setattr(dispatch, "write_all", fail)
    text = "x" * (JOIN_AT_MOST // 2)

    def deliver() -> None:  # three in one turn: two are one chunk, and the third one is left
        for _ in range(3):
            place.broker.publish([CHANNEL], text.encode(), 0)

    place.run(deliver)
    until(lambda: place.numbers()["gaps"] == 1)
    place.publish("end")
    assert [client.read()[1], client.read()[1]] == [text.encode(), b"end"]


def test_a_hub_that_ends_writes_nothing_any_more(place: Place, crowd: list[Client]) -> None:
    def deliver() -> None:
        place.broker.publish([CHANNEL], b"to all", 0)
        while place.hub._dispatch._timer is None:
            gevent.sleep(1e-6)
        place.hub.close()
        assert place.hub._dispatch._timer is None

    place.run(deliver)
    assert place.hub.stats.delivered < MANY
