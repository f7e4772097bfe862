"""The outbox: whatever is put in, sent and dropped, whole frames go out, in order."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from wsredis.frames import PING, encode_message
from wsredis.listeners import Frames
from wsredis.message import Message
from wsredis.outbox import PIECES_AT_ONCE, Outbox

ROOM = 1000
NEWS, SPORT = "ws:broadcast:news", "ws:broadcast:sport"


def channel(text: str, name: str = NEWS) -> Frames:
    return Frames([Message(name, part.encode()) for part in text.split()])


def put(outbox: Outbox, frames: Frames, bits: int = 0) -> None:
    outbox.put(frames[bits], frames)


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


def drain(outbox: Outbox, at_once: int = 10**9) -> bytes:
    """Take everything, as a socket does that has room for so many bytes at a time."""
    taken = b""
    while outbox:
        some = b"".join(outbox.next())[:at_once]
        outbox.sent(len(some))
        taken += some
    assert outbox.size == 0
    assert not outbox.next()
    return taken


def texts(outbox: Outbox) -> list[str]:
    return [payload.decode() for opcode, payload in read(drain(outbox)) if opcode == Opcode.TEXT]


# In and out


def test_a_new_one_is_empty() -> None:
    outbox = Outbox()
    assert not outbox
    assert outbox.size == 0
    assert outbox.next() == []


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 7, 1000])
def test_bytes_go_out_as_they_came_however_many_the_socket_takes(at_once: int) -> None:
    outbox = Outbox()
    pieces = [b"a", b"bcd", b"efghi", b"j"]
    for piece in pieces:
        outbox.put(piece)
    assert outbox.size == 10
    assert drain(outbox, at_once) == b"abcdefghij"


def test_only_so_many_pieces_are_written_at_once_and_none_is_left_behind() -> None:
    outbox = Outbox()
    pieces = [b"%04d" % number for number in range(3 * PIECES_AT_ONCE)]
    for piece in pieces:
        outbox.put(piece)
    assert outbox.next() == pieces[:PIECES_AT_ONCE]
    outbox.sent(6)
    assert outbox.next() == [b"01", *pieces[2 : PIECES_AT_ONCE + 2]]
    assert drain(outbox) == b"".join(pieces)[6:]


def test_the_rest_of_a_large_piece_is_not_copied() -> None:
    piece = bytes(2**20)
    outbox = Outbox()
    outbox.put(piece)
    outbox.sent(1)
    (rest,) = outbox.next()
    assert isinstance(rest, memoryview)
    assert rest.obj is piece


def test_kept_messages_go_before_what_waits() -> None:
    outbox = Outbox()
    put(outbox, channel("live"))
    outbox.put_first([channel("one"), channel("two", SPORT)], 0)
    assert outbox.size == len(b"".join(outbox.next()))
    assert texts(outbox) == ["one", "two", "live"]


def test_given_up_it_keeps_only_what_the_socket_is_in_the_middle_of() -> None:
    outbox = Outbox()
    for word in ("first", "second", "third"):
        put(outbox, channel(word))
    outbox.sent(9)  # the first, and two bytes of the second
    outbox.give_up()
    assert outbox.size == len(b"cond") + 2
    assert drain(outbox) == encode_message(b"second")[2:]


def test_given_up_between_two_frames_nothing_is_left() -> None:
    outbox = Outbox()
    put(outbox, channel("first"))
    put(outbox, channel("second"))
    outbox.sent(7)
    outbox.give_up()
    assert not outbox
    assert drain(outbox) == b""


# Too much


def test_more_than_there_is_room_for_is_too_much() -> None:
    outbox = Outbox()
    outbox.put(bytes(ROOM - 1))
    outbox.put(b"x")
    assert not outbox.is_over(ROOM)
    outbox.put(b"y")
    assert outbox.is_over(ROOM)


def test_a_single_piece_may_be_larger() -> None:
    outbox = Outbox()
    outbox.put(bytes(10 * ROOM))
    assert not outbox.is_over(ROOM)


def test_what_is_partly_sent_takes_no_room() -> None:
    outbox = Outbox()
    outbox.put(bytes(10 * ROOM))
    outbox.sent(1)
    outbox.put(PING)
    outbox.put(bytes(ROOM - len(PING)))
    assert not outbox.is_over(ROOM)
    outbox.put(b"z")
    assert outbox.is_over(ROOM)


def test_to_close_drops_nothing() -> None:
    outbox = Outbox()
    for _ in range(3):
        put(outbox, channel("x" * ROOM))
    assert outbox.make_room(ROOM, "close", 0) == 0
    assert outbox.is_over(ROOM)


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_nothing_is_dropped_while_there_is_room(overflow: str) -> None:
    outbox = Outbox()
    for word in ("one", "two", "three"):
        put(outbox, channel(word))
        assert outbox.make_room(ROOM, overflow, 0) == 0
    assert texts(outbox) == ["one", "two", "three"]


def fill(
    overflow: str, words: list[str], where: Callable[[str], str] = lambda word: NEWS
) -> Outbox:
    """Put messages of 100 bytes as a connection does, whose reader is stuck."""
    outbox = Outbox()
    for word in words:
        put(outbox, channel(f"{word:.<98}", where(word)))
        outbox.make_room(ROOM, overflow, 0)
        assert not outbox.is_over(ROOM)
    return outbox


def test_the_oldest_give_way_and_the_newest_stay() -> None:
    outbox = fill("drop-oldest", [f"{number:03}" for number in range(100)])
    left = [int(text[:3]) for text in texts(outbox)]
    assert left == list(range(100 - len(left), 100))
    assert 8 <= len(left) <= 10


def test_some_more_give_way_than_must_so_that_not_every_message_has_to_search() -> None:
    outbox = fill("drop-oldest", [f"{number:03}" for number in range(11)])
    assert outbox.size <= ROOM - ROOM // 8


def test_of_each_channel_the_newest_stays_however_long_ago_it_came() -> None:
    words = ["news1", "sport1", *[f"news{number}" for number in range(2, 60)]]
    outbox = fill("keep-latest", words, lambda word: NEWS if "news" in word else SPORT)
    left = [text.strip(".") for text in texts(outbox)]
    assert left[0] == "sport1"
    assert left[-1] == "news59"
    assert len(left) <= 10


def test_where_the_newest_of_all_channels_are_too_much_the_oldest_give_way() -> None:
    words = [f"{number:03}" for number in range(50)]
    left = [text[:3] for text in texts(fill("keep-latest", words, lambda word: word))]
    assert left == words[-len(left) :]
    assert 8 <= len(left) <= 10


def test_of_several_messages_in_one_piece_the_newest_is_kept_alone() -> None:
    outbox = Outbox()
    put(outbox, channel("one two three"))
    outbox.put(PING)
    put(outbox, channel(f"goal {'x' * 120}", SPORT))
    assert outbox.make_room(134, "keep-latest", 0) == 3
    assert outbox.size == len(b"??three") + len(PING) + len(b"??") + 120
    assert list(read(drain(outbox))) == [(1, b"three"), (9, b""), (1, b"x" * 120)]


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_what_is_kept_is_compressed_like_everything_for_that_socket(bits: int) -> None:
    outbox = Outbox()
    old, new = "old" * 200, "new" * 200
    for frames in (channel(f"{old} {old}"), channel(f"{old} {new}")):
        put(outbox, frames, bits)
    kept = encode_message(new.encode(), False, bits)
    assert outbox.make_room(len(kept) + 2, "keep-latest", bits) == 3
    assert drain(outbox) == kept


def test_what_is_kept_is_encoded_once_for_all_sockets() -> None:
    frames = channel("one two")
    boxes = [Outbox(), Outbox()]
    for outbox in boxes:
        put(outbox, frames)
        put(outbox, channel("three", SPORT))
        assert outbox.make_room(14, "keep-latest", 0) == 1
    assert boxes[0].next()[0] is boxes[1].next()[0]


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_a_frame_that_is_partly_sent_goes_out_to_its_end(overflow: str) -> None:
    outbox = Outbox()
    put(outbox, channel("a" * 100))
    outbox.sent(50)
    for letter in "bcdefghijklmnop":
        put(outbox, channel(letter * 100))
        outbox.make_room(ROOM, overflow, 0)
    out = bytes(50) + drain(outbox)
    assert out[50:102] == b"a" * 52
    assert [payload[:1] for _, payload in read(out[102:])][-1:] == [b"p"]


@pytest.mark.parametrize("overflow", ["drop-oldest", "keep-latest"])
def test_what_belongs_to_no_channel_is_too_much_by_itself(overflow: str) -> None:
    outbox = Outbox()
    answers = [encode_message(b"%d" % number * 50) for number in range(10, 40)]
    for answer in answers:
        outbox.put(answer)
    put(outbox, channel("news"))
    put(outbox, channel("newer"))
    assert outbox.make_room(ROOM, overflow, 0) == 1
    assert outbox.is_over(ROOM)
    assert drain(outbox) == b"".join(answers) + encode_message(b"newer")


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
    room=st.integers(1, 1500),
)
def test_whatever_happens_whole_frames_go_out_in_order_and_none_but_channels_lose(
    steps: list[tuple[str, object]], overflow: str, bits: int, room: int
) -> None:
    outbox = Outbox()
    out = b""
    came: list[tuple[str, bytes]] = []
    dropped = 0
    for what, value in steps:
        if what == "sent":
            some = b"".join(outbox.next())[:value]  # type: ignore[misc]
            outbox.sent(len(some))
            out += some
        elif what == "answer":
            payload = b"%d:" % len(came) + b"x" * value  # type: ignore[operator]
            came.append((what, payload))
            outbox.put(encode_message(payload, False, bits))
        else:
            messages = []
            for size in value:  # type: ignore[attr-defined]
                payload = b"%d:" % len(came) + b"y" * size
                came.append((what, payload))
                messages.append(Message(what, payload))
            put(outbox, Frames(messages), bits)
        dropped += outbox.make_room(room, overflow, bits)
        assert outbox.size == sum(map(len, outbox.next()))
    out += drain(outbox, 7)
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
def test_keep_latest_ends_with_the_newest_of_each_channel_that_has_room(
    steps: list[tuple[str, int]], taken: int
) -> None:
    outbox = Outbox()
    newest: dict[str, bytes] = {}
    out = b""
    for number, (name, size) in enumerate(steps):
        newest[name] = b"%d:" % number + name.encode() * size
        put(outbox, Frames([Message(name, newest[name])]))
        outbox.make_room(300, "keep-latest", 0)  # more than four times the largest
        some = b"".join(outbox.next())[:taken]
        outbox.sent(len(some))
        out += some
    last = {payload[-1:].decode(): payload for _, payload in read(out + drain(outbox))}
    assert last == newest
