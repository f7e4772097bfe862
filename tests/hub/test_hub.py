"""The hub in this process: which clients get which messages, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.hub.channel import BATCH_SIZE
from wsredis.hub.hub import Hub
from wsredis.identity import ANONYMOUS
from wsredis.protocol.frames import FrameEncoding
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, calls, until


def test_a_message_reaches_those_who_are_subscribed_and_nobody_else(place: Place) -> None:
    alice, _, _ = place.connect(CHANNEL)
    bob, _, _ = place.connect("ws:broadcast:sport")
    place.publish("hello")
    place.publish("goal", "ws:broadcast:sport")
    assert alice.read() == (Opcode.TEXT, b"hello")
    assert bob.read() == (Opcode.TEXT, b"goal")


def test_messages_keep_their_order_when_they_are_joined(place: Place) -> None:
    client, _, _ = place.connect(CHANNEL)
    for number in range(500):
        place.publish(str(number))
    assert [client.read()[1] for _ in range(500)] == [b"%d" % n for n in range(500)]


def test_a_retained_message_comes_first_and_only_once(place: Place) -> None:
    place.publish("retained", expire=60)
    client, _, _ = place.connect(CHANNEL)
    place.publish("live")
    assert [client.read()[1], client.read()[1]] == [b"retained", b"live"]


def test_an_endpoint_may_do_without_retained_messages(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.broker.publish([CHANNEL], b"retained", 100)
    monkeypatch.setattr(Recorder, "wants_retained", False)
    client, _, _ = place.connect(CHANNEL)
    place.broker.publish([CHANNEL], b"live", 0)
    assert client.read() == (Opcode.TEXT, b"live")


def test_without_the_envelope_a_sender_still_misses_its_own_binary(
    places: Callable[..., Place],
) -> None:
    place = places(envelope=False)
    place.broker.envelope = False
    (sender, connection, _), (other, _, _) = place.connect(CHANNEL), place.connect(CHANNEL)
    for data in (b"\xffB", b"text"):
        place.loop.run(lambda data=data: connection.publish([CHANNEL], data, echo=False))
    place.broker.publish([CHANNEL], b"text", 0)
    assert sender.read() == (Opcode.TEXT, b"text")
    assert [other.read() for _ in range(3)] == [
        (Opcode.BINARY, b"\xffB"),
        (Opcode.TEXT, b"text"),
        (Opcode.TEXT, b"text"),
    ]


def test_a_message_that_arrives_while_joining_is_not_doubled_by_the_retained_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = place.hub._feed
    subscribe = feed.subscribe

    def slowly(channels: Any, most: int) -> Any:
        subscribe(channels)
        place.publish("both", expire=60)
        joining = place.hub._channels[CHANNEL].joining
        while not any(joining.values()):
            gevent.sleep(0.001)
        return place.broker.fetch(list(channels))

    monkeypatch.setattr(feed, "subscribe", slowly)
    client, _, _ = place.connect(CHANNEL)
    place.publish("next")
    assert [client.read()[1], client.read()[1]] == [b"both", b"next"]


def test_the_same_text_retained_and_then_said_again_arrives_twice(place: Place) -> None:
    place.publish("tick", expire=60)
    client, _, _ = place.connect(CHANNEL)
    place.publish("tick", expire=60)
    assert [client.read()[1], client.read()[1]] == [b"tick", b"tick"]


def test_the_last_subscriber_ends_the_subscription(place: Place) -> None:
    one, _, _ = place.connect(CHANNEL)
    two, _, _ = place.connect(CHANNEL)
    one.sock.close()
    until(lambda: place.numbers()["connections"] == 1)
    assert place.hub._feed.channels == {CHANNEL, "ws:control"}
    two.sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert place.hub._feed.channels == {"ws:control"}
    assert place.numbers()["channels"] == 0


def test_without_echo_a_sender_misses_its_own_message_only(place: Place) -> None:
    alice, connection, _ = place.connect(CHANNEL)
    bob, _, _ = place.connect(CHANNEL)
    for echo in (False, True):
        place.run(lambda echo=echo: connection.publish([CHANNEL], "same", echo=echo))
    place.publish("same")
    place.publish("end")
    assert [alice.read()[1] for _ in range(3)] == [b"same", b"same", b"end"]
    assert [bob.read()[1] for _ in range(4)] == [b"same", b"same", b"same", b"end"]


def test_a_gap_forgets_own_messages_that_may_never_return(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    channel = place.hub._channels[CHANNEL]

    def lose() -> None:
        from wsredis.message import Message

        channel.echoes.append((Message(CHANNEL, b"same"), connection, 0))
        place.hub._feed.stats.gaps += 1

    place.run(lose)
    place.publish("same")
    assert client.read()[1] == b"same"


def test_pings_go_out_by_themselves(places: Callable[..., Place]) -> None:
    place = places(ping_interval=0.5, pong_timeout=0.5)
    client, _, _ = place.connect(CHANNEL)
    assert client.read() == (Opcode.PING, b"")


def test_who_does_not_answer_a_ping_is_ended(places: Callable[..., Place]) -> None:
    place = places(ping_interval=0.3, pong_timeout=0.2)
    _, _connection, endpoint = place.connect(CHANNEL)
    until(lambda: endpoint.codes == [1006])
    assert place.numbers()["timeouts"] == 1


def test_a_heartbeat_goes_out_and_is_swallowed(places: Callable[..., Place]) -> None:
    place = places(heartbeat="--beat--", heartbeat_interval=0.2)
    client, _, endpoint = place.connect(CHANNEL)
    assert client.read() == (Opcode.TEXT, b"--beat--")
    client.send(Opcode.TEXT, b"--beat--")
    client.send(Opcode.BINARY, b"--beat--")
    client.send(Opcode.TEXT, b"a message")
    until(lambda: endpoint.got == ["a message"])


def test_a_full_process_refuses_with_503(places: Callable[..., Place]) -> None:
    place = places(max_connections=1)
    place.connect(CHANNEL)
    with pytest.raises(HandshakeError) as refused:
        place.connect(CHANNEL)
    assert refused.value.status == 503


def test_a_failed_subscription_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(channels: Any, most: int) -> Any:
        raise BrokerUnavailable("unavailable")

    monkeypatch.setattr(place.hub._feed, "subscribe", unavailable)
    with pytest.raises(HandshakeError) as refused:
        place.connect(CHANNEL)
    assert refused.value.status == 503
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_a_join_that_is_interrupted_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(channels: Any, most: int) -> Any:
        raise gevent.GreenletExit

    monkeypatch.setattr(place.hub._feed, "subscribe", interrupted)
    with pytest.raises(gevent.GreenletExit):
        place.connect(CHANNEL)
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_a_join_whose_retained_message_cannot_be_encoded_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bytes:
        raise MemoryError

    place.publish("retained", expire=60)
    monkeypatch.setattr(FrameEncoding, "encode", full)
    with pytest.raises(MemoryError):
        place.connect(CHANNEL)
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_a_drain_says_goodbye_to_all_and_lets_nobody_in(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(5)]
    place.run(place.hub.drain)
    assert [client.close_code() for client in clients] == [1012] * 5
    with pytest.raises(HandshakeError) as refused:
        place.connect(CHANNEL)
    assert refused.value.status == 503
    assert place.hub.limits.count == 5


def test_a_socket_that_was_on_its_way_while_the_hub_drained_gets_1012(place: Place) -> None:
    near, far = place.pair()
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(place.hub.drain)
    place.run(connection.open, near.detach())
    assert Client(far).close_code() == 1012


def test_a_socket_that_arrives_after_the_hub_has_ended_is_closed(place: Place) -> None:
    near, far = place.pair()
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(place.hub.close)
    place.run(connection.open, near.detach())
    assert far.recv(1) == b""


def test_a_large_audience_does_not_keep_the_loop(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(BATCH_SIZE * 3)]
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(place.hub.stats.delivered)
            gevent.sleep(0)

    place.loop.soon(place.loop.spawn, look)
    try:
        place.publish("to all")
        for client in clients:
            assert client.read() == (Opcode.TEXT, b"to all")
        until(lambda: place.numbers()["delivered"] == len(clients))
    finally:
        over.set()
    assert {BATCH_SIZE, 2 * BATCH_SIZE} <= seen


def test_a_retained_message_is_not_lost_where_joins_overlap(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, subscribe = place.hub._feed, place.hub._feed.subscribe
    gates = [gevent.event.Event(), gevent.event.Event()]
    waiting = iter(gates)

    def slowly(channels: Any, most: int) -> Any:
        retained = subscribe(channels)
        next(waiting).wait()
        return retained

    monkeypatch.setattr(feed, "subscribe", slowly)
    first = threading.Thread(target=place.connect, args=(CHANNEL,))
    first.start()
    until(lambda: place.numbers()["connections"] == 1)
    place.publish("retained", expire=60)  # the first one hears it live; the second comes later
    until(lambda: any(place.hub._channels[CHANNEL].joining.values()))
    came: list[Client] = []
    second = threading.Thread(target=lambda: came.append(place.connect(CHANNEL)[0]))
    second.start()
    until(lambda: place.numbers()["connections"] == 2)
    for gate, thread in zip(gates, (first, second), strict=True):
        place.run(gate.set)
        thread.join(30)
    assert came[0].read() == (Opcode.TEXT, b"retained")


def test_who_is_ended_before_joining_gives_no_slot_back(place: Place) -> None:
    place.connect(CHANNEL)
    place.run(place.websocket(Recorder(), ANONYMOUS).abort)
    assert place.numbers()["connections"] == place.hub.limits.count == 1


@pytest.mark.parametrize("where", [CHANNEL, "ws:broadcast:sport"], ids=["own", "elsewhere"])
def test_a_sender_is_told_of_a_loss_whether_or_not_anybody_here_is_subscribed(
    place: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def lose(channels: Any, payload: bytes, expire: int, on_ack: Callable[[bool], None]) -> None:
        on_ack(False)

    monkeypatch.setattr(place.hub._feed, "publish", lose)
    client, connection, _ = place.connect(CHANNEL)
    other, _, _ = place.connect(CHANNEL)
    place.run(lambda: connection.publish([where], "lost", echo=False, expire=0))
    assert client.close_code() == 1013
    place.publish("next")
    assert other.read() == (Opcode.TEXT, b"next")
    assert not place.hub._channels[CHANNEL].echoes


def test_what_is_lost_is_not_expected_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    on_their_way: list[Callable[[bool], None]] = []
    monkeypatch.setattr(
        place.hub._feed,
        "publish",
        lambda channels, payload, expire, on_ack: on_their_way.append(on_ack),
    )
    client, connection, _ = place.connect(CHANNEL)
    other, another, _ = place.connect(CHANNEL)
    for sender in (connection, another):
        place.run(lambda sender=sender: sender.publish([CHANNEL], "mine", echo=False))
    echoes = place.hub._channels[CHANNEL].echoes
    assert [sender for _, sender, _ in echoes] == [connection, another]
    place.run(on_their_way[0], False)
    assert [sender for _, sender, _ in echoes] == [another]
    assert client.close_code() == 1013
    place.run(on_their_way[1], True)
    place.publish("mine")  # what the other one has published comes back
    place.publish("end")
    assert other.read() == (Opcode.TEXT, b"end")


def test_who_does_not_answer_a_close_frame_is_ended(places: Callable[..., Place]) -> None:
    place = places(close_timeout=0.2)
    _client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.close, 4000)
    until(lambda: endpoint.codes == [4000])
    assert place.numbers()["timeouts"] == 1


def test_the_broker_is_told_of_what_a_sender_publishes_and_the_sender_of_the_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, _ = place.connect(CHANNEL)
    acked: list[int] = []
    on_ack = WebSocket.on_ack
    monkeypatch.setattr(
        WebSocket, "on_ack", lambda self, size: (acked.append(size), on_ack(self, size))
    )
    place.run(lambda: connection.publish([CHANNEL], "hello", expire=60))
    assert client.read() == (Opcode.TEXT, b"hello")
    assert acked == [5]
    assert [message.payload for message in place.broker.fetch([CHANNEL])] == [b"hello"]


def test_the_numbers_are_those_that_are_listed(places: Callable[..., Place]) -> None:
    place = places(heartbeat="--beat--")
    client, connection, _ = place.connect(CHANNEL, "ws:broadcast:sport")
    place.publish("hello")
    client.read()
    assert list(place.numbers()) == list(Hub.NUMBERS)
    assert place.numbers() == {
        **dict.fromkeys(Hub.NUMBERS, 0),
        "connections": 1,
        "channels": 2,
        "accepted": 1,
        "delivered": 1,
        "broker_connected": 1,
    }
    place.run(connection.close)
    place.run(place.hub.drain)
    assert place.numbers()["draining"] == 1


def test_the_cost_of_the_numbers_does_not_depend_on_the_number_of_clients(place: Place) -> None:
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    few = place.run(calls, place.hub.numbers)
    for _ in range(300):
        place.join(place.websocket(Recorder(), ANONYMOUS), [CHANNEL])
    assert place.run(calls, place.hub.numbers) == few
    assert place.numbers()["connections"] == 301


def test_a_hub_that_has_ended_does_nothing_any_more(places: Callable[..., Place]) -> None:
    place = places(heartbeat="--beat--", ping_interval=0.31, pong_timeout=0.31)
    client, connection, endpoint = place.connect(CHANNEL)
    timers, feed = list(place.hub._timers), place.hub._feed
    assert len(timers) == 5
    place.run(place.hub.close)
    assert endpoint.codes == [1006]
    assert connection.state is State.CLOSED
    while client.sock.recv(1000):
        pass
    assert not any(timer._pause.active or timer._turn.active for timer in timers)
    assert feed not in place.broker.feeds
    numbers = place.numbers()
    assert (numbers["connections"], numbers["broker_connected"], numbers["draining"]) == (0, 0, 1)
    with pytest.raises(HandshakeError):
        place.connect(CHANNEL)
    place.run(place.hub.close)  # as often as one likes


def test_those_of_a_channel_that_the_broker_refuses_are_closed(place: Place) -> None:
    client = place.connect(CHANNEL)[0]
    other = place.connect("ws:broadcast:sport")[0]
    place.hub._feed.refused = lambda: [CHANNEL, "ws:broadcast:nobody"]
    place.run(place.hub._catch_up)
    assert client.close_code() == 1011
    place.publish("still here", "ws:broadcast:sport")
    assert other.read()[1] == b"still here"
