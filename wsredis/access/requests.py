"""Parsing the query string of a handshake into a `ChannelRequest`.

`wsredis.access.policy` decides which of the requested channels are granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ..deprecated import CHANNEL_REQUEST_FIELDS, alias_attributes
from ..naming import Audience, encode_name

__all__ = ["REQUESTABLE", "ChannelRequest", "parse_channel_request"]

_AUDIENCES = ", ".join(Audience)

REQUESTABLE = {
    f"{direction}-{audience}": (direction, audience)
    for direction in ("subscribe", "publish")
    for audience in Audience
}
"""The keys that a query string may contain, with direction and audience."""

_DIRECTIONS = ("subscribe-", "publish-")


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """The channels that a client requests in its query string.

    Args:
        requested: keys such as ``subscribe-broadcast`` and ``publish-user``, in the order of the
            query string.
        echo: whether the websocket also receives the messages it publishes.
        heartbeat: whether the client asks for heartbeats.
    """

    requested: tuple[str, ...]
    echo: bool = False
    heartbeat: bool = False


alias_attributes(ChannelRequest, CHANNEL_REQUEST_FIELDS)


def parse_channel_request(query: str) -> ChannelRequest:
    """Return the channels that a query string requests; values and other keys are ignored.

    Raises:
        ValueError: a key begins with ``subscribe-`` or ``publish-`` but is unknown; the text says
            what to write.
    """
    return _read_keys(tuple([item.partition("=")[0] for item in query.split("&")]))


@lru_cache(maxsize=256)
def _read_keys(keys: tuple[str, ...]) -> ChannelRequest:
    """Read the keys only: a value may be a ticket, which must not be cached."""
    requested: dict[str, None] = {}
    echo = heartbeat = False
    for each in keys:
        key = unquote_to_bytes(each).decode("utf-8", "replace").strip().lower()
        if key == "echo":
            echo = True
        elif key == "heartbeat":
            heartbeat = True
        elif key.startswith(_DIRECTIONS):
            if key not in REQUESTABLE:
                raise ValueError(
                    f"Unknown query key {encode_name(key)[:64]!r}:"
                    f" write subscribe- or publish- followed by one of {_AUDIENCES}."
                )
            requested[key] = None
    return ChannelRequest(tuple(requested), echo, heartbeat)
