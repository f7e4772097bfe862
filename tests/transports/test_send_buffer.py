"""The send buffer: whole frames are sent in order, for all sequences of adding and dropping."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from wsredis.config import Config
from wsredis.hub.encoding import Encoded
from wsredis.hub.memory import BufferMemory
from wsredis.hub.stats import HubStats
from wsredis.message import Message
from wsredis.protocol.frames import FRAME_ENCODINGS, PING, encode_message
from wsredis.transports import send_buffer
from wsredis.transports.send_buffer import CHUNKS_AT_ONCE, SendBuffer

LIMIT = 1000
PLAIN = FRAME_ENCODINGS[0]
NEWS, SPORT = "ws:broadcast:news", "ws:broadcast:sport"


@pytest.fixture(autouse=True, scope="module")
def bytes_only() -> Iterator[None]:
    """Leave the overhead of each chunk out of the limit, so that a limit is a number of bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send_buffer, "OVERHEAD", 0)
        yield


def new_buffer(memory: BufferMemory | None = None) -> SendBuffer:
    return SendBuffer(memory or new_memory())


def new_memory() -> BufferMemory:
    return BufferMemory(Config(), HubStats(), tuple)


def channel(text: str, name: str = NEWS) -> Encoded:
    return Encoded([Message(name, part.encode()) for part in text.split()])


def put(buffer: SendBuffer, encoded: Encoded, bits: int = 0) -> None:
    buffer.put(encoded[FRAME_ENCODINGS[bits]], encoded)


def read(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Go through frames of a server; the last one must be whole."""
    while data:
        head, size, rest = data[0], data[1], data[2:]
        if size == 126:
            size, rest = int.from_bytes(rest[:2], "big"), rest[2:]
        payload, data = rest[:size], rest[size:]
        assert len(payload) == size, "the last frame is cut off"
        if head & 0x40:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")
        yield head & 0x0F, payload


def drain(buffer: SendBuffer, at_once: int = 10**9) -> bytes:
    """Take everything, as a socket does that has room for so many bytes at a time."""
    taken = b""
    while buffer:
        some = b"".join(buffer.next_chunks())[:at_once]
        buffer.mark_sent(len(some))
        taken += some
    assert buffer.size == 0
    assert not buffer.next_chunks()
    return taken


def texts(buffer: SendBuffer) -> list[str]:
    return [payload.decode() for opcode, payload in read(drain(buffer)) if opcode == Opcode.TEXT]


# In and out


def test_a_new_one_is_empty() -> None:
    buffer = new_buffer()
    assert not buffer
    assert buffer.size == 0
    assert buffer.next_chunks() == []


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 7, 1000])
def test_bytes_go_out_as_they_came_however_many_the_socket_takes(at_once: int) -> None:
    buffer = new_buffer()
    chunks = [b"a", b"bcd", b"efghi", b"j"]
    for chunk in chunks:
        buffer.put(chunk)
    assert buffer.size == 10
    assert drain(buffer, at_once) == b"abcdefghij"


def test_only_so_many_chunks_are_written_at_once_and_none_is_left_behind() -> None:
    buffer = new_buffer()
    chunks = [b"%04d" % number for number in range(3 * CHUNKS_AT_ONCE)]
    for chunk in chunks:
        buffer.put(chunk)
    assert buffer.next_chunks() == chunks[:CHUNKS_AT_ONCE]
    buffer.mark_sent(6)
    assert buffer.next_chunks() == [b"01", *chunks[2 : CHUNKS_AT_ONCE + 2]]
    assert drain(buffer) == b"".join(chunks)[6:]


def test_the_rest_of_a_large_chunk_is_not_copied() -> None:
    chunk = bytes(2**20)
    buffer = new_buffer()
    buffer.put(chunk)
    buffer.mark_sent(1)
    (rest,) = buffer.next_chunks()
    assert isinstance(rest, memoryview)
    assert rest.obj is chunk


def test_messages_that_are_put_together_go_behind_what_waits() -> None:
    buffer = new_buffer()
    put(buffer, channel("before"))
    buffer.put_each([channel("one"), channel("two", SPORT)], PLAIN)
    assert buffer.size == len(b"".join(buffer.next_chunks()))
    assert texts(buffer) == ["before", "one", "two"]


def test_messages_that_are_put_together_may_be_dropped_one_by_one() -> None:
    buffer = new_buffer()
    messages = [channel("x" * 400), channel("y" * 400, SPORT), channel("z" * 400)]
    buffer.put_each(messages, PLAIN)
    assert buffer.drop(LIMIT, "drop-oldest", PLAIN) == 1
    assert texts(buffer) == ["y" * 400, "z" * 400]


def test_discarding_keeps_only_what_the_socket_is_in_the_middle_of() -> None:
    buffer = new_buffer()
    for word in ("first", "second", "third"):
        put(buffer, channel(word))
    buffer.mark_sent(9)  # the first, and two bytes of the second
    buffer.discard()
    assert buffer.size == len(b"cond") + 2
    assert drain(buffer) == encode_message(b"second")[2:]


def test_discarding_between_two_frames_leaves_nothing() -> None:
    buffer = new_buffer()
    put(buffer, channel("first"))
    put(buffer, channel("second"))
    buffer.mark_sent(7)
    buffer.discard()
    assert not buffer
    assert drain(buffer) == b""


# Too much


def test_more_than_the_limit_is_too_much() -> None:
    buffer = new_buffer()
    buffer.put(bytes(LIMIT - 1))
    buffer.put(b"x")
    assert not buffer.is_over(LIMIT)
    buffer.put(b"y")
    assert buffer.is_over(LIMIT)


def test_a_single_chunk_may_be_larger() -> None:
    buffer = new_buffer()
    buffer.put(bytes(10 * LIMIT))
    assert not buffer.is_over(LIMIT)


def test_what_is_partly_sent_does_not_count() -> None:
    buffer = new_buffer()
    buffer.put(bytes(10 * LIMIT))
    buffer.mark_sent(1)
    buffer.put(PING)
    buffer.put(bytes(LIMIT - len(PING)))
    assert not buffer.is_over(LIMIT)
    buffer.put(b"z")
    assert buffer.is_over(LIMIT)


def test_to_close_drops_nothing() -> None:
    buffer = new_buffer()
    for _ in range(3):
        put(buffer, channel("x" * LIMIT))
    assert buffer.drop(LIMIT, "close", PLAIN) == 0
    assert buffer.is_over(LIMIT)


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_nothing_is_dropped_up_to_the_limit(overflow: str) -> None:
    buffer = new_buffer()
    for word in ("one", "two", "three"):
        put(buffer, channel(word))
        assert buffer.drop(LIMIT, overflow, PLAIN) == 0
    assert texts(buffer) == ["one", "two", "three"]


def fill(
    overflow: str, words: list[str], where: Callable[[str], str] = lambda word: NEWS
) -> SendBuffer:
    """Put messages of 100 bytes as a stream does, whose reader is stuck."""
    buffer = new_buffer()
    for word in words:
        put(buffer, channel(f"{word:.<98}", where(word)))
        buffer.drop(LIMIT, overflow, PLAIN)
        assert not buffer.is_over(LIMIT)
    return buffer


def test_the_oldest_are_dropped_and_the_newest_stay() -> None:
    buffer = fill("drop-oldest", [f"{number:03}" for number in range(100)])
    left = [int(text[:3]) for text in texts(buffer)]
    assert left == list(range(100 - len(left), 100))
    assert 8 <= len(left) <= 10


def test_some_more_are_dropped_than_must_so_that_not_every_message_has_to_search() -> None:
    buffer = fill("drop-oldest", [f"{number:03}" for number in range(11)])
    assert buffer.size <= LIMIT - LIMIT // 8


def test_of_each_channel_the_newest_stays_however_long_ago_it_came() -> None:
    words = ["news1", "sport1", *[f"news{number}" for number in range(2, 60)]]
    buffer = fill("keep-latest", words, lambda word: NEWS if "news" in word else SPORT)
    left = [text.strip(".") for text in texts(buffer)]
    assert left[0] == "sport1"
    assert left[-1] == "news59"
    assert len(left) <= 10


def test_where_the_newest_of_all_channels_are_too_much_the_oldest_are_dropped() -> None:
    words = [f"{number:03}" for number in range(50)]
    left = [text[:3] for text in texts(fill("keep-latest", words, lambda word: word))]
    assert left == words[-len(left) :]
    assert 8 <= len(left) <= 10


def test_of_several_messages_in_one_chunk_the_newest_is_kept_alone() -> None:
    buffer = new_buffer()
    put(buffer, channel("one two three"))
    buffer.put(PING)
    put(buffer, channel(f"goal {'x' * 120}", SPORT))
    assert buffer.drop(134, "keep-latest", PLAIN) == 3
    assert buffer.size == len(b"??three") + len(PING) + len(b"??") + 120
    assert list(read(drain(buffer))) == [(1, b"three"), (9, b""), (1, b"x" * 120)]


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_what_is_kept_is_compressed_like_everything_for_that_socket(bits: int) -> None:
    buffer = new_buffer()
    old, new = "old" * 200, "new" * 200
    for encoded in (channel(f"{old} {old}"), channel(f"{old} {new}")):
        put(buffer, encoded, bits)
    kept = encode_message(new.encode(), False, bits)
    assert buffer.drop(len(kept) + 2, "keep-latest", FRAME_ENCODINGS[bits]) == 3
    assert drain(buffer) == kept


def test_what_is_kept_is_encoded_once_for_all_sockets() -> None:
    encoded = channel("one two")
    buffers = [new_buffer(), new_buffer()]
    for buffer in buffers:
        put(buffer, encoded)
        put(buffer, channel("three", SPORT))
        assert buffer.drop(14, "keep-latest", PLAIN) == 1
    assert buffers[0].next_chunks()[0] is buffers[1].next_chunks()[0]


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_a_frame_that_is_partly_sent_goes_out_to_its_end(overflow: str) -> None:
    buffer = new_buffer()
    put(buffer, channel("a" * 100))
    buffer.mark_sent(50)
    for letter in "bcdefghijklmnop":
        put(buffer, channel(letter * 100))
        buffer.drop(LIMIT, overflow, PLAIN)
    out = bytes(50) + drain(buffer)
    assert out[50:102] == b"a" * 52
    assert [payload[:1] for _, payload in read(out[102:])][-1:] == [b"p"]


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_what_belongs_to_no_channel_is_too_much_by_itself(overflow: str) -> None:
    buffer = new_buffer()
    answers = [encode_message(b"%d" % number * 50) for number in range(10, 40)]
    for answer in answers:
        buffer.put(answer)
    put(buffer, channel("news"))
    put(buffer, channel("newer"))
    assert buffer.drop(LIMIT, overflow, PLAIN) == 1
    assert buffer.is_over(LIMIT)
    assert drain(buffer) == b"".join(answers) + encode_message(b"newer")


# Whatever happens

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.integers(0, 200)),
        st.tuples(
            st.sampled_from([NEWS, SPORT, "ws:user:alice:"]),
            st.lists(st.integers(0, 300), min_size=1, max_size=4),
        ),
        st.tuples(st.just("sent"), st.integers(1, 500)),
    ),
    max_size=60,
)


@given(
    steps=STEPS,
    overflow=st.sampled_from(["close", "drop-oldest", "keep-latest"]),
    bits=st.sampled_from([0, 9, 15]),
    limit=st.integers(1, 1500),
)
def test_whatever_happens_whole_frames_go_out_in_order_and_none_but_channels_lose(
    steps: list[tuple[str, object]], overflow: str, bits: int, limit: int
) -> None:
    buffer = new_buffer()
    out = b""
    came: list[tuple[str, bytes]] = []
    dropped = 0
    for what, value in steps:
        if what == "sent":
            some = b"".join(buffer.next_chunks())[:value]  # type: ignore[misc]
            buffer.mark_sent(len(some))
            out += some
        elif what == "answer":
            payload = b"%d:" % len(came) + b"x" * value  # type: ignore[operator]
            came.append((what, payload))
            buffer.put(encode_message(payload, False, bits))
        else:
            messages = []
            for size in value:  # type: ignore[attr-defined]
                payload = b"%d:" % len(came) + b"y" * size
                came.append((what, payload))
                messages.append(Message(what, payload))
            put(buffer, Encoded(messages), bits)
        dropped += buffer.drop(limit, overflow, FRAME_ENCODINGS[bits])
        assert buffer.size == sum(map(len, buffer.next_chunks()))
    out += drain(buffer, 7)
    left = [payload for _, payload in read(out)]
    order = [payload for _, payload in came if payload in set(left)]
    assert left == order
    assert dropped == len(came) - len(left)
    assert {payload for what, payload in came if what == "answer"} <= set(left)
    if overflow == "close":
        assert not dropped
    if came:
        assert left[-1] == came[-1][1]


@given(
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 60)), min_size=1),
    taken=st.integers(0, 40),
)
def test_keep_latest_ends_with_the_newest_of_each_channel_that_fits(
    steps: list[tuple[str, int]], taken: int
) -> None:
    buffer = new_buffer()
    newest: dict[str, bytes] = {}
    out = b""
    for number, (name, size) in enumerate(steps):
        newest[name] = b"%d:" % number + name.encode() * size
        put(buffer, Encoded([Message(name, newest[name])]))
        buffer.drop(300, "keep-latest", PLAIN)  # more than four times the largest
        some = b"".join(buffer.next_chunks())[:taken]
        buffer.mark_sent(len(some))
        out += some
    last = {payload[-1:].decode(): payload for _, payload in read(out + drain(buffer))}
    assert last == newest
