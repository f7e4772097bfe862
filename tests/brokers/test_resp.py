from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.brokers.redis import resp
from wsredis.brokers.redis.resp import MAX_LINE, MAX_REPLY, Parser, Push, ReplyError, pack

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))
ANSWERS = st.recursive(
    st.none()
    | st.integers()
    | st.binary()
    | LINE.map(str.encode).map(lambda line: ("simple", line))
    | LINE.map(ReplyError),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
REPLIES = ANSWERS | st.lists(ANSWERS, max_size=4).map(Push)


def on_the_wire(reply: Any) -> bytes:
    """Return a reply as Redis writes it; ("simple", line) stands for a simple string."""
    if reply is None:
        return b"_\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, tuple):
        return b"+%b\r\n" % reply[1]
    if isinstance(reply, ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    kind = b">" if isinstance(reply, Push) else b"*"
    return b"%b%d\r\n%b" % (kind, len(reply), b"".join(map(on_the_wire, reply)))


def plain(reply: Any) -> Any:
    """Return a reply in a form that can be compared: kinds stay apart."""
    if isinstance(reply, tuple):
        return reply[1]
    if isinstance(reply, ReplyError):
        return ("error", str(reply))
    if isinstance(reply, list):
        return (type(reply), [plain(each) for each in reply])
    return reply


@given(st.lists(REPLIES, max_size=5), st.data())
def test_replies_come_out_whole_whatever_pieces_they_come_in(
    replies: list[Any], data: st.DataObject
) -> None:
    wire = b"".join(map(on_the_wire, replies))
    expected = [plain(reply) for reply in replies]
    assert [plain(reply) for reply in Parser().feed(wire)] == expected
    slow = Parser()
    assert [plain(r) for byte in wire for r in slow.feed(bytes([byte]))] == expected
    cut = data.draw(st.integers(0, len(wire)))
    halves = Parser()
    got = halves.feed(memoryview(wire)[:cut]) + halves.feed(memoryview(wire)[cut:])
    assert [plain(reply) for reply in got] == expected


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"$0\r\n\r\n", b""),
        (b"*0\r\n", []),
        (b":-5\r\n", -5),
        (b"+PONG\r\n", b"PONG"),
        (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    ],
)
def test_a_reply_is_what_it_says(wire: bytes, reply: Any) -> None:
    assert Parser().feed(wire) == [reply]


def test_a_push_is_no_array() -> None:
    (push,) = Parser().feed(b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n")
    assert isinstance(push, Push)
    assert push == [b"message", b"news", b"hi"]
    (array,) = Parser().feed(b"*1\r\n:1\r\n")
    assert not isinstance(array, Push)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_push_in_the_middle_of_an_array_comes_before_it(step: int) -> None:
    one, two = Push([b"message", b"news", b"1"]), Push([b"message", b"news", b"2"])
    inner = b"*2\r\n" + on_the_wire(two) + b"+a\r\n:5\r\n"
    wire = b":0\r\n*3\r\n+OK\r\n" + on_the_wire(one) + b":1\r\n" + inner + b":9\r\n"
    parser = Parser()
    got = [r for at in range(0, len(wire), step) for r in parser.feed(wire[at : at + step])]
    assert got == [0, one, two, [b"OK", 1, [b"a", 5]], 9]
    assert [isinstance(reply, Push) for reply in got] == [False, True, True, False, False]


def test_an_error_is_a_reply_and_not_raised() -> None:
    (error,) = Parser().feed(b"-NOPERM no \xff\r\n")
    assert isinstance(error, ReplyError)
    assert str(error).startswith("NOPERM no ")


def test_a_large_reply_in_many_pieces_stays_together() -> None:
    payload = bytes(range(256)) * 4096
    wire = memoryview(on_the_wire(Push([b"message", b"news", payload])))
    parser = Parser()
    got = [r for at in range(0, len(wire), 4099) for r in parser.feed(wire[at : at + 4099])]
    assert got == [[b"message", b"news", payload]]


def test_each_element_of_a_large_array_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    bulk = Parser._bulk

    def counting(parser: Parser, at: int) -> bytes | None:
        found = bulk(parser, at)
        read.append(at)
        return found

    monkeypatch.setattr(Parser, "_bulk", counting)
    reply = [bytes([65 + number % 26]) * 1000 for number in range(500)]
    wire = on_the_wire([reply, reply])
    parser = Parser()
    got = [r for at in range(0, len(wire), 700) for r in parser.feed(wire[at : at + 700])]
    assert got == [[reply, reply]]
    assert len(read) == 1000


def test_pushes_between_the_pieces_of_an_array_are_not_lost() -> None:
    one, two = Push([b"message", b"news", b"1"]), Push([b"message", b"news", b"2"])
    parser = Parser()
    assert parser.feed(b"*2\r\n" + on_the_wire(one)) == []
    assert parser.feed(on_the_wire(two) + b":1\r\n") == []
    assert parser.feed(b":2\r\n") == [one, two, [1, 2]]


@pytest.mark.parametrize(
    "wires",
    [
        [b"$%d\r\n" % (MAX_REPLY + 1)],
        [b"*2\r\n$%d\r\n" % (MAX_REPLY + 1)],
        [b"+" + b"x" * MAX_LINE],
        [b"$" + b"1" * MAX_LINE],
        [b"-" + b"x" * (MAX_LINE // 2), b"x" * (MAX_LINE // 2)],
    ],
)
def test_a_reply_of_any_size_is_not_stored(wires: list[bytes]) -> None:
    parser = Parser()
    for wire in wires[:-1]:
        assert parser.feed(wire) == []
    with pytest.raises(ValueError, match=r"bytes|without an end"):
        parser.feed(wires[-1])


def test_an_array_without_end_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp, "MAX_REPLY", 1000)
    parser = Parser()
    parser.feed(b"*1000000000\r\n")
    with pytest.raises(ValueError, match="a reply of more than 1000 bytes"):
        parser.feed(on_the_wire(b"x" * 90) * 11)
    for _ in range(3):  # the limit is for each reply
        assert len(Parser().feed(on_the_wire([b"x" * 90] * 9) * 3)) == 3


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$x\r\n",
        b":\r\n",
        b"*x\r\n",
        b"\r\n",
        b"$ -8\r\n",  # would lead back to where it stands
        b"$-2\r\n",
        b"*-2\r\n",
        b"*1\r\n" * 5000,
        b">1\r\n" * 5000,
    ],
)
def test_what_is_not_the_protocol_is_a_value_error(wire: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int's own words will do
        Parser().feed(wire)


@pytest.mark.parametrize("count", [b"_\r\n", b"$1\r\n1\r\n", b"*0\r\n"])
def test_a_confirmation_without_a_number_is_a_push_all_the_same(count: bytes) -> None:
    (reply,) = Parser().feed(count)
    (push,) = Parser().feed(b">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n" + count)
    assert isinstance(push, Push)
    assert push == [b"subscribe", b"news", reply]


@pytest.mark.parametrize("payload", [b":5\r\n", b"$-1\r\n", b"+OK\r\n", b"*0\r\n"])
def test_a_message_whose_payload_is_no_string_is_a_push_all_the_same(payload: bytes) -> None:
    (reply,) = Parser().feed(payload)
    wire = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n" + payload
    (push,) = Parser().feed(wire)
    assert isinstance(push, Push)
    assert push == [b"message", b"news", reply]


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(), min_size=1))
def test_a_command_is_an_array_of_bulk_strings(words: list[str | bytes | int]) -> None:
    expected = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    assert Parser().feed(pack(*words)) == [expected]
