"""The names of ws4redis: the facility in a path, and the channels in Redis.

A channel is ``[prefix:]broadcast:FACILITY`` or ``[prefix:]AUDIENCE:NAME:FACILITY``. Names and
facilities are written as django-websocket-redis writes them, so processes with either library can
share a Redis. Only these are percent-encoded: ``:`` and ``%``, with which different names could
result in the same channel, and control characters, which would break a log line.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from wsredis.naming import RESERVED_PREFIXES

from . import settings

__all__ = [
    "channel",
    "encode_name",
    "facility_of",
    "is_websocket",
    "prefix",
    "reserved_prefix",
    "websocket_url",
]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f:%\u2028\u2029\ud800-\udfff]")


def encode_name(name: str) -> str:
    """Percent-encode the characters that a channel must not contain (RFC 3986 section 2.1)."""
    return _UNSAFE.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)


def prefix() -> str:
    """Return the prefix of all channels: ``WS4REDIS_PREFIX`` and a colon, or an empty string."""
    return f"{settings.WS4REDIS_PREFIX}:" if settings.WS4REDIS_PREFIX else ""


def reserved_prefix() -> str | None:
    """Return a sentence if ``WS4REDIS_PREFIX`` is a word with which other names begin, or None."""
    if prefix().partition(":")[0] not in RESERVED_PREFIXES:
        return None
    return (
        f"WS4REDIS_PREFIX = {settings.WS4REDIS_PREFIX!r} makes channels of this site equal to"
        " channels of a site without a prefix on the same Redis server."
    )


def channel(before: str, audience: str, facility: str, name: str | None = None) -> str:
    """Return a channel; ``before`` is the prefix with its colon."""
    names = [audience, facility] if name is None else [audience, name, facility]
    return before + ":".join(map(encode_name, names))


def websocket_url() -> str:
    """Return ``WEBSOCKET_URL`` with a slash at both ends."""
    inner = (settings.WEBSOCKET_URL or "").strip("/")
    return f"/{inner}/" if inner else "/"


def is_websocket(path: str) -> bool:
    """Return whether a path is below ``WEBSOCKET_URL``, compared by whole segments."""
    said = settings.WEBSOCKET_URL
    if not said:
        return False
    url = websocket_url()
    return path.startswith(url) or (not said.endswith("/") and path == url[:-1])


def facility_of(path: str) -> str | None:
    """Return the facility in a path; None if the path begins like ``WEBSOCKET_URL`` but differs.

    A path without that prefix is taken as it is, because a proxy may have removed the prefix.
    """
    url = websocket_url()
    if path.startswith(url):
        return path[len(url) :]
    if path.startswith(url[:-1]):
        return "" if path == url[:-1] else None
    return path
