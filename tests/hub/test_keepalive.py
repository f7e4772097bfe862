"""All clients of a process: pings, heartbeats, and the end of those that do not answer in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.frames import Opcode

from wsredis.config import Config
from wsredis.hub import keepalive as module
from wsredis.hub.keepalive import BUCKETS, Keepalive
from wsredis.hub.stats import HubStats
from wsredis.hub.steps import STEP
from wsredis.identity import ANONYMOUS
from wsredis.protocol.frames import FRAME_ENCODINGS
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, complete, until

SLOWLY = {"ping_interval": 3100, "pong_timeout": 1000}
"""The test says when it is time; an answer to a ping has ten of them."""

TICKS = 10


class Clock:
    """A stand-in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def tick(place: Place, times: int = 1) -> None:
    """Let so much time pass that as many buckets are pinged."""

    def ping() -> None:
        for _ in range(times):
            complete(place.hub._everybody.ping())

    place.run(ping)


def tick_until_pinged(place: Place, connection: WebSocket) -> None:
    for _ in range(BUCKETS):
        tick(place)
        if not connection.alive:
            return
    pytest.fail("nobody was pinged")


# Who is here


def test_everybody_is_here_from_joining_to_the_end(place: Place) -> None:
    everybody = place.hub._everybody
    _client, connection, _ = place.connect(CHANNEL)
    joining, stranger = (place.websocket(Recorder(), ANONYMOUS) for _ in range(2))
    place.join(joining, [])
    assert place.run(lambda: (set(everybody), len(everybody))) == ({connection, joining}, 2)
    each = (connection, joining, stranger)
    assert place.run(lambda: list(map(everybody.stays, each))) == [True, True, False]
    place.run(connection.close)
    assert place.run(lambda: (connection in set(everybody), everybody.stays(connection))) == (
        True,
        False,
    )
    place.run(connection.abort)
    place.run(joining.abort)
    assert place.run(lambda: (list(everybody), len(everybody))) == ([], 0)


def test_only_one_that_is_here_can_be_removed(place: Place) -> None:
    everybody = place.hub._everybody
    _client, connection, _ = place.connect(CHANNEL)
    stranger = place.websocket(Recorder(), ANONYMOUS)
    assert place.run(everybody.remove, stranger) is False
    assert place.run(everybody.remove, connection) is True
    assert place.run(everybody.remove, connection) is False
    place.run(everybody.add, connection)  # as the fixture ends it


def test_a_newcomer_is_not_pinged_at_once(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600)
    for at in range(BUCKETS):
        place.hub._everybody._ping_at = at
        _, connection, _ = place.connect(CHANNEL)
        turns_until_ping = (connection.bucket - at) % BUCKETS
        assert turns_until_ping >= BUCKETS // 2


def test_newcomers_are_spread_so_that_no_moment_has_them_all(place: Place) -> None:
    connections = [place.websocket(Recorder(), ANONYMOUS) for _ in range(300)]
    for connection in connections:
        place.join(connection, [])
    sizes = Counter(connection.bucket for connection in connections)
    assert len(sizes) > BUCKETS // 4
    assert max(sizes.values()) < 100


# Pings


def test_each_is_pinged_once_in_a_round(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    clients = [place.connect()[0] for _ in range(40)]

    def hear() -> None:
        for client in clients:
            assert client.read() == (Opcode.PING, b"")
            client.send(Opcode.PONG)

    for _ in range(2):
        for _ in range(BUCKETS):
            tick(place)
            place.run(lambda: [setattr(each, "alive", True) for each in place.hub.subscribers()])
        hear()
    for client in clients:
        client.send(Opcode.PING, b"end")
        assert client.read() == (Opcode.PONG, b"end")


def test_pings_go_out_and_who_answers_stays(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600, pong_timeout=3600)
    client, connection, _ = place.connect(CHANNEL)
    for _ in range(3):
        tick(place, BUCKETS)  # as the timer does
        assert client.read() == (Opcode.PING, b"")
        client.send(Opcode.PONG)
        until(lambda: connection.alive)
    assert connection.state is State.OPEN


def test_an_answer_has_as_long_as_the_option_says(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    _client, connection, endpoint = place.connect(CHANNEL)
    tick_until_pinged(place, connection)
    tick(place, TICKS - 1)
    assert connection.state is State.OPEN
    tick(place)
    assert connection.state is State.CLOSED
    assert endpoint.codes == [1006]
    assert place.numbers()["timeouts"] == 1


@pytest.mark.parametrize(
    ("ping_interval", "pong_timeout", "ticks"),
    [(31, 31, 31), (31, 1, 1), (31, 15.4, 15), (25.0, 20.0, 25), (3600, 0.001, 1)],
)
def test_the_time_for_an_answer_is_counted_in_buckets(
    ping_interval: float, pong_timeout: float, ticks: int
) -> None:
    config = Config(ping_interval=ping_interval, pong_timeout=pong_timeout)
    assert Keepalive(config, HubStats())._pong_ticks == ticks


def test_any_frame_is_a_sign_of_life(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    client, connection, endpoint = place.connect(CHANNEL)
    for opcode, data in ((Opcode.PONG, b""), (Opcode.PING, b""), (Opcode.TEXT, b"hello")):
        tick_until_pinged(place, connection)
        client.send(opcode, data)
        until(lambda: connection.alive)
        tick(place, TICKS)
        assert connection.state is State.OPEN
    assert endpoint.got == ["hello"]
    assert place.numbers()["timeouts"] == 0


def test_a_reader_that_takes_bytes_is_alive_and_one_that_does_not_is_ended(
    places: Callable[..., Place],
) -> None:
    place = places(**SLOWLY)
    client, connection, endpoint = place.connect(CHANNEL, buffer=4096)

    def fill() -> None:
        for _ in range(100):
            connection.send("x" * 1000)

    place.run(fill)
    tick_until_pinged(place, connection)
    client.read()
    until(lambda: connection.alive)
    tick(place, TICKS)
    assert connection.state is State.OPEN
    place.run(setattr, connection, "alive", False)  # and no more than that
    tick(place, BUCKETS)
    assert endpoint.codes == [1006]


def test_one_that_is_not_read_at_the_moment_owes_no_answer(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    _client, connection, _ = place.connect(CHANNEL)
    place.run(connection.publishing, 2**20)
    assert connection.paused
    tick(place, BUCKETS * 2)
    assert connection.state is State.OPEN
    place.run(connection.on_ack, 2**20)
    tick_until_pinged(place, connection)
    tick(place, TICKS)
    assert connection.state is State.CLOSED


def test_who_is_closing_is_neither_pinged_nor_told_that_we_are_alive(
    places: Callable[..., Place],
) -> None:
    place = places(heartbeat="--heartbeat--")
    client, connection, _ = place.connect(CHANNEL)
    place.run(connection.close, 4000)

    def turn() -> None:
        for _ in range(BUCKETS):
            complete(place.hub._everybody.ping())
            complete(place.hub._everybody.send_heartbeat())

    place.run(turn)
    client.send(Opcode.CLOSE, (4000).to_bytes(2))
    assert client.close_code() == 4000
    with pytest.raises(EOFError):
        client.read()


def test_who_is_joining_is_neither_pinged_nor_told_that_we_are_alive(
    places: Callable[..., Place],
) -> None:
    place = places(heartbeat="--heartbeat--", **SLOWLY)
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])

    def turn() -> None:
        for _ in range(BUCKETS * 3):
            complete(place.hub._everybody.ping())
            complete(place.hub._everybody.send_heartbeat())

    place.run(turn)
    assert connection.state is State.JOINING
    near, far = place.pair()
    place.run(connection.open, near.detach())
    place.publish("first")
    assert Client(far).read() == (Opcode.TEXT, b"first")


# Steps


class Many:
    """Subscribers of one bucket, and the calls that they got."""

    def __init__(self, count: int, **options: Any) -> None:
        self.stats = HubStats()
        self.everybody = Keepalive(Config(**options), self.stats)
        self.heard: list[tuple[str, Any]] = []
        self.here: list[Any] = [Socket(self) for _ in range(count)]
        self.everybody._buckets[0].update(self.here)

    def counts(self, work: Iterator[None]) -> list[int]:
        """Return how many calls each step made."""
        counts = []
        for _ in work:
            counts.append(len(self.heard))
            self.heard.clear()
        return counts


class Socket:
    """A stand-in for a subscriber that notes what it is told."""

    takes_heartbeats = True
    encoding: Any = FRAME_ENCODINGS[0]

    def __init__(self, many: Many) -> None:
        self.many = many
        self.bucket = 0
        self.since = 0.0
        self.is_silent = False

    def ping(self) -> None:
        self.many.heard.append(("ping", self))

    def write(self, data: bytes) -> None:
        self.many.heard.append(("write", self))

    def close(self, code: int, reason: str) -> None:
        self.many.heard.append(("close", self))
        self.many.everybody.end_handshake(self)

    def abort(self) -> None:
        self.many.heard.append(("abort", self))
        self.many.everybody.remove(self)


STEPS = [STEP, STEP, 1]


def test_a_bucket_is_pinged_in_steps() -> None:
    many = Many(2 * STEP + 1)
    assert many.counts(many.everybody.ping()) == STEPS


def test_the_silent_ones_of_a_bucket_are_ended_in_steps() -> None:
    many = Many(2 * STEP + 1, ping_interval=31, pong_timeout=1)
    for one in many.here:
        one.is_silent = True
    many.everybody._ping_at = 1
    assert many.counts(many.everybody.ping()) == STEPS
    assert many.stats.timeouts == 2 * STEP + 1
    assert len(many.everybody) == 0


def test_heartbeats_are_sent_in_steps() -> None:
    many = Many(2 * STEP + 1, heartbeat="--beat--")
    assert many.counts(many.everybody.send_heartbeat()) == STEPS


def test_those_that_close_too_slowly_are_ended_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    many = Many(2 * STEP + 1)
    for one in many.here:
        many.everybody.expect_end(one)
    clock.now += 1
    late = Socket(many)
    many.everybody.add(late)
    many.everybody.expect_end(late)
    assert many.counts(many.everybody.sweep()) == []
    clock.now += 1
    assert many.counts(many.everybody.sweep()) == STEPS
    assert list(many.everybody) == [late]
    assert many.stats.timeouts == 2 * STEP + 1


def test_one_that_ends_with_another_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    many = Many(2)
    for one in many.here:
        many.everybody.expect_end(one)
    many.here[0].abort = lambda: [many.everybody.remove(one) for one in many.here]
    clock.now += 10
    complete(many.everybody.sweep())
    assert many.heard == []
    assert many.stats.timeouts == 1


def test_handshakes_that_are_not_answered_are_ended_in_steps() -> None:
    many = Many(2 * STEP + 1)
    for one in many.here:
        many.everybody.begin_handshake(one)
    assert many.counts(many.everybody.sweep()) == STEPS
    assert many.stats.handshake_timeouts == 2 * STEP + 1


def test_between_the_steps_others_come_and_go_and_each_that_stays_is_pinged_once() -> None:
    many = Many(2 * STEP)
    pings = many.everybody.ping()
    next(pings)
    pinged = {one for _, one in many.heard}
    gone = next(one for one in many.here if one not in pinged)
    many.everybody.remove(gone)
    newcomer = Socket(many)
    many.everybody.add(newcomer)
    complete(pings)
    counted = Counter(one for _, one in many.heard if one is not gone)
    assert counted == dict.fromkeys((one for one in many.here if one is not gone), 1)


def test_one_that_is_here_all_the_time_is_met_once_while_others_come_and_go() -> None:
    many = Many(50)
    staying, going = many.here[:25], many.here[25:]
    met: list[Socket] = []
    for one in many.everybody:
        met.append(one)
        if going:
            many.everybody.remove(going.pop())
            many.everybody.add(Socket(many))
    counted = Counter(met)
    assert [counted[one] for one in staying] == [1] * 25
    assert max(counted.values()) == 1


# Heartbeats


def test_each_gets_one_heartbeat_in_a_round_in_its_own_encoding(
    places: Callable[..., Place],
) -> None:
    beat = "still here " * 20
    place = places(heartbeat=beat, heartbeat_interval=3600)
    clients = [place.connect(bits=bits)[0] for bits in (0, 9, 15) for _ in range(3)]

    def turn() -> None:
        for _ in range(BUCKETS):
            complete(place.hub._everybody.send_heartbeat())

    place.run(turn)
    for client in clients:
        assert client.read() == (Opcode.TEXT, beat.encode())
        client.send(Opcode.PING, b"end")
        assert client.read() == (Opcode.PONG, b"end")
    assert len(place.hub._everybody._heartbeat) == 3  # made once for each encoding


def test_without_the_option_there_is_no_heartbeat(place: Place) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    assert place.hub.heartbeats == ()
    client.send(Opcode.TEXT, b"")
    until(lambda: endpoint.got == [""])


# The deadline of those who close


def test_who_does_not_answer_the_close_in_time_is_ended(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    place = places(close_timeout=3600)
    ended: list[Any] = [place.connect(CHANNEL) for _ in range(3)]

    def close(index: int) -> None:
        place.run(ended[index][1].close)

    def states() -> list[State]:
        place.run(lambda: complete(place.hub._everybody.sweep()))
        return [connection.state for _, connection, _ in ended]

    close(0)
    clock.now += 1800
    close(1)
    clock.now += 1799
    assert states() == [State.CLOSING, State.CLOSING, State.OPEN]
    clock.now += 1
    assert states() == [State.CLOSED, State.CLOSING, State.OPEN]
    assert place.numbers()["timeouts"] == 1
    ended[1][0].send(Opcode.CLOSE, (1000).to_bytes(2))
    ended[1][0].sock.close()  # it answers, and is not waited for any more
    until(lambda: ended[1][1].state is State.CLOSED)
    clock.now += 10_000
    assert states() == [State.CLOSED, State.CLOSED, State.OPEN]
    assert place.numbers()["timeouts"] == 1
    assert not place.hub._everybody._closing
