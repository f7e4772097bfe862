"""Channel names: how audience, name and facility are written in Redis.

Pure functions on strings. `wsredis.access` decides which channels a client may have.

A channel name is both the name of the Redis channel and the key of its retained message::

    [prefix:]broadcast:FACILITY         [prefix:]user:NAME:FACILITY
    [prefix:]group:NAME:FACILITY        [prefix:]session:KEY:FACILITY

In NAME and FACILITY some characters are percent-encoded (RFC 3986 section 2.1, as UTF-8 bytes):
``:`` and ``%``, so that no two identities share a channel, and glob characters, white space and
control characters, so that a name can be typed and logged.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

__all__ = [
    "RESERVED_PREFIXES",
    "Audience",
    "channel_name",
    "encode_name",
    "loggable",
    "plain_str",
    "printable",
]


class Audience(StrEnum):
    """The four kinds of channel."""

    BROADCAST = "broadcast"
    USER = "user"
    GROUP = "group"
    SESSION = "session"


RESERVED_PREFIXES = frozenset((*Audience, "ticket", "wsredis"))
"""The first parts of names without a prefix. As a prefix, such a word would make names of one site
equal to names of a site without a prefix."""


_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\s:%*?\[\]\\\u2028\u2029\ud800-\udfff]")


def _encode_char(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def encode_name(name: str) -> str:
    """Percent-encode the characters that a channel name must not contain."""
    return _UNSAFE.sub(_encode_char, name)


@lru_cache(maxsize=256)
def _around(prefix: str, audience: Audience, facility: str) -> tuple[str, str]:
    """Return what precedes and follows a name. The name is not cached: a session key is secret."""
    head = f"{prefix}:{audience.value}:" if prefix else f"{audience.value}:"
    return head, encode_name(facility)


def channel_name(prefix: str, audience: Audience, facility: str, name: str = "") -> str:
    """Return the channel of an audience for a facility.

    Args:
        prefix: the site's key prefix without a colon; "" for none.
        audience: one of the four.
        facility: the topic of the channel; may be empty and may contain ``/``.
        name: user, group or session key; none for a broadcast.

    Raises:
        ValueError: a name is missing, or given for a broadcast.
    """
    if (audience is Audience.BROADCAST) == bool(name):
        if name:
            raise ValueError(f"a broadcast channel has no name: leave out {name!r}")
        raise ValueError(f"a {audience} channel needs the name of its {audience}")
    head, tail = _around(prefix, audience, facility)
    return f"{head}{encode_name(name)}:{tail}" if name else head + tail


def plain_str(text: str) -> str:
    """Return the string behind a proxy, which claims to be a str but has another type."""
    return text if issubclass(type(text), str) else str(text)


_SESSION = re.compile(rf"(?:^|(?<=:)){Audience.SESSION}:[^:]*:(?=[^:]*$)")


_TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of text (Unicode Standard Annex 9, section 2)."""


def loggable(name: str) -> str:
    """Return an encoded name, or a channel, in a form that is safe to log.

    Session keys are masked, as a key may be all that a session cookie contains. Characters that
    change the direction of text are encoded, as they could change how a log line reads.
    """
    return _TURNING.sub(_encode_char, _SESSION.sub(f"{Audience.SESSION}:***:", name))


_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def printable(text: str, most: int = 100) -> str:
    """Return text from a client in a form that a message may quote.

    Args:
        text: a header value or a name.
        most: characters of the result; longer text is shortened and ends in ``...``.
    """
    encoded = _UNPRINTABLE.sub(_encode_char, text[: most + 1])
    return encoded if len(encoded) <= most else encoded[: most - 3] + "..."
