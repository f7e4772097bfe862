"""For all data of Redis, whole or byte by byte, a `Parser` has the same results or errors."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from wsredis.brokers.redis.resp import Parser, Push, ReplyError, pack


class _Plain(Parser):
    """A parser that reads published messages like other replies."""

    def _message(self) -> Push | None:
        return None


def check(data: bytes) -> None:
    """Hold that bytes of Redis give the same replies in any pieces, with and without the short cut.

    Only ValueError comes out, and for every way of cutting or for none; what is held is at most
    what has come; a command that `pack` writes reads as its words.
    """
    whole, failed = feed(Parser(), data)
    plain, plain_failed = feed(_Plain(), data)
    slowly, slow_failed = feed(Parser(), *(bytes((byte,)) for byte in data))
    assert failed == slow_failed == plain_failed
    if not failed:
        assert shown(whole) == shown(slowly) == shown(plain)
    words = data.split(b" ")
    assert feed(Parser(), pack(*words)) == ([words], False)


def feed(parser: Parser, *pieces: bytes) -> tuple[list[Any], bool]:
    """Return the replies, and whether the parser gave up."""
    replies: list[Any] = []
    came = 0
    for piece in pieces:
        came += len(piece)
        try:
            replies += parser.feed(piece)
        except ValueError:
            return replies, True
        assert len(parser._held) <= came
    return replies, False


def shown(reply: Any) -> Any:
    """Return what can be compared: the kind of a reply and what it holds."""
    if isinstance(reply, list):
        return type(reply), [shown(item) for item in reply]
    return type(reply), str(reply) if isinstance(reply, ReplyError) else reply


def _aggregate(kind: bytes, items: list[bytes], size: int | None) -> bytes:
    return kind + b"%d\r\n" % (len(items) if size is None else size) + b"".join(items)


def _bulk(payload: bytes, size: int | None = None) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(payload) if size is None else size, payload)


_SIZES = st.none() | st.integers(-3, 5) | st.sampled_from([-9, 10**9])
_PAYLOADS = st.binary(max_size=12)
_LINES = st.builds(
    lambda kind, text: kind + text + b"\r\n",
    st.sampled_from([b"+", b"-", b":", b"_", b"$", b"*", b">", b"%", b"#"]),
    st.integers().map(lambda n: b"%d" % n) | st.sampled_from([b"OK", b"", b" -8", b"1_0"]),
)
_LEAVES = st.builds(_bulk, _PAYLOADS) | _LINES | st.builds(_bulk, _PAYLOADS, _SIZES)
_MESSAGES = st.builds(
    lambda channel, payload: _aggregate(b">", [_bulk(b"message"), channel, payload], None),
    _LEAVES,
    _LEAVES,
)
_REPLIES = st.recursive(
    _LEAVES | _MESSAGES,
    lambda inner: st.builds(
        _aggregate, st.sampled_from([b"*", b">"]), st.lists(inner, max_size=4), st.none() | _SIZES
    ),
    max_leaves=8,
)
INPUTS = st.lists(_REPLIES, max_size=5).map(b"".join) | st.binary(max_size=40)
