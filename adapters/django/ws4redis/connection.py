"""The clients of redis-py behind publishers and subscribers.

Nothing connects before it is needed. All publishers of a process share one client, which is safe
across threads, greenlets and forks. A subscriber of a websocket subscribes to nothing itself: what
it would listen to is written down, and the one connection of the process listens for it.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import settings

__all__ = ["Recorder", "Recording", "client", "redis_options"]

_clients: dict[str, redis.Redis] = {}


def redis_options() -> dict[str, Any]:
    """Return ``WS4REDIS_CONNECTION`` as arguments of redis-py that this mode can use.

    Payloads are bytes here, whatever the setting says of decoding.
    """
    return {**settings.WS4REDIS_CONNECTION, "decode_responses": False}


def client() -> redis.Redis:
    """Return the client for what the setting says now."""
    options = redis_options()
    key = repr(sorted(options.items(), key=lambda item: item[0]))
    if key not in _clients:
        # What may have been published is not sent twice.
        defaults: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
        defaults["max_connections"] = 2**31  # as many as publish at once
        _clients[key] = redis.Redis(**{**defaults, **options})
    return _clients[key]


class Recorder:
    """A subscription that only writes down the names of channels.

    Attributes:
        channels: the names, as the keys of a dict, in the order of their coming.
    """

    connection = None
    """There is none: the process has one for all websockets."""

    def __init__(self) -> None:
        self.channels: dict[str, None] = {}

    @property
    def subscribed(self) -> bool:
        """Return whether there is any channel."""
        return bool(self.channels)

    def subscribe(self, *channels: Any, **handlers: Any) -> None:
        """Add channels; like redis-py it takes names and lists of names."""
        if handlers:
            raise TypeError("a websocket's subscription calls no handlers: override the server")
        self.channels.update(dict.fromkeys(_flat(channels)))

    def unsubscribe(self, *channels: Any) -> None:
        """Remove channels, or all of them."""
        for name in _flat(channels) or list(self.channels):
            self.channels.pop(name, None)

    def psubscribe(self, *patterns: Any, **handlers: Any) -> None:
        """Refuse patterns: a websocket listens to channels it names."""
        raise TypeError("a websocket subscribes to channels by name, not by pattern")

    def parse_response(self, *args: Any, **kwargs: Any) -> None:
        """Return nothing: messages go to the websocket without a detour."""

    def reset(self) -> None:
        """Forget all channels."""
        self.channels.clear()

    close = reset


class Recording:
    """A client of redis-py whose subscriptions are written down.

    Args:
        connection: does everything else.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def pubsub(self, **options: Any) -> Recorder:
        """Return a subscription."""
        return Recorder()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _flat(channels: Any) -> list[str]:
    names: list[str] = []
    for channel in channels:
        if isinstance(channel, (list, tuple, set, frozenset)):
            names += _flat(channel)
        else:
            names.append(channel.decode() if isinstance(channel, bytes) else str(channel))
    return names
