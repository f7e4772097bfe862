"""A ticket is valid unchanged and once; no similar text is valid."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

from wsredis.config import Config
from wsredis.exceptions import PermissionDenied
from wsredis.identity import Identity
from wsredis.tickets import TicketResolver, _Stamp, issue_ticket

SECRET = "a secret of the tests that has more than 32 bytes"

HERE = Config(redis="memory://fuzz", secret=SECRET)
OTHERS = (
    Config(redis="memory://fuzz", secret=SECRET[::-1]),
    Config(redis="memory://fuzz", secret=SECRET, key_prefix="other"),
)

RESOLVER = TicketResolver(config=HERE)
ELSEWHERE = [TicketResolver(config=config) for config in OTHERS]
STAMP = _Stamp(HERE)


def check(data: bytes) -> None:
    """Hold that only the ticket itself is accepted, once, and stands for whom it was issued.

    A ticket that was changed, or cut, or made longer, one of another site, one whose content was
    changed in Redis, and the bytes as they are: all are refused with `PermissionDenied`, which does
    not show them and leaves the ticket as good as it was.

    Pairs of bytes say what is changed: where, and which bits are turned over.
    """
    who = Identity(data.decode("utf-8", "replace") or None, ("editors",), "key-1")
    ticket = issue_ticket(who, seconds=300, config=HERE).encode()
    check_refused(RESOLVER, data)
    for other in changed(ticket, data):
        check_refused(RESOLVER, other)
    for elsewhere in ELSEWHERE:
        check_refused(elsewhere, ticket)
    assert show(RESOLVER, ticket) == who
    check_refused(RESOLVER, ticket)
    check_content(who, data)


def check_content(who: Identity, data: bytes) -> None:
    """Change what is stored for a ticket, as somebody might who may write into Redis."""
    ticket = issue_ticket(who, seconds=300, config=HERE).encode()
    key = STAMP.key(urlsafe_b64decode(ticket)[:20])
    stored = STAMP.store.take(key)
    assert stored is not None
    for other in changed(stored, data):
        STAMP.store.put(key, other, 300)
        check_refused(RESOLVER, ticket)


def check_refused(resolver: TicketResolver, ticket: bytes) -> None:
    """Show something that does not hold."""
    try:
        who = show(resolver, ticket)
    except PermissionDenied as refused:
        text = refused.text
        assert len(ticket) < 8 or ticket.decode("latin-1") not in text
    else:
        raise AssertionError(f"{ticket!r} was accepted for {who}")


def show(resolver: TicketResolver, ticket: bytes) -> Identity:
    """Show a ticket in a query string."""
    query = f"ticket={quote_from_bytes(ticket)}"
    return resolver(SimpleNamespace(environ={"QUERY_STRING": query}))


def changed(good: bytes, data: bytes) -> Iterator[bytes]:
    """Return what is similar."""
    other = bytearray(good)
    for at, bits in zip(data[::2], data[1::2], strict=False):
        other[at % len(other)] ^= bits
        if other != good:
            yield bytes(other)
    yield good + (data or b"=")
    yield good[: len(data) % len(good)]


INPUTS = st.binary(max_size=12) | st.from_regex(rb"[\w-]{46,50}", fullmatch=True)
