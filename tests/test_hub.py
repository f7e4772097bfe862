"""The hub and its connections in this process: socket pairs, a loop, the memory broker."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from websockets.frames import Frame, Opcode

from wsredis.brokers.memory import MemoryBroker
from wsredis.config import Config
from wsredis.connection import Connection, State
from wsredis.endpoints import Endpoint
from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.hub import BUCKETS, TURN, Hub
from wsredis.identity import ANONYMOUS, Identity
from wsredis.loop import Loop

CHANNEL = "ws:broadcast:news"


class Recorder(Endpoint):
    """Keep what happens to one connection."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []
        self.codes: list[int] = []
        self.fail = False

    def received(self, connection: Connection, message: str | bytes) -> None:
        if self.fail:
            raise LookupError("the endpoint is broken")
        self.got.append(message)

    def closed(self, connection: Connection, code: int) -> None:
        self.codes.append(code)


class Client:
    """The other end of a connection: a socket, and frames as a browser sends and reads them."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._bytes = b""

    def send(self, opcode: Opcode, data: bytes = b"") -> None:
        self.sock.sendall(Frame(opcode, data).serialize(mask=True))

    def read(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        head = self._take(2)
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8))[0]
        return head[0] & 0x0F, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._bytes += data
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def close_code(self) -> int:
        """Skip to the close frame and return its code."""
        while True:
            opcode, data = self.read()
            if opcode == Opcode.CLOSE:
                return int(struct.unpack("!H", data[:2])[0])


class Place:
    """A hub on a thread of its own, as on a threaded server."""

    def __init__(self, **options: Any) -> None:
        self.broker = MemoryBroker()
        self.far_ends: list[socket.socket] = []
        self.loop = Loop()
        config = Config(**options)
        self.hub = self.loop.run(lambda: Hub(config, self.broker, self.loop))

    def connect(
        self, *channels: str, identity: Identity = ANONYMOUS, bits: int = 0, buffer: int = 0
    ) -> tuple[Client, Connection, Recorder]:
        endpoint = Recorder()
        connection = Connection(self.hub, endpoint, identity, None, bits)
        self.loop.run(self.hub.join, connection, channels)
        near, far = self.pair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.loop.run(connection.open, near.detach())
        return Client(far), connection, endpoint

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return the server's and the client's end of a connection."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.settimeout(5)
        self.far_ends.append(far)
        return near, far

    def publish(self, text: str, channel: str = CHANNEL, expire: int = 0) -> None:
        self.broker.publish([channel], text.encode(), expire)

    def numbers(self) -> dict[str, int]:
        return self.loop.run(self.hub.numbers)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.loop.run(function, *args)


@pytest.fixture
def places() -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(**options: Any) -> Place:
        made.append(Place(**options))
        return made[-1]

    yield make
    for place in made:
        place.run(place.hub.close)
        for far in place.far_ends:
            far.close()


@pytest.fixture
def place(places: Callable[..., Place]) -> Place:
    return places()


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def test_a_message_reaches_those_who_listen_and_nobody_else(place: Place) -> None:
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


def test_a_kept_message_comes_first_and_only_once(place: Place) -> None:
    place.publish("kept", expire=60)
    client, _, _ = place.connect(CHANNEL)
    place.publish("live")
    assert [client.read()[1], client.read()[1]] == [b"kept", b"live"]


def test_an_endpoint_may_do_without_kept_messages(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.broker.publish([CHANNEL], b"kept", 100)
    monkeypatch.setattr(Recorder, "wants_kept", False)
    client, _, _ = place.connect(CHANNEL)
    place.broker.publish([CHANNEL], b"live", 0)
    assert client.read() == (Opcode.TEXT, b"live")


def test_a_connection_is_reached_from_any_thread(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    connection.soon(connection.send, "from afar")
    assert client.read() == (Opcode.TEXT, b"from afar")


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


def test_a_message_that_arrives_while_joining_is_not_doubled_by_the_kept_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = place.hub._feed
    subscribe = feed.subscribe

    def slowly(channels: Any) -> Any:
        subscribe(channels)
        place.publish("both", expire=60)
        gevent.sleep(0.05)  # it is delivered to those who join
        return place.broker.fetch(list(channels))

    monkeypatch.setattr(feed, "subscribe", slowly)
    client, _, _ = place.connect(CHANNEL)
    place.publish("next")
    assert [client.read()[1], client.read()[1]] == [b"both", b"next"]


def test_the_same_text_kept_and_then_said_again_arrives_twice(place: Place) -> None:
    place.publish("tick", expire=60)
    client, _, _ = place.connect(CHANNEL)
    place.publish("tick", expire=60)
    assert [client.read()[1], client.read()[1]] == [b"tick", b"tick"]


def test_the_last_listener_ends_the_subscription(place: Place) -> None:
    one, _, _ = place.connect(CHANNEL)
    two, _, _ = place.connect(CHANNEL)
    one.sock.close()
    until(lambda: place.numbers()["connections"] == 1)
    assert place.hub._feed.channels == {CHANNEL}
    two.sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert place.hub._feed.channels == set()
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


def test_a_reader_that_is_too_slow_is_closed_and_delays_nobody(
    places: Callable[..., Place],
) -> None:
    place = places(max_outbox=100_000, close_timeout=0.3)
    _slow, _connection, endpoint = place.connect(CHANNEL, buffer=4096)
    quick, _, _ = place.connect(CHANNEL)
    text = "x" * 10_000
    for _ in range(40):
        place.publish(text)
        assert quick.read() == (Opcode.TEXT, text.encode())
    until(lambda: endpoint.codes == [1013])
    assert place.numbers()["dropped"] == 1
    assert place.numbers()["outbox_bytes"] == 0


def test_what_a_slow_reader_was_sent_is_whole_up_to_the_close_frame(
    places: Callable[..., Place],
) -> None:
    place = places(max_outbox=50_000)
    slow, _, _ = place.connect(CHANNEL, buffer=4096)
    for number in range(30):
        place.publish(f"{number:02}" + "x" * 10_000)
    until(lambda: place.numbers()["dropped"] == 1)
    seen = []
    while (frame := slow.read())[0] == Opcode.TEXT:
        seen.append(int(frame[1][:2]))
    assert seen == list(range(len(seen)))
    assert frame[0] == Opcode.CLOSE


def test_one_message_larger_than_the_outbox_still_goes_out(places: Callable[..., Place]) -> None:
    place = places(max_outbox=1000)
    client, _, _ = place.connect(CHANNEL, buffer=4096)
    place.publish("y" * 300_000)
    assert client.read() == (Opcode.TEXT, b"y" * 300_000)


def test_a_ping_is_answered_and_a_close_is_returned(place: Place) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    client.send(Opcode.PING, b"are you there")
    assert client.read() == (Opcode.PONG, b"are you there")
    client.send(Opcode.CLOSE, struct.pack("!H", 1001) + b"leaving")
    assert client.close_code() == 1001
    with pytest.raises(EOFError):
        client.read()
    client.sock.close()
    until(lambda: endpoint.codes == [1001])


def test_messages_before_a_close_in_the_same_bytes_are_heard(place: Place) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    text = Frame(Opcode.TEXT, b"last words").serialize(mask=True)
    close = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
    client.sock.sendall(text + close)
    assert client.close_code() == 1000
    assert endpoint.got == ["last words"]


def test_an_endpoint_that_fails_costs_its_own_socket_only(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    other, _, _ = place.connect(CHANNEL)
    endpoint.fail = True
    client.send(Opcode.TEXT, b"boom")
    assert client.close_code() == 1011
    place.publish("on we go")
    assert other.read()[1] == b"on we go"
    assert "the endpoint failed" in caplog.text


def test_a_client_that_does_not_answer_the_close_is_cut(places: Callable[..., Place]) -> None:
    place = places(close_timeout=0.2)
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.close, 1000)
    assert client.close_code() == 1000
    until(lambda: endpoint.codes == [1000])
    assert place.numbers()["timeouts"] == 1


def test_after_our_close_frame_nothing_more_is_sent_or_heard(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.close, 1000)
    client.send(Opcode.TEXT, b"too late")
    place.publish("too late")
    assert client.close_code() == 1000
    client.send(Opcode.CLOSE, struct.pack("!H", 1000))
    with pytest.raises(EOFError):
        client.read()
    assert endpoint.got == []


def test_pings_go_out_and_who_answers_stays(places: Callable[..., Place]) -> None:
    place = places(ping_interval=0.3, pong_timeout=0.2)
    client, connection, _ = place.connect(CHANNEL)
    for _ in range(3):
        assert client.read() == (Opcode.PING, b"")
        client.send(Opcode.PONG)
    assert connection.state is State.OPEN


def test_who_does_not_answer_a_ping_is_cut(places: Callable[..., Place]) -> None:
    place = places(ping_interval=0.3, pong_timeout=0.2)
    _, _connection, endpoint = place.connect(CHANNEL)
    until(lambda: endpoint.codes == [1006])
    assert place.numbers()["timeouts"] == 1


def test_a_newcomer_is_not_pinged_at_once(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600)
    for at in range(BUCKETS):
        place.hub._ping_at = at
        _, connection, _ = place.connect(CHANNEL)
        turns_until_ping = (connection.bucket - at) % BUCKETS
        assert turns_until_ping >= BUCKETS // 2


def test_a_heartbeat_goes_out_and_is_swallowed(places: Callable[..., Place]) -> None:
    place = places(heartbeat="--beat--", heartbeat_interval=0.2)
    client, _, endpoint = place.connect(CHANNEL)
    assert client.read() == (Opcode.TEXT, b"--beat--")
    client.send(Opcode.TEXT, b"--beat--")
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
    def away(channels: Any) -> Any:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(place.hub._feed, "subscribe", away)
    with pytest.raises(HandshakeError) as refused:
        place.connect(CHANNEL)
    assert refused.value.status == 503
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_a_drain_says_goodbye_to_all_and_lets_nobody_in(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(5)]
    place.run(place.hub.drain)
    assert [client.close_code() for client in clients] == [1012] * 5
    with pytest.raises(HandshakeError):
        place.connect(CHANNEL)


def test_a_socket_that_was_on_its_way_while_the_hub_drained_gets_1012(place: Place) -> None:
    near, far = place.pair()
    connection = Connection(place.hub, Recorder(), ANONYMOUS)
    place.run(place.hub.join, connection, [CHANNEL])
    place.run(place.hub.drain)
    place.run(connection.open, near.detach())
    assert Client(far).close_code() == 1012


def test_a_socket_that_arrives_after_the_hub_has_ended_is_closed(place: Place) -> None:
    near, far = place.pair()
    connection = Connection(place.hub, Recorder(), ANONYMOUS)
    place.run(place.hub.join, connection, [CHANNEL])
    place.run(place.hub.close)
    place.run(connection.open, near.detach())
    assert far.recv(1) == b""


def test_too_much_while_joining_closes_with_1013(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places(max_outbox=1000)
    feed = place.hub._feed
    subscribe = feed.subscribe

    def slowly(channels: Any) -> Any:
        kept = subscribe(channels)
        for _ in range(3):
            place.publish("z" * 900)
            gevent.sleep(0.02)
        return kept

    monkeypatch.setattr(feed, "subscribe", slowly)
    client, _, _ = place.connect(CHANNEL)
    assert client.close_code() == 1013


def test_a_large_audience_does_not_keep_the_loop(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(TURN * 3)]
    turns = []

    def count() -> None:
        while len(turns) < 1000:
            turns.append(place.hub.stats.delivered)
            gevent.sleep(0)

    place.loop.soon(place.loop.spawn, count)
    place.publish("to all")
    for client in clients:
        assert client.read() == (Opcode.TEXT, b"to all")
    until(lambda: place.numbers()["delivered"] == len(clients))
    assert len(turns) > 2


def test_early_bytes_of_the_client_are_heard(place: Place) -> None:
    near, _far = place.pair()
    endpoint = Recorder()
    connection = Connection(place.hub, endpoint, ANONYMOUS)
    place.run(place.hub.join, connection, [])
    early = Frame(Opcode.TEXT, b"early bird").serialize(mask=True)
    place.run(connection.open, near.detach(), early)
    assert endpoint.got == ["early bird"]


def test_a_log_line_tells_who_came_and_how_it_ended(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsredis.connection")
    client, _, _ = place.connect(CHANNEL, identity=Identity("alice\r\nroot"))
    place.publish("hello")
    client.read()
    client.send(Opcode.TEXT, b"one")
    client.send(Opcode.CLOSE, struct.pack("!H", 1000))
    client.close_code()
    client.sock.close()
    until(lambda: "close user=" in caplog.text)
    first, last = caplog.messages
    assert first == f"open user=alice%0D%0Aroot channels={CHANNEL}"
    assert last.startswith(f"close user=alice%0D%0Aroot channels={CHANNEL} code=1000 seconds=")
    assert last.endswith("received=1 sent=1")


def test_connections_and_their_descriptors_are_given_back(place: Place) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    place.connect(CHANNEL)[0].sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    before = descriptors()
    for _ in range(50):
        place.connect(CHANNEL)[0].sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert descriptors() <= before + 1


def test_a_kept_message_is_not_lost_where_joins_overlap(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, subscribe = place.hub._feed, place.hub._feed.subscribe
    gates = [gevent.event.Event(), gevent.event.Event()]
    waiting = iter(gates)

    def slowly(channels: Any) -> Any:
        kept = subscribe(channels)
        next(waiting).wait()
        return kept

    monkeypatch.setattr(feed, "subscribe", slowly)
    first = threading.Thread(target=place.connect, args=(CHANNEL,))
    first.start()
    until(lambda: place.numbers()["connections"] == 1)
    place.publish("kept", expire=60)  # the first one hears it live; the second comes later
    until(lambda: place.numbers()["delivered"] == 1)
    came: list[Client] = []
    second = threading.Thread(target=lambda: came.append(place.connect(CHANNEL)[0]))
    second.start()
    until(lambda: place.numbers()["connections"] == 2)
    for gate, thread in zip(gates, (first, second), strict=True):
        place.run(gate.set)
        thread.join(5)
    assert came[0].read() == (Opcode.TEXT, b"kept")


def test_an_endpoint_hears_of_the_opening_before_the_close(place: Place) -> None:
    heard: list[str] = []

    class Noting(Recorder):
        def opened(self, connection: Connection) -> None:
            heard.append("opened")

        def closed(self, connection: Connection, code: int) -> None:
            heard.append("closed")

    place.publish("kept", expire=60)
    near, far = place.pair()
    connection = Connection(place.hub, Noting(), ANONYMOUS)
    place.run(place.hub.join, connection, [CHANNEL])
    far.close()
    place.run(connection.open, near.detach())
    until(lambda: len(heard) == 2)
    assert heard == ["opened", "closed"]


def test_a_close_of_both_sides_at_once_ends_at_once(places: Callable[..., Place]) -> None:
    place = places(close_timeout=60)
    client, connection, endpoint = place.connect(CHANNEL)
    endpoint.fail = True
    text = Frame(Opcode.TEXT, b"boom").serialize(mask=True)
    close = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
    client.sock.sendall(text + close)
    assert client.close_code() == 1011
    with pytest.raises(EOFError):
        client.read()
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    assert place.numbers()["outbox_bytes"] == 0


def test_a_socket_far_ahead_of_the_broker_is_not_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    unanswered: list[Callable[[bool], None]] = []
    monkeypatch.setattr(
        place.hub._feed,
        "publish",
        lambda channels, payload, expire, answered: unanswered.append(answered),
    )

    def publish(connection: Connection, message: Any) -> None:
        connection.publish([CHANNEL], message)

    monkeypatch.setattr(endpoint, "received", publish)
    frame = Frame(Opcode.TEXT, b"z" * 10_000).serialize(mask=True)
    sender = threading.Thread(target=client.sock.sendall, args=(frame * 200,))
    sender.start()
    until(lambda: connection.paused)
    assert len(unanswered) < 60
    while sender.is_alive() or len(unanswered):
        place.run(lambda: [unanswered.pop()(True) for _ in list(unanswered)])
        time.sleep(0.001)
    until(lambda: connection.received == 200 and not connection.paused)
    assert connection.state is State.OPEN
