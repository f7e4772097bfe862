"""The memory of send buffers and unfinished messages, and who is closed when there is too much."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from wsredis.config import Config
from wsredis.hub import memory as module
from wsredis.hub import steps
from wsredis.hub.encoding import Encoded
from wsredis.hub.memory import OVERHEAD, BufferMemory
from wsredis.hub.stats import HubStats
from wsredis.message import Message
from wsredis.protocol.frames import FRAME_ENCODINGS
from wsredis.transports.send_buffer import SendBuffer
from wsredis.transports.stream import State

from ..place import CHANNEL, Client, Place, complete, until

PLAIN = FRAME_ENCODINGS[0]


def new_memory() -> BufferMemory:
    return BufferMemory(Config(), HubStats(), tuple)


def said(text: str) -> Encoded:
    return Encoded([Message(f"ws:broadcast:{text[:1]}", part.encode()) for part in text.split()])


def test_a_chunk_counts_once_however_many_wait_for_it() -> None:
    memory = new_memory()
    buffers = [SendBuffer(memory) for _ in range(3)]
    data = b"x" * 1000
    for buffer in buffers:
        buffer.put(data)
    assert (memory.total, memory.waiting) == (1000 + 3 * OVERHEAD, 3000)
    buffers[0].mark_sent(400)
    assert (memory.total, memory.waiting) == (1000 + 3 * OVERHEAD, 2600)
    buffers[0].mark_sent(600)
    buffers[1].discard()
    assert (memory.total, memory.waiting) == (1000 + OVERHEAD, 1000)
    buffers[2].mark_sent(1)
    buffers[2].discard()  # it must be sent to its end
    assert (memory.total, memory.waiting) == (1000 + OVERHEAD, 999)
    buffers[2].clear()
    assert (memory.total, memory.waiting) == (0, 0)
    assert not memory._chunks


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["put", "own", "pong", "sent", "drop", "latest", "discard", "clear"]),
            st.integers(1, 40),
        ),
        max_size=60,
    )
)
def test_the_counted_memory_is_that_of_the_buffers(steps: list[tuple[int, str, int]]) -> None:
    memory = new_memory()
    buffers = [SendBuffer(memory) for _ in range(3)]
    messages = [said(text) for text in ("a1 a22 a333", "a4", "b1 b22", "b" * 30)]
    for index, step, number in steps:
        buffer = buffers[index]
        encoded = messages[number % 4]
        if step == "put":
            buffer.put(encoded[PLAIN], encoded)
        elif step == "own":
            buffer.put(bytes(number))
        elif step == "pong":
            buffer.put_pong(b"\x8a" + bytes(number))
        elif step == "sent":
            chunks = buffer.next_chunks()
            buffer.mark_sent(min(number, sum(map(len, chunks))))
        elif step in ("drop", "latest"):
            policy = "drop-oldest" if step == "drop" else "keep-latest"
            buffer.drop(number, policy, PLAIN)
        elif step == "discard":
            buffer.discard()
        else:
            buffer.clear()
        chunks = []
        for each in buffers:
            waiting = [data for data, _ in each._chunks]
            assert each.size == len(each._begun) + len(each._pong or b"") + sum(map(len, waiting))
            chunks += waiting + ([each._begun.obj] if each._begun else [])
            chunks += [each._pong] if each._pong is not None else []
        distinct = {id(chunk): len(chunk) for chunk in chunks}
        assert memory.total == sum(distinct.values()) + OVERHEAD * len(chunks)
        assert memory.waiting == sum(each.size for each in buffers)


# Too much


def fill(place: Place, size: int, channel: str = CHANNEL) -> tuple[Client, Any, Any]:
    """Return a client that does not read, and for which so much waits."""
    client, connection, endpoint = place.connect(channel, buffer=4096)

    def send() -> None:
        while not connection.send_buffer_size:
            connection.send("." * 1000)
        connection.send("." * size)

    place.run(send)
    return client, connection, endpoint


def test_the_websockets_that_take_most_memory_are_closed_and_others_are_not(
    places: Callable[..., Place],
) -> None:
    place = places(max_buffer_memory=200_000)
    light = [fill(place, 1000) for _ in range(10)]
    heavy = [fill(place, size) for size in (60_000, 70_000, 80_000)]
    until(lambda: place.numbers()["buffer_memory"] <= 175_000)
    assert heavy[2][0].close_code() == 1013
    assert [connection.state for _, connection, _ in (*light, *heavy[:2])] == [State.OPEN] * 12
    assert place.numbers()["slow_consumers"] == 1


def test_a_message_that_many_clients_wait_for_counts_once(places: Callable[..., Place]) -> None:
    place = places(max_buffer_memory=400_000)
    crowd = [fill(place, 100) for _ in range(20)]
    place.publish("x" * 200_000)
    until(lambda: place.numbers()["delivered"] == 20)
    assert place.numbers()["send_buffer_bytes"] > 20 * 200_000
    assert 200_000 < place.numbers()["buffer_memory"] < 400_000
    assert [connection.state for _, connection, _ in crowd] == [State.OPEN] * 20
    for client, _, _ in crowd:
        client.sock.close()
    until(lambda: place.numbers()["buffer_memory"] == place.numbers()["send_buffer_bytes"] == 0)


def test_unfinished_messages_count_and_are_ended_when_there_are_too_many(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    place = places(max_buffer_memory=150_000)
    light, heavy = place.connect(CHANNEL), [place.connect(CHANNEL) for _ in range(4)]
    for client, connection, _ in heavy:
        half = Frame(Opcode.TEXT, b"x" * 40_000, fin=False).serialize(mask=True)
        client.sock.sendall(half)
        until(lambda c=connection: c.buffered > 40_000 or c.state is not State.OPEN)
    until(lambda: place.numbers()["buffer_memory"] <= 150_000 - 150_000 // 8)
    states = [connection.state for _, connection, _ in heavy]
    assert sorted(states) == [State.OPEN] * 2 + [State.CLOSED] * 2
    place.publish("still here")
    assert light[0].read()[1] == b"still here"


class Heavy:
    """A stand-in for a subscriber for which so many bytes wait."""

    def __init__(self, memory: BufferMemory, size: int, kicked: list[int]) -> None:
        self.memory, self.size, self.kicked = memory, size, kicked
        memory.total += size

    @property
    def buffered(self) -> int:
        return self.size

    def kick(self, code: int, reason: str) -> bool:
        self.memory.total -= self.size
        self.kicked.append(self.size)
        self.size = 0
        return True


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_the_heaviest_of_all_steps_go_first(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    kicked: list[int] = []
    heavy: list[Any] = []
    memory = BufferMemory(Config(max_buffer_memory=80_000), HubStats(), lambda: iter(heavy))
    memory._relieving = True  # the test says when
    heavy += [Heavy(memory, size, kicked) for size in (9000, 40_000, 0, 20_000, 1000, 30_000)]
    place.run(memory._close_heaviest)
    assert kicked == [40_000]
    memory._limit = 30_000
    place.run(memory._close_heaviest)
    assert kicked == [40_000, 30_000, 20_000]


def test_a_limited_number_is_closed_in_one_step(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kicked: list[int] = []
    heavy: list[Any] = []
    memory = BufferMemory(Config(max_buffer_memory=1), HubStats(), lambda: iter(heavy))
    memory._relieving = True
    heavy += [Heavy(memory, 10, kicked) for _ in range(2 * steps.STEP + 1)]
    seen: list[int] = []
    sleep = module.gevent.sleep

    def note(seconds: float) -> None:
        seen.append(len(kicked))
        sleep(seconds)

    monkeypatch.setattr(module.gevent, "sleep", note)
    place.run(memory._close_heaviest)
    monkeypatch.undo()
    assert seen == [0, 0, 0, steps.STEP, 2 * steps.STEP, 2 * steps.STEP + 1]


def test_one_with_nothing_to_free_is_looked_at_and_stays(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is freed while the heaviest are looked for."""
    place = places(max_buffer_memory=50_000)
    _, connection, _ = place.connect(CHANNEL)

    def too_much_for_a_moment() -> None:
        place.hub.memory.hold(connection, 60_000)
        place.hub.memory.release(connection)

    place.run(too_much_for_a_moment)
    until(lambda: not place.hub.memory._relieving)
    assert connection.state is State.OPEN


# Unfinished messages


class Clock:
    """A stand-in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("paused", [False, True])
def test_a_message_has_to_be_finished_in_time_while_it_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """The deadline is 60 seconds, counted from the beginning, or anew while it is paused."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def pass_over(seconds: float) -> None:
        clock.now += seconds
        place.run(lambda: complete(place.hub.memory.sweep()))

    client, connection, endpoint = place.connect(CHANNEL)
    other, _, _ = place.connect(CHANNEL)
    client.sock.sendall(Frame(Opcode.TEXT, b"begun", fin=False).serialize(mask=True))
    until(lambda: connection.buffered)
    if paused:
        place.run(connection.hold)
        pass_over(61)
        assert connection.state is State.OPEN
        place.run(connection.release)
        until(lambda: not connection.paused)
    pass_over(59)
    assert connection.state is State.OPEN
    pass_over(2)
    assert client.close_code() == 1008
    assert connection.close_reason.startswith("message-timeout ")
    assert endpoint.got == []
    place.publish("still here")
    assert other.read()[1] == b"still here"
    assert place.numbers()["timeouts"] == 1


def test_unfinished_messages_are_ended_in_steps(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(steps, "STEP", 2)
    clients = [place.connect(CHANNEL) for _ in range(5)]
    for client, connection, _ in clients:
        client.sock.sendall(Frame(Opcode.TEXT, b"begun", fin=False).serialize(mask=True))
        until(lambda c=connection: c in place.hub.memory._unfinished)
    clock.now += 61

    def sweep() -> list[int]:
        counts = []
        for _ in place.hub.memory.sweep():
            counts.append(sum(connection.is_open for _, connection, _ in clients))
            if len(counts) == 1:
                place.hub.memory.release(clients[2][1])  # it has finished it
        return counts

    assert place.run(sweep) == [3, 2, 1]
    assert clients[2][1].is_open
    assert clients[2][1] not in place.hub.memory._unfinished


def test_a_finished_message_is_counted_out(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    client.sock.sendall(Frame(Opcode.TEXT, b"begun ", fin=False).serialize(mask=True))
    until(lambda: place.numbers()["buffer_memory"])
    client.sock.sendall(Frame(Opcode.CONT, b"and finished").serialize(mask=True))
    until(lambda: endpoint.got == ["begun and finished"])
    assert place.numbers()["buffer_memory"] == 0
    assert not place.hub.memory._unfinished
    client.sock.sendall(b"\x81")  # a frame's first byte
    until(lambda: place.numbers()["buffer_memory"])
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    assert place.numbers()["buffer_memory"] == 0
    assert not place.hub.memory._unfinished


def test_each_message_has_its_own_deadline(place: Place) -> None:
    """The end of one message and the beginning of the next may arrive together."""
    client, connection, endpoint = place.connect(CHANNEL)
    begin = Frame(Opcode.TEXT, b"begun ", fin=False).serialize(mask=True)
    end = Frame(Opcode.CONT, b"and finished").serialize(mask=True)
    client.sock.sendall(begin)
    until(lambda: connection in place.hub.memory._unfinished)
    _, first = place.hub.memory._unfinished[connection]
    client.sock.sendall(end + begin)
    until(lambda: endpoint.got == ["begun and finished"])
    _, second = place.run(lambda: place.hub.memory._unfinished[connection])
    assert second > first


@pytest.mark.parametrize("deflated", [False, True])
def test_an_unfinished_message_takes_no_more_than_its_bytes(place: Place, deflated: bool) -> None:
    client, connection, _ = place.connect(CHANNEL, bits=15 if deflated else 0)
    text = ("\N{GRINNING FACE}" + "a" * 500_000).encode()
    data = text
    if deflated:
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
    frame = bytearray(Frame(Opcode.TEXT, data, fin=False).serialize(mask=True))
    frame[0] |= 0x40 if deflated else 0
    client.sock.sendall(frame)
    until(lambda: connection.buffered > 500_000)
    assert connection.buffered < 500_000 + (1 << 16)
    receiver = connection._receiver
    assert receiver is not None
    assert len(receiver._parts) == len(text)
    assert not receiver.reader.buffer


def test_messages_that_are_held_back_count_until_they_are_delivered(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(setattr, endpoint, "received", lambda c, m: (endpoint.got.append(m), c.hold()))
    frames = b"".join(Frame(Opcode.TEXT, b"x" * 1000).serialize(mask=True) for _ in range(10))
    client.sock.sendall(frames)
    until(lambda: place.numbers()["buffer_memory"] == 9000)
    for left in range(8, -1, -1):
        place.run(connection.release)
        until(lambda n=left: place.numbers()["buffer_memory"] == n * 1000)
    client.sock.sendall(frames)
    until(lambda: len(endpoint.got) == 10)
    place.run(connection.release)
    until(lambda: place.numbers()["buffer_memory"] == 9000)
    place.run(connection.close)
    until(lambda: place.numbers()["buffer_memory"] == 0)


@pytest.mark.parametrize("how", ["abort", "close and abort", "close in received"])
def test_messages_that_are_held_back_are_counted_out_at_the_end(place: Place, how: str) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(setattr, endpoint, "received", lambda c, m: (endpoint.got.append(m), c.hold()))
    client.sock.sendall(Frame(Opcode.TEXT, b"x" * 1000).serialize(mask=True) * 10)
    until(lambda: place.numbers()["buffer_memory"] == 9000)
    if how == "close in received":
        place.run(setattr, endpoint, "received", lambda c, m: c.close())
        place.run(connection.release)
        until(lambda: connection.state is not State.OPEN)
    elif how == "close and abort":
        place.run(connection.close)
    place.run(connection.abort)
    assert place.numbers()["buffer_memory"] == 0
    assert not place.hub.memory._unfinished


# Retained messages


@pytest.mark.parametrize(("count", "code"), [(2, None), (3, 1013)])
def test_retained_messages_count_towards_the_send_buffer(
    places: Callable[..., Place], count: int, code: int | None
) -> None:
    """One of them may be larger; all others together may not."""
    place = places(max_send_buffer=10_000)
    channels = [f"ws:group:{number}:news" for number in range(count)]
    for channel in channels:
        place.publish("x" * 4000, channel, expire=60)
    place.publish("y" * 50_000, CHANNEL, expire=60)
    client, _, _ = place.connect(*channels, CHANNEL, buffer=4096)
    if code is not None:
        assert client.close_code() == code
        assert place.numbers()["slow_consumers"] == 1
        return
    for _ in channels:
        assert client.read()[1] == b"x" * 4000
    assert client.read()[1] == b"y" * 50_000


# Pongs


def test_only_the_newest_pong_waits_for_a_slow_reader(place: Place) -> None:
    client, connection, _ = fill(place, 1000)
    before = place.numbers()["buffer_memory"]
    pings = b"".join(
        Frame(Opcode.PING, b"%d" % number).serialize(mask=True) for number in range(900)
    )
    client.sock.sendall(pings)
    until(
        lambda: (
            connection.send_buffer is not None and connection.send_buffer._pong == b"\x8a\x03899"
        )
    )
    assert place.numbers()["buffer_memory"] == before + OVERHEAD + 5
    pongs = []
    while len(frame := client.read()[1]) < 1000 or not pongs:
        if len(frame) < 1000:
            pongs.append(frame)
    assert pongs == [b"899"]
    client.send(Opcode.PING, b"again")
    until(lambda: connection.send_buffer is None)


def test_one_that_closes_sends_no_pong(place: Place) -> None:
    client, connection, _ = fill(place, 1000)
    place.run(connection.close)
    client.send(Opcode.PING, b"late")
    client.send(Opcode.CLOSE, (1000).to_bytes(2))
    opcodes = []
    while not opcodes or opcodes[-1] != Opcode.CLOSE:
        opcodes.append(client.read()[0])
    assert Opcode.PONG not in opcodes
