"""`Publisher`: sends messages from views, jobs and shells.

It works in any process, with or without gevent, and is safe across threads, greenlets and forks.
It connects when the first message is published.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from .brokers import broker_for
from .config import Config, current_config
from .exceptions import BrokerUnavailable
from .identity import ANONYMOUS, Identity
from .identity.channels import identity_channels
from .message import MAX_EXPIRE, Data, dump, encode, to_json
from .naming import Audience, channel_name, plain_str

__all__ = ["SELF", "Publisher"]

log = logging.getLogger("wsredis.publisher")

NOT_PUBLISHED = "a message may not have been published: %s"


class _Self:
    """The type of `SELF`."""

    def __repr__(self) -> str:
        return "SELF"


SELF: Final = _Self()
"""In ``users``, ``groups`` or ``sessions``: the names of the request's or the given identity."""

Names = Iterable[str | UUID | _Self]


class _NotGiven(tuple[str, ...]):
    """The type of the default of ``users``, ``groups`` and ``sessions``: no names."""


_NOT_GIVEN: Final = _NotGiven()

_REDIS_URL = ("redis://", "rediss://", "unix://", "memory://")


class Publisher:
    """A publisher of messages to some audiences of a facility.

    Args:
        facility: the topic of the messages; the part of the websocket's URL after the prefix. A
            UUID stands for its string, here and in the lists of names.
        broadcast: whether the messages go to all subscribers of the facility's broadcast.
        users, groups, sessions: lists of names, or of `SELF`.
        request: a request whose ``identity`` attribute `SELF` stands for, such as the one that
            ``allowed_channels`` gets, or one made by an adapter.
        identity: the identity that `SELF` stands for, instead of a request.
        config: gives the URL of Redis and the key prefix; by default the options set with
            `wsredis.configure`, else those of the framework, else those of the first
            `WebSocketMiddleware` of this process, else the environment.

    Raises:
        ConfigurationError: ``config`` is needed, because middleware of this process has other
            values.
        TypeError: there is no audience, names are not a list of strings, or `SELF` is used without
            a request or identity.
        ValueError: the facility is a URL of Redis, or begins with the prefix of the websockets.
    """

    def __init__(
        self,
        facility: str | UUID = "",
        broadcast: bool = False,
        users: Names = _NOT_GIVEN,
        groups: Names = _NOT_GIVEN,
        sessions: Names = _NOT_GIVEN,
        request: Any = None,
        identity: Identity | None = None,
        config: Config | None = None,
    ) -> None:
        topic = self.text_of(facility)
        if not isinstance(topic, str):
            raise TypeError(f"facility must be a string, not {facility!r}")
        facility = plain_str(topic)
        if not isinstance(broadcast, bool):
            raise TypeError(f"broadcast must be True or False, not {broadcast!r}")
        if facility.startswith(_REDIS_URL):  # it may contain a password
            raise ValueError(
                "facility must be the topic of the messages, such as 'news', not a URL of Redis:"
                " set that with the option redis"
            )
        if not broadcast and users is groups is sessions is _NOT_GIVEN:
            raise TypeError(
                "a publisher needs an audience: write broadcast=True, users=[...], groups=[...] or"
                " sessions=[...]"
            )
        self.config = config if config is not None else self.default_config()
        if facility.startswith(self.config.prefix) and self.config.prefix != "/":
            rest = facility.removeprefix(self.config.prefix)
            raise ValueError(f"facility {facility!r} includes the prefix: write {rest!r}")
        self.facility = facility
        who = identity
        prefix = self.config.key_prefix
        found: dict[str, Audience] = {}
        if broadcast:
            found[channel_name(prefix, Audience.BROADCAST, facility)] = Audience.BROADCAST
        for audience, argument, names in (
            (Audience.USER, "users", users),
            (Audience.GROUP, "groups", groups),
            (Audience.SESSION, "sessions", sessions),
        ):
            for name in _names(argument, names, self.text_of):
                if isinstance(name, str):
                    found[channel_name(prefix, audience, facility, name)] = audience
                    continue
                who = who if who is not None else self.identity_of(request)
                if who is None:
                    raise TypeError(f"SELF in {argument} needs request= or identity=")
                own = identity_channels(prefix, audience, facility, who or ANONYMOUS)
                found.update(dict.fromkeys(own, audience))
        self._channels = found

    def default_config(self) -> Config:
        """Return the options to use if none are given; adapters return those of the framework."""
        return current_config()

    def identity_of(self, request: Any) -> Identity | None:
        """Return the identity that `SELF` stands for; called once, and only if `SELF` is used."""
        return getattr(request, "identity", None)

    def text_of(self, value: object) -> object:
        """Return a facility or a name as a string if it stands for one, else as it is."""
        return str(value) if isinstance(value, UUID) else value

    def to_json(self, value: object) -> str:
        """Return a message as JSON text, if it is neither str nor bytes.

        Adapters use the encoder of their framework. Override it to publish more types.
        """
        return to_json(value)

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the full names of the channels that messages go to."""
        return tuple(self._channels)

    def publish(
        self, message: object, expire: int | None = None, *, fail_silently: bool = False
    ) -> int:
        """Publish a message to all channels in one round trip: all channels get it, or none.

        Args:
            message: str for text, bytes for binary; any other value is sent as JSON text, see
                `to_json`.
            expire: seconds for which the message is retained for later subscribers, 0 for not at
                all; by default the option ``expire``.
            fail_silently: whether to log a warning and return 0 if Redis is unavailable.

        Returns:
            The number of processes that Redis reports as receivers, added up over the channels.
            Without channels, for example because `SELF` is anonymous, 0.

        Raises:
            BrokerUnavailable: Redis does not answer within the option ``publish_timeout``, or
                refuses; the message may not have been published.
            TypeError: the message is not JSON-serializable.
            ValueError: ``expire`` is out of range, text cannot be encoded as UTF-8, or the message
                makes too many bytes of copies, one for each channel (see docs/operating.md).
        """
        payload, seconds = self._prepare(message, expire)
        if not self._channels:
            return 0
        try:
            return broker_for(self.config).publish(self.channels, payload, seconds)
        except BrokerUnavailable as exc:
            if not fail_silently:
                raise
            log.warning(NOT_PUBLISHED, exc)
            return 0

    async def apublish(
        self, message: object, expire: int | None = None, *, fail_silently: bool = False
    ) -> int:
        """Publish like `publish`, but without blocking the running asyncio loop."""
        payload, seconds = self._prepare(message, expire)
        if not self._channels:
            return 0
        try:
            return await broker_for(self.config).apublish(self.channels, payload, seconds)
        except BrokerUnavailable as exc:
            if not fail_silently:
                raise
            log.warning(NOT_PUBLISHED, exc)
            return 0

    def fetch(self, audience: str = "any") -> Data | None:
        """Return the retained message of the most specific channel that has one, or None.

        Args:
            audience: ``session``, ``user``, ``group`` or ``broadcast``; ``any`` tries all four in
                this order.

        Raises:
            BrokerUnavailable: Redis does not answer within the option ``publish_timeout``.
            ValueError: there is no such audience.
        """
        order = [Audience.SESSION, Audience.USER, Audience.GROUP, Audience.BROADCAST]
        if audience != "any":
            if audience not in order:
                known = ", ".join(order)
                raise ValueError(f"audience must be one of any, {known}, not {audience!r}")
            order = [Audience(audience)]
        channels = [name for kind in order for name, of in self._channels.items() if of is kind]
        retained = broker_for(self.config).fetch(channels)
        return retained[0].data if retained else None

    def _prepare(self, message: object, expire: int | None) -> tuple[bytes, int]:
        seconds = self.config.expire if expire is None else expire
        if type(seconds) is not int or not 0 <= seconds <= MAX_EXPIRE:
            raise ValueError(
                f"expire must be whole seconds from 0 to {MAX_EXPIRE}, not {seconds!r}"
            )
        return encode(self._dump(message), self.config.envelope), seconds

    def _dump(self, message: object) -> Data:
        return dump(message, self.to_json)


def _names(argument: str, names: Names, text_of: Callable[[object], object]) -> list[str | _Self]:
    """Check a list of names."""
    if isinstance(names, (str, bool, bytes, _Self)) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a list of names: write {argument}=[{names!r}]")
    checked: list[str | _Self] = []
    for given in names:
        name = text_of(given)
        if isinstance(name, _Self):
            checked.append(name)
        elif isinstance(name, str) and name:
            checked.append(plain_str(name))
        else:
            raise TypeError(f"{argument} must contain non-empty strings or SELF, not {given!r}")
    return checked
