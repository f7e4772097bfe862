"""Subscribers that are not websockets: streams of events, in a different wire format."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.exceptions import HandshakeError
from wsredis.hub import fanout
from wsredis.hub.channel import BATCH_SIZE
from wsredis.hub.encoding import Encoded, Encoding
from wsredis.hub.keepalive import BUCKETS
from wsredis.hub.subscriber import Client, Subscriber
from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.revocation import Revocation
from wsredis.message import Message, encode
from wsredis.protocol.closing import IDENTITY_ENDED, MESSAGES_LOST, RESTART, SLOW
from wsredis.transports.stream import State, Stream

from ..place import CHANNEL, Place, complete, until

SPORT = "ws:broadcast:sport"


class EventEncoding:
    """Messages as server-sent events, and how often each was encoded."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def is_costly(self, message: Message) -> bool:
        return False

    def encode(self, message: Message, *, in_thread: bool = False) -> bytes:
        self.encoded.append(message.payload)
        kind = b"event: binary\n" if message.binary else b""
        lines = (b"data: " + line for line in message.payload.split(b"\n"))
        return kind + b"\n".join(lines) + b"\n\n"


EVENTS = EventEncoding()


class EventStream(Stream):
    """A client that reads events and sends nothing."""

    __slots__ = ("codes",)

    def __init__(self, host: Any, encoding: Encoding, identity: Identity) -> None:
        super().__init__(host, encoding, identity)
        self.codes: list[int] = []

    def open(self, fd: int) -> None:
        self.fd = fd
        self.state = State.OPEN
        if self._pending_close is None:
            self._flush()
        else:
            assert self.send_buffer is not None
            self.send_buffer.discard()
            self.close(*self._pending_close)

    @property
    def takes_heartbeats(self) -> bool:
        return self.state is State.OPEN

    @property
    def is_silent(self) -> bool:
        return self.state is State.OPEN and not self.alive and self.send_buffer is not None

    def ping(self) -> None:
        if self.state is State.OPEN:
            self.alive = False
            self.write(b": ping\n\n")

    def _last_bytes(self, code: int, reason: str) -> bytes:
        return f"event: close\ndata: {code} {reason}\n\n".encode() if code != 1000 else b""

    def _on_flushed(self) -> None:
        self.abort()

    def _on_drained(self) -> None:
        raise AssertionError("nobody has asked for it")

    def _on_closed(self) -> None:
        self.codes.append(self.close_code)


class Reader:
    """The client's end: the received events, without comments."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._bytes = b""

    def read(self) -> str:
        """Return the next event."""
        while b"\n\n" not in self._bytes:
            data = self.sock.recv(65536)
            assert data, "the stream has ended"
            self._bytes += data
        event, _, self._bytes = self._bytes.partition(b"\n\n")
        return event.decode() if event != b": ping" else self.read()

    def rest(self) -> list[str]:
        """Return all events up to the end."""
        while data := self.sock.recv(65536):
            self._bytes += data
        *events, cut_off = self._bytes.decode().split("\n\n")
        assert not cut_off
        return [event for event in events if event != ": ping"]


def join(
    place: Place,
    channels: Sequence[str],
    identity: Identity = ANONYMOUS,
    encoding: Encoding = EVENTS,
) -> EventStream:
    """Do for a stream what comes before its first bytes."""
    stream = EventStream(place.hub, encoding, identity)
    slots = place.hub.limits.take("192.0.2.1")
    stream.slots = place.hub.limits.take_user(slots, identity.user)

    def admit() -> None:
        place.hub.admit(stream)
        place.hub.subscribe(stream, channels)

    place.run(admit)
    return stream


def start(place: Place, stream: EventStream, buffer: int = 0) -> Reader:
    near, far = place.pair()
    if buffer:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    place.run(stream.open, near.detach())
    return Reader(far)


def connect(
    place: Place, *channels: str, buffer: int = 0, **options: Any
) -> tuple[Reader, EventStream]:
    stream = join(place, channels, **options)
    return start(place, stream, buffer), stream


def nobody_is_left(place: Place) -> bool:
    numbers = place.numbers()
    limits = place.hub.limits
    return numbers["connections"] == numbers["channels"] == limits.count == len(limits._taken) == 0


def test_a_stream_has_all_that_the_hub_needs_of_a_subscriber(place: Place) -> None:
    stream = EventStream(place.hub, EVENTS, ANONYMOUS)
    needed = {*Subscriber.__annotations__, *Client.__annotations__}
    needed |= {name for name in {*vars(Subscriber), *vars(Client)} if not name.startswith("_")}
    assert {"bucket", "channels", "encoding", "kick", "on_partial_write", "sent"} <= needed
    assert not [name for name in needed if not hasattr(stream, name)]


# Through channel and dispatch


def test_a_stream_is_named_in_log_lines_by_its_user_and_channels(place: Place) -> None:
    sport = "ws:broadcast:sport"
    alice = join(place, [CHANNEL, sport], identity=Identity("alice"))
    assert str(alice) == f"user=alice channels={CHANNEL},{sport}"
    assert str(join(place, [])) == "user=- channels=-"


def test_a_message_comes_in_the_format_of_its_reader(place: Place) -> None:
    events, stream = connect(place, CHANNEL)
    plain, _, _ = place.connect(CHANNEL)
    packed, _, _ = place.connect(CHANNEL, bits=15)
    text = "two\nlines " + "x" * 200
    place.publish(text)
    assert events.read() == "data: two\ndata: lines " + "x" * 200
    assert plain.read() == packed.read() == (Opcode.TEXT, text.encode())
    place.publish("elsewhere", SPORT)
    place.broker.publish([CHANNEL], encode(b"raw"), 0)
    place.publish("end")
    assert events.read() == "event: binary\ndata: raw"
    assert events.read() == "data: end"
    assert stream.send_buffer is None
    place.run(stream.abort)
    assert stream.sent == 3


def test_a_message_is_encoded_once_for_all_who_share_an_encoding(place: Place) -> None:
    one, other = EventEncoding(), EventEncoding()
    count = BATCH_SIZE * 2 + 10
    readers = [connect(place, CHANNEL, encoding=one)[0] for _ in range(count)]
    few = [connect(place, CHANNEL, encoding=other)[0] for _ in range(3)]
    websockets = [place.connect(CHANNEL)[0] for _ in range(3)]
    for text in ("first", "second"):
        place.publish(text)
        assert {reader.read() for reader in (*readers, *few)} == {f"data: {text}"}
        assert {client.read()[1] for client in websockets} == {text.encode()}
    assert one.encoded == other.encoded == [b"first", b"second"]


def test_what_is_joined_on_its_way_to_many_comes_one_by_one(place: Place) -> None:
    encoding = EventEncoding()
    readers = [connect(place, CHANNEL, encoding=encoding)[0] for _ in range(BATCH_SIZE * 3)]

    def publish() -> None:
        for number in range(5):
            place.broker.publish([CHANNEL], b"%d" % number, 0)
            gevent.sleep(0)

    place.run(publish)
    for reader in readers:
        assert [reader.read() for _ in range(5)] == [f"data: {n}" for n in range(5)]
    assert encoding.encoded == [b"%d" % number for number in range(5)]


def test_a_message_to_few_does_not_overtake_one_to_many(place: Place) -> None:
    for _ in range(BATCH_SIZE * 2):
        connect(place, CHANNEL)
    both, _ = connect(place, CHANNEL, SPORT)

    def publish() -> None:
        place.broker.publish([CHANNEL], b"to many", 0)
        place.broker.publish([SPORT], b"to few", 0)

    place.run(publish)
    assert [both.read(), both.read()] == ["data: to many", "data: to few"]


def test_what_is_retained_comes_first(place: Place) -> None:
    place.publish("retained", expire=60)
    place.publish("retained too", SPORT, expire=60)
    stream = join(place, [CHANNEL])
    place.publish("live")
    until(lambda: place.numbers()["delivered"] == 1)
    events = start(place, stream)
    place.run(place.hub.subscribe, stream, [SPORT])
    assert place.run(lambda: stream.send_buffer) is None  # it goes out at once
    place.publish("end", SPORT)
    shown = [events.read() for _ in range(4)]
    assert shown == ["data: retained", "data: live", "data: retained too", "data: end"]
    place.run(place.hub.unsubscribe, stream, [CHANNEL, SPORT])
    place.run(stream.close)
    assert events.rest() == []
    assert stream.sent == 4


# Slow readers


def stuck(place: Place, *channels: str, **options: Any) -> tuple[Reader, EventStream]:
    """Return a reader that does not read, for which bytes wait already."""
    events, stream = connect(place, *channels, buffer=4096, **options)

    def fill() -> None:
        while not stream.send_buffer_size:
            stream.write(b"data: filling" + b"." * 1000 + b"\n\n")

    place.run(fill)
    return events, stream


def test_what_is_retained_goes_on_as_the_reader_takes_it(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600)  # a ping would go on with the rest
    place.publish("x" * 300_000, expire=60)
    stream = join(place, [CHANNEL])
    events = start(place, stream, buffer=4096)
    assert events.read() == "data: " + "x" * 300_000
    until(lambda: stream.send_buffer is None)
    assert stream._writer is None


def test_a_reader_that_takes_bytes_is_alive(place: Place) -> None:
    events, stream = stuck(place, CHANNEL)
    place.run(stream.ping)
    assert not stream.alive
    events.read()
    until(lambda: stream.alive)


def test_a_reader_that_is_too_slow_is_told_and_ends(places: Callable[..., Place]) -> None:
    place = places(max_send_buffer=10_000)
    events, stream = stuck(place, CHANNEL)
    quick, _ = connect(place, CHANNEL)
    for _ in range(20):
        place.publish("x" * 1000)
        assert quick.read() == "data: " + "x" * 1000
    until(lambda: stream.state is State.CLOSING)
    *_, last = events.rest()
    assert last == f"event: close\ndata: 1013 {SLOW.reason}"
    until(lambda: stream.codes == [1013])
    assert place.numbers()["slow_consumers"] == 1


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_a_stuck_reader_loses_messages_and_not_its_stream(
    places: Callable[..., Place], overflow: str
) -> None:
    place = places(max_send_buffer=10_000, overflow=overflow)
    encoding = EventEncoding()
    events, stream = stuck(place, CHANNEL, SPORT, encoding=encoding)
    place.publish("goal", SPORT)

    def publish(start: int) -> None:  # some in one turn, so that they are joined
        for number in range(start, start + 5):
            place.broker.publish([CHANNEL], b"%03d " % number + b"x" * 400, 0)

    for start in range(0, 100, 5):
        place.run(publish, start)
        until(lambda count=start + 6: place.numbers()["delivered"] == count)
    assert place.numbers()["messages_dropped"]
    place.run(stream.close, 1012, "bye")
    shown = [event for event in events.rest() if "filling" not in event]
    assert shown[-1] == "event: close\ndata: 1012 bye"
    assert shown[-2].startswith("data: 099 xxx")
    assert ("data: goal" in shown) is (overflow == "keep-latest")
    assert len(shown) - 1 == 101 - place.numbers()["messages_dropped"]
    assert stream.sent == len(shown) - 1
    assert place.numbers()["slow_consumers"] == 0


# Being alive


def test_a_heartbeat_comes_in_the_format_of_its_reader(places: Callable[..., Place]) -> None:
    place = places(heartbeat="still here", heartbeat_interval=0.3)
    events, _ = connect(place, CHANNEL)
    client, _, _ = place.connect(CHANNEL)
    assert [events.read(), events.read()] == ["data: still here"] * 2
    assert client.read() == (Opcode.TEXT, b"still here")


def test_pings_find_a_reader_that_is_stuck(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600, pong_timeout=3600)
    events, stream = connect(place, CHANNEL)
    _stuck, other = stuck(place, CHANNEL)

    def ping() -> None:
        for _ in range(BUCKETS * 2):
            complete(place.hub._everybody.ping())

    place.run(ping)
    assert stream.state is State.OPEN
    assert other.state is State.CLOSED
    assert other.codes == [1006]
    assert place.numbers()["timeouts"] == 1
    place.publish("hello")
    assert events.read() == "data: hello"


# The end


def test_one_whose_identity_is_revoked_gets_nothing_that_waits(place: Place) -> None:
    events, stream = stuck(place, CHANNEL, identity=Identity("alice"))
    bob, _ = connect(place, CHANNEL, identity=Identity("bob"))
    place.publish("waits")
    until(lambda: place.numbers()["delivered"] == 2)
    place.publish(Revocation(user="alice", at=time.time()).encode().decode(), "ws:control")
    until(lambda: stream.state is State.CLOSING)
    shown = [event for event in events.rest() if "filling" not in event]
    assert shown == [f"event: close\ndata: 4401 {IDENTITY_ENDED.reason}"]
    until(lambda: stream.codes == [4401])
    assert place.numbers()["revoked"] == 1
    place.publish("go on")
    assert [bob.read(), bob.read()] == ["data: waits", "data: go on"]


def test_one_that_has_expired_gets_nothing_that_is_retained(place: Place) -> None:
    place.publish("retained", expire=60)
    events, stream = connect(place, CHANNEL, identity=Identity("alice", expires=time.time() - 1))
    assert events.rest() == [f"event: close\ndata: 4401 {IDENTITY_ENDED.reason}"]
    until(lambda: nobody_is_left(place))
    assert stream.sent == 0


@pytest.mark.parametrize("opened", [True, False], ids=["open", "joining"])
def test_one_that_may_have_missed_something_is_told(place: Place, opened: bool) -> None:
    stream = join(place, [CHANNEL])
    events = start(place, stream) if opened else None
    place.run(place.hub._feed.stats.count_gap)
    until(lambda: place.hub._gaps._told == 1)
    place.publish("after")
    events = events or start(place, stream)
    assert events.rest() == [f"event: close\ndata: 1012 {MESSAGES_LOST.reason}"]


def test_a_drain_ends_all_and_lets_nobody_in(place: Place) -> None:
    readers = [connect(place, CHANNEL, identity=Identity("alice"))[0] for _ in range(3)]
    place.run(place.hub.drain)
    for events in readers:
        assert events.rest() == [f"event: close\ndata: 1012 {RESTART.reason}"]
    with pytest.raises(HandshakeError):
        join(place, [CHANNEL])
    until(lambda: nobody_is_left(place))


def test_one_may_end_without_last_bytes(place: Place) -> None:
    events, stream = connect(place, CHANNEL)
    place.publish("last")
    assert events.read() == "data: last"
    place.run(stream.close)
    assert events.rest() == []
    assert (stream.codes, stream.state, stream.fd) == ([1000], State.CLOSED, -1)
    assert nobody_is_left(place)


def test_what_waits_goes_out_before_the_end(place: Place) -> None:
    events, stream = stuck(place, CHANNEL)
    place.publish("waits")
    until(lambda: place.numbers()["delivered"] == 1)
    place.run(stream.close, 1012, "bye")
    place.publish("too late")
    assert stream.state is State.CLOSING
    assert events.rest()[-2:] == ["data: waits", "event: close\ndata: 1012 bye"]
    until(lambda: nobody_is_left(place))


def test_one_that_does_not_take_its_last_bytes_ends_at_the_deadline(
    places: Callable[..., Place],
) -> None:
    place = places(close_timeout=0.2)
    _events, stream = stuck(place, CHANNEL)
    place.run(stream.close, 1012)
    until(lambda: stream.codes == [1012])
    assert place.numbers()["timeouts"] == 1
    assert nobody_is_left(place)


def test_writing_finds_a_client_that_has_gone(place: Place) -> None:
    events, stream = connect(place, CHANNEL, identity=Identity("alice"))
    other, _ = connect(place, CHANNEL)
    events.sock.close()
    place.publish("hello")
    assert other.read() == "data: hello"
    until(lambda: stream.codes == [1006])
    assert place.numbers()["connections"] == 1


def test_one_that_waits_for_a_client_that_has_gone_ends(place: Place) -> None:
    events, stream = stuck(place, CHANNEL)
    events.sock.close()
    until(lambda: stream.codes == [1006])
    assert nobody_is_left(place)
    assert stream.send_buffer_size == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stream.fd)


class Scarce:
    """A system call that fails for lack of memory, so many times."""

    def __init__(self, call: Callable[..., Any], number: int, times: int) -> None:
        self.call = call
        self.number = number
        self.left = times
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise OSError(self.number, os.strerror(self.number))
        return self.call(*args)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_a_kernel_without_memory_is_asked_again_after_a_while(
    place: Place, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, stream = connect(place, CHANNEL)
    writev = Scarce(os.writev, number, 2)
    monkeypatch.setattr(os, "writev", writev)
    lacking = pytest.MonkeyPatch()
    lacking.setattr(fanout, "write_each", lambda some, data: [(each, 0) for each in some])
    try:
        place.publish("one")
        until(lambda: writev.calls)
    finally:
        lacking.undo()
    place.publish("two")  # no watcher of the descriptor is added, which would fire at once
    assert [events.read(), events.read()] == ["data: one", "data: two"]
    assert writev.calls == 3
    until(lambda: stream.send_buffer is None)
    assert place.run(lambda: stream._writer) is None


def test_a_reader_can_be_stuck_after_the_kernel_has_memory_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, stream = stuck(place, CHANNEL)
    sent = stream.send_buffer_size
    writev = Scarce(os.writev, errno.ENOBUFS, 1)
    monkeypatch.setattr(os, "writev", writev)
    place.run(stream._flush)
    until(lambda: writev.calls == 2)
    assert stream.send_buffer_size == sent
    assert place.run(lambda: stream._writer.active)
    place.run(stream.close, 1012, "bye")
    assert events.rest()[-1] == "event: close\ndata: 1012 bye"


def test_one_that_ends_while_the_kernel_lacks_memory_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _events, stream = stuck(place, CHANNEL)
    monkeypatch.setattr(os, "writev", Scarce(os.writev, errno.ENOMEM, 1))
    place.run(stream._flush)
    place.run(stream.abort)
    assert stream.codes == [1006]
    assert stream._writer is None
    assert nobody_is_left(place)


def test_one_that_has_ended_takes_nothing_more(place: Place) -> None:
    _events, stream = connect(place, CHANNEL)
    place.run(stream.abort)
    place.run(stream.abort)
    place.run(stream.write, b"data: too late\n\n")
    place.run(stream.ping)
    place.run(stream.close)
    place.run(stream.send_retained, [Encoded([Message(CHANNEL, b"too late")])])
    assert not place.run(stream.kick, 4401, "")
    assert stream.codes == [1006]
    assert (stream.send_buffer_size, stream.sent) == (0, 0)


def test_nothing_comes_behind_the_last_bytes(place: Place) -> None:
    events, stream = stuck(place, CHANNEL)
    place.run(stream.close, 1012, "bye")
    place.run(stream.send_retained, [Encoded([Message(CHANNEL, b"too late")])])
    place.run(stream.write, b"data: too late\n\n")
    assert events.rest()[-1] == "event: close\ndata: 1012 bye"
    assert stream.sent == 0


def test_one_that_ends_before_it_is_open_leaves_nothing_behind(place: Place) -> None:
    stream = join(place, [CHANNEL], identity=Identity("alice"))
    assert not nobody_is_left(place)
    place.run(stream.abort)
    assert stream.codes == [1006]
    assert nobody_is_left(place)
