"""Channel names: what an audience, a name and a facility are called in Redis.

Pure functions over strings. Which channels a client may have is decided in `wsredis.access`.

A channel is at once the name of the Redis channel and of the key of its last value::

    [prefix:]broadcast:FACILITY         [prefix:]user:NAME:FACILITY
    [prefix:]group:NAME:FACILITY        [prefix:]session:KEY:FACILITY

NAME and FACILITY are percent-encoded (RFC 3986 section 2.1, their UTF-8 bytes) where they contain
``:`` or ``%``, so that no two identities meet in one channel, and where they contain glob
characters, white space or control characters, so that a name can be typed and logged.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

__all__ = [
    "Audience",
    "channel_name",
    "encode_name",
    "loggable",
]


class Audience(StrEnum):
    """The four kinds of channel."""

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
    """Return what stands before a name and behind it; no name is cached, a session's is secret."""
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


_SESSION = re.compile(rf"(?:^|(?<=:)){Audience.SESSION}:[^:]*:(?=[^:]*$)")


_TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What makes text run the other way (Unicode Standard Annex 9, section 2)."""


def loggable(name: str) -> str:
    """Return an encoded name, or a channel, as a log may show it.

    A session's key can be all that its cookie holds, and what makes text run the other way could
    make a line say something else.
    """
    return _TURNING.sub(_encode_char, _SESSION.sub(f"{Audience.SESSION}:***:", name))
