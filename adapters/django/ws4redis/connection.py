"""The clients of redis-py behind publishers and subscribers.

Nothing connects before it is needed. All publishers of a process share one client, which is safe
across threads, greenlets and forks. The subscriber of a websocket does not subscribe itself: its
channels are recorded, and the connection that all websockets of the process share subscribes.
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
    """Return ``WS4REDIS_CONNECTION`` as arguments of redis-py.

    ``decode_responses`` is always False, because payloads are bytes here.
    """
    return {**settings.WS4REDIS_CONNECTION, "decode_responses": False}


def client() -> redis.Redis:
    """Return the client for the setting as it is now."""
    options = redis_options()
    key = repr(sorted(options.items(), key=lambda item: item[0]))
    if key not in _clients:
        # No retries: after an error, a message may have been published already.
        defaults: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
        defaults["max_connections"] = 2**31  # one for each publisher at the same time
        _clients[key] = redis.Redis(**{**defaults, **options})
    return _clients[key]


class Recorder:
    """A subscription that only records the names of channels.

    Attributes:
        channels: the names, as the keys of a dict, in the order of subscription.
    """

    connection = None
    """Always None: all websockets of the process share a connection."""

    def __init__(self) -> None:
        self.channels: dict[str, None] = {}

    @property
    def subscribed(self) -> bool:
        """Return whether there are any channels."""
        return bool(self.channels)

    def subscribe(self, *channels: Any, **handlers: Any) -> None:
        """Add channels; accepts names and lists of names, as redis-py does."""
        if handlers:
            raise TypeError(
                "the subscription of a websocket supports no handlers: override the server instead"
            )
        self.channels.update(dict.fromkeys(_flat(channels)))

    def unsubscribe(self, *channels: Any) -> None:
        """Remove channels, or all of them."""
        for name in _flat(channels) or list(self.channels):
            self.channels.pop(name, None)

    def psubscribe(self, *patterns: Any, **handlers: Any) -> None:
        """Raise TypeError: a websocket cannot subscribe to patterns."""
        raise TypeError("a websocket cannot subscribe to patterns: subscribe to channels by name")

    def parse_response(self, *args: Any, **kwargs: Any) -> None:
        """Return None: messages go directly to the websocket."""

    def reset(self) -> None:
        """Forget all channels."""
        self.channels.clear()

    close = reset


class Recording:
    """A wrapper around a client of redis-py whose subscriptions are only recorded.

    Args:
        connection: the client, which does everything else.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def pubsub(self, **options: Any) -> Recorder:
        """Return a subscription that records its channels."""
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
