"""Each audience, name and facility has a separate channel, and a query results in no others."""

from __future__ import annotations

import re
from urllib.parse import unquote

from hypothesis import strategies as st

from wsredis.access.requests import ChannelRequest, parse_channel_request
from wsredis.identity import Identity
from wsredis.identity.channels import identity_channels
from wsredis.identity.revocation import control_channel
from wsredis.naming import Audience, channel_name

PREFIXES = ("ws", "")

KNOWN = {f"{way}-{audience}" for way in ("subscribe", "publish") for audience in Audience}

SEPARATOR = "\x1e"

UNSAFE = re.compile(r"[\s*?\[\]\\\x00-\x20\x7f]")
"""Globs would reach other channels, white space and control characters other lines."""


def check(data: bytes) -> None:
    """Hold that a channel leads back to its audience, name and facility: no two share one.

    It has a UTF-8 form, no glob, no white space, no control character, and is never the channel
    of revocations. A query requests known keys, or gives a ValueError with one printable line.

    The first byte says which audience; name, facility and query follow, 1E (hex) between them.
    """
    which, rest = int.from_bytes(data[:1]), data[1:]
    # Whoever names a user may use every character, lone surrogates too.
    texts = rest.decode("utf-8", "surrogateescape").split(SEPARATOR, 2)
    name, facility, query = (*texts, "", "")[:3]
    audience = list(Audience)[which % 4]
    if audience is Audience.BROADCAST:
        name = ""
    if name or audience is Audience.BROADCAST:
        for prefix in PREFIXES:
            check_channel(prefix, audience, name, facility)
    if name:
        check_nobody_elses(name, facility)
    check_query(query.encode("utf-8", "surrogateescape").decode("latin-1"))


def check_channel(prefix: str, audience: Audience, name: str, facility: str) -> None:
    """Name a channel and read it back."""
    channel = channel_name(prefix, audience, facility, name)
    parts = channel.split(":")
    assert [prefix] * bool(prefix) == parts[: len(parts) - 2 - bool(name)]
    if name:
        assert decoded(parts[-2]) == name
    assert parts[-2 - bool(name)] == audience
    assert decoded(parts[-1]) == facility
    assert not UNSAFE.search(channel)
    assert channel != control_channel(prefix)
    channel.encode()


def decoded(part: str) -> str:
    """Return the name that stands in a channel, percent-encoded."""
    return unquote(part, "utf-8", "surrogatepass")


def check_nobody_elses(name: str, facility: str) -> None:
    """Look for what somebody hears who is called so."""
    for who, audience in (
        (Identity(name), Audience.USER),
        (Identity(groups=(name,)), Audience.GROUP),
        (Identity(session=name), Audience.SESSION),
    ):
        for other in Audience:
            channels = identity_channels("ws", other, facility, who)
            if other is Audience.BROADCAST:
                assert channels == (channel_name("ws", other, facility),)
            else:
                own = (channel_name("ws", other, facility, name),)
                assert channels == (own if other is audience else ())


def check_query(query: str) -> None:
    """Read a query as servers hand it on, each byte a character (PEP 3333)."""
    try:
        found = parse_channel_request(query)
    except ValueError as exc:
        text = str(exc)
        assert text.isprintable(), "an answer has one line"
        return
    assert isinstance(found, ChannelRequest)
    assert set(found.requested) <= KNOWN
    assert len(set(found.requested)) == len(found.requested)
    again = "&".join([*found.requested, *["echo"] * found.echo])
    assert parse_channel_request(again) == found


_NAMES = st.text(max_size=12) | st.text("ab:%*?[]\\\r\n/. é\u2028\ud800", max_size=8)
_KEYS = st.sampled_from([*sorted(KNOWN), "echo", "subscribe-", "publish-all", "Echo", "%65cho"])
_QUERIES = st.lists(_KEYS | st.text("subcrie-%0aD=\r\n", max_size=9), max_size=5).map("&".join)
INPUTS = st.builds(
    lambda which, *texts: bytes((which,)) + SEPARATOR.join(texts).encode("utf-8", "surrogatepass"),
    st.integers(0, 3),
    _NAMES,
    _NAMES,
    _QUERIES | st.text(max_size=20),
)
