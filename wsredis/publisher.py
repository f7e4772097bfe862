"""`Publisher`: how views, jobs and shells send messages.

It works in any process, with or without gevent, and is safe across threads, greenlets and forks.
Nothing connects before the first message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .brokers import broker_for
from .config import Config, current_config
from .identity import ANONYMOUS, Identity
from .identity.channels import identity_channels
from .message import Data, dump, encode
from .naming import Audience, channel_name

__all__ = ["SELF", "Publisher"]


class _Self:
    """The client that sends the request."""

    def __repr__(self) -> str:
        return "SELF"


SELF: Final = _Self()
"""In ``users``, ``groups`` or ``sessions``: those of the request's or the given identity."""

Names = Iterable[str | _Self]


class Publisher:
    """A publisher of messages about a facility to some audiences.

    Args:
        facility: what the messages are about; browsers ask for it in the address.
        broadcast: whether everybody who subscribes to the facility gets them.
        users, groups, sessions: names, or `SELF`.
        request: where `SELF` looks for an ``identity``: a request with that attribute, as
            ``allowed_channels`` gets it, or as an adapter makes it.
        identity: who `SELF` is, instead of a request.
        config: where Redis is and what the key prefix is; by default what `wsredis.configure` has
            set, else the environment.

    Raises:
        TypeError: names that are no list of strings, or `SELF` without a request or identity.
    """

    def __init__(
        self,
        facility: str = "",
        broadcast: bool = False,
        users: Names = (),
        groups: Names = (),
        sessions: Names = (),
        request: Any = None,
        identity: Identity | None = None,
        config: Config | None = None,
    ) -> None:
        if not isinstance(facility, str):
            raise TypeError(f"facility takes a string, not {facility!r}")
        if not isinstance(broadcast, bool):
            raise TypeError(f"broadcast takes True or False, not {broadcast!r}")
        self.config = config if config is not None else self.default_config()
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
            for name in _names(argument, names):
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
        """Return the options where none are given; an adapter's framework has its own."""
        return current_config()

    def identity_of(self, request: Any) -> Identity | None:
        """Return whom `SELF` stands for; asked once, and only where there is a `SELF`."""
        return getattr(request, "identity", None)

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the full names of the channels this publishes to."""
        return tuple(self._channels)

    def publish(self, message: object, expire: int | None = None) -> int:
        """Publish a message to all channels in one round trip: either all get it or none.

        Args:
            message: str for text, bytes for binary, anything else goes out as JSON text.
            expire: seconds for which it is retained for later subscribers; 0 not at all;
                by default the option ``expire``.

        Returns:
            The number of processes that Redis reports as receivers, added up over the channels.
            With no channel, such as a `SELF` who is nobody, 0.

        Raises:
            BrokerUnavailable: Redis does not answer; the message may not have been published.
            TypeError: the message is not JSON-serializable.
            ValueError: ``expire`` is negative, or text has no UTF-8 form.
        """
        payload, seconds = self._prepare(message, expire)
        if not self._channels:
            return 0
        return broker_for(self.config).publish(self.channels, payload, seconds)

    async def apublish(self, message: object, expire: int | None = None) -> int:
        """Publish like `publish`, without blocking the running asyncio loop."""
        payload, seconds = self._prepare(message, expire)
        if not self._channels:
            return 0
        return await broker_for(self.config).apublish(self.channels, payload, seconds)

    def fetch(self, audience: str = "any") -> Data | None:
        """Return the retained message of the narrowest channel that has one, or None.

        Args:
            audience: ``session``, ``user``, ``group``, ``broadcast``; ``any`` asks all four in
                that order.

        Raises:
            BrokerUnavailable: Redis does not answer.
            ValueError: there is no such audience.
        """
        order = [Audience.SESSION, Audience.USER, Audience.GROUP, Audience.BROADCAST]
        if audience != "any":
            if audience not in order:
                raise ValueError(f"audience takes any, {', '.join(order)}, not {audience!r}")
            order = [Audience(audience)]
        channels = [name for kind in order for name, of in self._channels.items() if of is kind]
        retained = broker_for(self.config).fetch(channels)
        return retained[0].data if retained else None

    def _prepare(self, message: object, expire: int | None) -> tuple[bytes, int]:
        seconds = self.config.expire if expire is None else expire
        if type(seconds) is not int or seconds < 0:
            raise ValueError(f"expire takes whole seconds from 0 on, not {seconds!r}")
        return encode(dump(message), self.config.envelope), seconds


def _names(argument: str, names: Names) -> list[str | _Self]:
    """Check a list of names."""
    if isinstance(names, (str, bool, bytes, _Self)) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} takes a list of names: write {argument}=[{names!r}]")
    checked: list[Any] = list(names)
    for name in checked:
        if not (isinstance(name, _Self) or (isinstance(name, str) and name)):
            raise TypeError(f"{argument} takes non-empty strings or SELF, not {name!r}")
    return checked
