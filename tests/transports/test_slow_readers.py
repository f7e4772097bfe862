"""Slow readers in this process: waiting messages, dropped messages, closed websockets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.hub.channel import JOIN_AT_MOST
from wsredis.identity import ANONYMOUS
from wsredis.protocol.frames import PING
from wsredis.transports.stream import State

from ..place import CHANNEL, Client, Place, Recorder, until

SPORT = "ws:broadcast:sport"


def test_a_reader_that_is_too_slow_is_closed_and_delays_nobody(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=100_000, close_timeout=0.3)
    _slow, _connection, endpoint = place.connect(CHANNEL, buffer=4096)
    quick, _, _ = place.connect(CHANNEL)
    text = "x" * 10_000
    for _ in range(40):
        place.publish(text)
        assert quick.read() == (Opcode.TEXT, text.encode())
    until(lambda: endpoint.codes == [1013])
    assert place.numbers()["slow_consumers"] == 1
    assert place.numbers()["send_buffer_bytes"] == 0


def test_what_a_slow_reader_was_sent_is_whole_up_to_the_close_frame(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=50_000)
    slow, _, _ = place.connect(CHANNEL, buffer=4096)
    for number in range(30):
        place.publish(f"{number:02}" + "x" * 10_000)
    until(lambda: place.numbers()["slow_consumers"] == 1)
    seen = []
    while (frame := slow.read())[0] == Opcode.TEXT:
        seen.append(int(frame[1][:2]))
    assert seen == list(range(len(seen)))
    assert frame[0] == Opcode.CLOSE


def test_one_message_larger_than_the_limit_still_goes_out(places: Callable[..., Place]) -> None:
    place = places(max_send_buffer=1000, ping_interval=3600)  # a ping would go on with the rest
    client, _, _ = place.connect(CHANNEL, buffer=4096)
    place.publish("y" * 300_000)
    assert client.read() == (Opcode.TEXT, b"y" * 300_000)


def test_too_much_while_joining_closes_with_1013(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places(max_send_buffer=1000)
    feed = place.hub._feed
    subscribe = feed.subscribe

    def slowly(channels: Any, most: int) -> Any:
        retained = subscribe(channels)
        for _ in range(3):
            place.publish("z" * 900)
        (recent,) = place.hub._channels[CHANNEL].joining.values()
        while len(recent) < 3:
            gevent.sleep(0.001)
        return retained

    monkeypatch.setattr(feed, "subscribe", slowly)
    client, _, endpoint = place.connect(CHANNEL)
    assert client.close_code() == 1013
    assert endpoint.got == []
    assert place.numbers()["slow_consumers"] == 1


@pytest.mark.parametrize("bits", [0, 15], ids=["plain", "compressed"])
@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_a_stuck_reader_loses_messages_and_not_its_socket(
    places: Callable[..., Place], overflow: str, bits: int
) -> None:
    place = places(max_send_buffer=50_000, overflow=overflow)
    client, connection, endpoint = place.connect(CHANNEL, SPORT, buffer=4096, bits=bits)
    noise = random.Random(1).randbytes(1000).hex
    published = 0
    while published < 200 or not place.numbers()["messages_dropped"]:
        place.publish(f"news {published} {noise()}")
        place.publish(f"sport {published}", SPORT)
        published += 2
        if published == 100:
            place.run(connection.send, "to you alone")
        until(lambda total=published: place.numbers()["delivered"] == total)
    assert connection.send_buffer_size <= 50_000 + JOIN_AT_MOST
    place.run(connection.send, "end")
    came: list[list[str]] = []
    while (word := client.read()[1].decode().split()) != ["end"]:
        came.append(word)
    until(lambda: connection.send_buffer_size == 0)
    assert [word for word in came if word[0] == "to"] == [["to", "you", "alone"]]
    for name in ("news", "sport"):
        numbers = [int(word[1]) for word in came if word[0] == name]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == published - 2
    dropped = place.numbers()["messages_dropped"]
    assert len(came) - 1 == published - dropped
    client.sock.close()
    until(lambda: endpoint.codes == [1006])
    assert connection.sent == len(came) + 1
    assert place.numbers()["slow_consumers"] == 0


def test_what_was_retained_is_dropped_like_any_other_message(places: Callable[..., Place]) -> None:
    place = places(max_send_buffer=1000, overflow="keep-latest")
    place.publish("retained " + "x" * 300, expire=60)
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    for number in range(5):
        place.publish(f"live {number} " + "x" * 300)
    until(lambda: place.numbers()["delivered"] == 5)
    near, far = place.pair()
    place.run(connection.open, near.detach())
    client = Client(far)
    words = [client.read()[1].split()[:2] for _ in range(6 - place.numbers()["messages_dropped"])]
    assert words[-1] == [b"live", b"4"]
    assert [b"retained", b"x" * 300] not in words
    assert connection.sent + 5 == len(words)  # five are counted when it leaves the channel


def test_a_large_message_that_takes_its_time_is_no_slow_reader(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=1000)
    client, connection, _ = place.connect(CHANNEL, buffer=4096)
    place.publish("y" * 300_000)
    until(lambda: connection.send_buffer_size)
    place.run(connection.write, PING)
    place.run(connection.write, PING)
    assert client.read() == (Opcode.TEXT, b"y" * 300_000)
    assert [client.read(), client.read()] == [(Opcode.PING, b"")] * 2


def test_answers_that_nobody_takes_end_the_socket_under_every_policy(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=20_000, overflow="drop-oldest", close_timeout=0.3)
    _client, connection, endpoint = place.connect(CHANNEL, buffer=4096)

    def send() -> None:
        while connection.state is State.OPEN:
            connection.send("z" * 1000)

    place.run(send)
    until(lambda: endpoint.codes == [1013])
    assert place.numbers()["slow_consumers"] == 1
    assert place.numbers()["messages_dropped"] == 0
