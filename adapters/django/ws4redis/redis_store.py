"""The common base of publishers and subscribers: `RedisStore`, `RedisMessage` and `SELF`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from wsredis.publisher import SELF
from wsredis.runtime.blocking import blocking

from . import names, settings
from .identity import memberof, session_key, username

__all__ = ["SELF", "RedisMessage", "RedisStore"]


class RedisMessage(bytes):
    """The bytes of a message.

    ``RedisMessage(value)`` takes str, bytes, or a response parsed by a redis-py subscription. For
    the heartbeat, and for all other values, the result is None instead of a message.
    """

    def __new__(cls, value: Any) -> RedisMessage | None:  # type: ignore[misc]
        if isinstance(value, (list, tuple)):
            heard = len(value) > 2 and value[0] in (b"message", "message")
            value = value[2] if heard else None
        elif _is_heartbeat(value):
            return None
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, (bytes, bytearray, memoryview)):
            return None
        return super().__new__(cls, value)


def _is_heartbeat(value: Any) -> bool:
    heartbeat = settings.WS4REDIS_HEARTBEAT
    return bool(heartbeat) and value in (heartbeat, heartbeat.encode())


class RedisStore:
    """A publisher to a set of channels.

    Args:
        connection: a client of redis-py.

    Attributes:
        _publishers: the names of the channels to which messages are published.
    """

    _expire: Any = settings.Fresh(lambda store: settings.WS4REDIS_EXPIRE)

    _outlet: Callable[[list[str], bytes, int], None] | None = None
    """A function that publishes instead of the connection; the server sets it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._publishers: set[str] = set()

    def publish_message(self, message: Any, expire: int | None = None) -> dict[str, int]:
        """Publish a message to all channels at once, and retain it for later subscribers.

        Args:
            message: a `RedisMessage`, str or bytes; a heartbeat is not published.
            expire: seconds for which it is retained; with 0 it is not; by default
                ``WS4REDIS_EXPIRE``.

        Returns:
            The number of processes that receive it, by channel.

        Raises:
            ValueError: the message is None.
            TypeError: the message or ``expire`` has the wrong type.
        """
        return self._publish(message, expire, True)

    def pipeline_publish_message(
        self, message: Any, expire: int | None = None, transaction: bool = True
    ) -> dict[str, int]:
        """Publish like `publish_message`; without ``transaction``, not to all channels at once."""
        return self._publish(message, expire, transaction)

    def _publish(self, message: Any, expire: int | None, transaction: bool) -> dict[str, int]:
        seconds = _seconds(self._expire if expire is None else expire)
        payload = _payload(message)
        channels = sorted(self._publishers)
        if payload is None or not channels:
            return {}
        if self._outlet is not None:
            self._outlet(channels, payload, seconds)
            return {}
        with self._connection.pipeline(transaction=transaction) as pipe:
            for channel in channels:
                if seconds:
                    pipe.set(channel, payload, ex=seconds)
                pipe.publish(channel, payload)
            replies = blocking(pipe.execute)
        return dict(zip(channels, replies[1::2] if seconds else replies, strict=True))

    @staticmethod
    def get_prefix() -> str:
        """Return the prefix of all channels."""
        return names.prefix()

    def _get_message_channels(
        self,
        request: Any = None,
        facility: str = "{facility}",
        broadcast: bool = False,
        groups: Any = (),
        users: Any = (),
        sessions: Any = (),
    ) -> list[str]:
        """Return the channels of some audiences for a facility.

        Args:
            request: the request for whose user, groups and session `SELF` stands.
            facility: the topic of the messages.
            broadcast: whether to include all clients.
            groups: names of groups, or `SELF`.
            users: names of users, or `SELF`.
            sessions: keys of sessions, or `SELF`.

        Raises:
            TypeError: an argument has the wrong type, or `SELF` is used without a request.
        """
        before, about = self.get_prefix(), _facility(facility)
        found = [names.channel(before, "broadcast", about)] if _broadcast(broadcast) else []
        for audience, argument, given, own in (
            ("group", "groups", groups, memberof),
            ("user", "users", users, lambda request: [username(request)]),
            ("session", "sessions", sessions, lambda request: [session_key(request)]),
        ):
            who = dict.fromkeys(_names(argument, given, request, own))
            found += [names.channel(before, audience, about, name) for name in who]
        return found


def _payload(message: Any) -> bytes | None:
    """Return the payload for Redis; None for a heartbeat."""
    if message is None:
        raise ValueError(
            "the message is None: write str or bytes (RedisMessage returns None for a heartbeat)"
        )
    if not isinstance(message, (str, bytes, bytearray, memoryview)):
        kind = type(message).__name__
        raise TypeError(
            f"the message must be a RedisMessage, str or bytes, not {kind}: use json.dumps"
        )
    return message if isinstance(message, RedisMessage) else RedisMessage(message)


def _seconds(expire: Any) -> int:
    """Return whole seconds; 0 if the message is not to be retained."""
    if expire is None:
        return 0
    if type(expire) is not int:
        raise TypeError(f"expire must be whole seconds, 0 or None, not {expire!r}")
    return max(expire, 0)


def _facility(facility: Any) -> str:
    if facility is None or isinstance(facility, (bytes, bool)):
        raise TypeError(f"facility must be a string, not {facility!r}")
    return str(facility)


def _broadcast(broadcast: Any) -> bool:
    if broadcast not in (True, False):
        raise TypeError(f"broadcast must be True or False, not {broadcast!r}")
    return bool(broadcast)


def _names(
    argument: str, given: Any, request: Any, own: Callable[[Any], Iterable[str | None]]
) -> list[str]:
    """Return the names of one audience; `SELF` adds none for an anonymous request."""
    names: list[str] = []
    for name in _as_list(argument, given):
        if name is SELF:
            if request is None:
                raise TypeError(f"SELF in {argument} needs a request: write request=...")
            names += filter(None, own(request))
        elif name is None or isinstance(name, (bytes, bool, float)) or not str(name):
            raise TypeError(f"{argument} must be a list of names: {name!r} is not a name")
        else:
            names.append(str(name))
    return names


def _as_list(argument: str, given: Any) -> list[Any]:
    """Return a list; the older forms, a bool or a single name, are converted with a warning."""
    if isinstance(given, bool):
        if given:
            _deprecated(argument, "[SELF]")
        return [SELF] if given else []
    if isinstance(given, str):
        _deprecated(argument, f"[{given!r}]")
        return [given]
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a list of names: write {argument}=[{given!r}]")
    return list(given)


def _deprecated(argument: str, instead: str) -> None:
    warnings.warn(f"write {argument}={instead}", DeprecationWarning, stacklevel=6)
