"""The `RedisPublisher` for views and background jobs."""

from __future__ import annotations

from typing import Any

from wsredis.runtime.blocking import blocking

from . import names
from .connection import client
from .identity import memberof, session_key, username
from .redis_store import SELF, RedisMessage, RedisStore

__all__ = ["SELF", "RedisMessage", "RedisPublisher"]

AUDIENCES = ("session", "user", "group", "broadcast")
"""The audiences whose channels are searched for a retained message, in this order."""


class RedisPublisher(RedisStore):
    """A publisher of messages about a facility to some audiences; it also fetches retained ones.

    Args:
        **kwargs: ``request``, ``facility``, ``broadcast``, ``groups``, ``users``, ``sessions``; see
            `_get_message_channels`.

    Raises:
        TypeError: an argument has the wrong type, or there is an audience but no facility.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(client())
        self._publishers.update(self._get_message_channels(**kwargs))
        if self._publishers and "facility" not in kwargs:
            raise TypeError("RedisPublisher needs a facility: write RedisPublisher(facility=...)")

    def fetch_message(self, request: Any, facility: str, audience: str = "any") -> bytes | None:
        """Return the retained message of the narrowest channel of a request that has one, or None.

        Args:
            request: the request whose session, user and groups are used; may lack them, or be
                None.
            facility: the topic of the message.
            audience: ``session``, ``user``, ``group``, ``broadcast``; ``any`` tries all four in
                that order.

        Raises:
            ValueError: there is no such audience.
        """
        if audience not in (*AUDIENCES, "any"):
            raise ValueError(f"audience must be any, {', '.join(AUDIENCES)}, not {audience!r}")
        before = self.get_prefix()
        who: dict[str, list[Any]] = {
            "session": [session_key(request)],
            "user": [username(request)],
            "group": list(memberof(request)),
        }
        channels = [
            names.channel(before, kind, facility, name)
            for kind in AUDIENCES[:3]
            if audience in (kind, "any")
            for name in who[kind]
            if name
        ]
        if audience in ("broadcast", "any"):
            channels.append(names.channel(before, "broadcast", facility))
        values = blocking(self._connection.mget, channels) if channels else []
        return next((message for message in values if message), None)


def __getattr__(name: str) -> Any:
    if name == "redis_connection_pool":
        return client().connection_pool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
