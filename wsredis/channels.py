"""The names on the wire: audience, name and facility <-> channel; query string -> wishes.

Pure functions over strings. Who may have a channel is not decided here but in `wsredis.access`.

A channel is at once the name of the Redis channel and of the key of its last value::

    [prefix:]broadcast:FACILITY         [prefix:]user:NAME:FACILITY
    [prefix:]group:NAME:FACILITY        [prefix:]session:KEY:FACILITY

NAME and FACILITY are percent-encoded (RFC 3986 section 2.1, their UTF-8 bytes) where they contain
``:`` or ``%``, so that no two identities meet in one channel, and where they contain glob
characters, white space or control characters, so that a name can be typed and logged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from .identity import Identity

__all__ = [
    "WISHES",
    "Audience",
    "Wishes",
    "channel_name",
    "encode_name",
    "identity_channels",
    "loggable",
    "parse_wishes",
]


class Audience(StrEnum):
    """Name the four kinds of channel."""

    BROADCAST = "broadcast"
    USER = "user"
    GROUP = "group"
    SESSION = "session"


_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\s:%*?\[\]\\\u2028\u2029\ud800-\udfff]")


def _encode_char(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def encode_name(name: str) -> str:
    """Percent-encode what must not stand in a channel; plain names stay as they are."""
    return _UNSAFE.sub(_encode_char, name)


@lru_cache(maxsize=256)
def _around(prefix: str, audience: Audience, facility: str) -> tuple[str, str]:
    """Return what stands before a name and behind it; no name is kept, a session's is secret."""
    head = f"{prefix}:{audience.value}:" if prefix else f"{audience.value}:"
    return head, encode_name(facility)


def channel_name(prefix: str, audience: Audience, facility: str, name: str = "") -> str:
    """Return the channel of an audience for a facility.

    Args:
        prefix: the site's key prefix without colon; "" for none.
        audience: one of the four.
        facility: what the channel is about; may be empty and may contain ``/``.
        name: user, group or session key; not for a broadcast.

    Raises:
        ValueError: a name is missing, or given for a broadcast.
    """
    if (audience is Audience.BROADCAST) == bool(name):
        raise ValueError(f"a {audience} channel takes {'no' if name else 'a'} name, not {name!r}")
    head, tail = _around(prefix, audience, facility)
    return f"{head}{encode_name(name)}:{tail}" if name else head + tail


def identity_channels(
    prefix: str, audience: Audience, facility: str, identity: Identity
) -> tuple[str, ...]:
    """Return the channels of an audience that belong to an identity; none for nobody."""
    if audience is Audience.BROADCAST:
        return (channel_name(prefix, audience, facility),)
    names: tuple[str | None, ...] = identity.groups
    if audience is not Audience.GROUP:
        names = (identity.user if audience is Audience.USER else identity.session,)
    return tuple(channel_name(prefix, audience, facility, name) for name in names if name)


_SESSION = re.compile(rf"(?:^|(?<=:)){Audience.SESSION}:[^:]*:(?=[^:]*$)")


_TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What makes text run the other way (Unicode Standard Annex 9, section 2)."""


def loggable(name: str) -> str:
    """Return an encoded name, or a channel, as a log may show it.

    A session's key can be all that its cookie holds, and what makes text run the other way could
    make a line say something else.
    """
    return _TURNING.sub(_encode_char, _SESSION.sub(f"{Audience.SESSION}:***:", name))


_AUDIENCES = ", ".join(Audience)
WISHES = {f"{way}-{each}": (way, each) for way in ("subscribe", "publish") for each in Audience}
"""What can be asked for: the direction and the audience of each key."""

_DIRECTIONS = ("subscribe-", "publish-")


@dataclass(frozen=True, slots=True)
class Wishes:
    """Hold what a browser asks for in its query string.

    Args:
        asked: keys such as ``subscribe-broadcast`` and ``publish-user``, in the order asked.
        echo: whether a socket wants its own messages back.
    """

    asked: tuple[str, ...]
    echo: bool = False


def parse_wishes(query: str) -> Wishes:
    """Read wishes from a query string; values, and keys of other people, are ignored.

    Raises:
        ValueError: a key begins like a wish but is none; the text says what to write.
    """
    return _read_wishes(tuple(item.partition("=")[0] for item in query.split("&")))


@lru_cache(maxsize=256)
def _read_wishes(keys: tuple[str, ...]) -> Wishes:
    """Do it for the keys alone: a value may be a ticket, which is not kept."""
    asked: dict[str, None] = {}
    echo = False
    for each in keys:
        key = unquote_to_bytes(each).decode("utf-8", "replace").strip().lower()
        if key == "echo":
            echo = True
        elif key.startswith(_DIRECTIONS):
            if key not in WISHES:
                raise ValueError(
                    f"Unknown query key {encode_name(key)[:64]!r}:"
                    f" write subscribe- or publish- followed by one of {_AUDIENCES}."
                )
            asked[key] = None
    return Wishes(tuple(asked), echo)
