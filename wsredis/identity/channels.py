"""The channels of an identity; `wsredis.naming` defines their names."""

from __future__ import annotations

from ..naming import Audience, channel_name
from .base import Identity

__all__ = ["identity_channels"]


def identity_channels(
    prefix: str, audience: Audience, facility: str, identity: Identity
) -> tuple[str, ...]:
    """Return the channels of an audience that belong to an identity; none if it has no name."""
    if audience is Audience.BROADCAST:
        return (channel_name(prefix, audience, facility),)
    names: tuple[str | None, ...] = identity.groups
    if audience is not Audience.GROUP:
        names = (identity.user if audience is Audience.USER else identity.session,)
    return tuple(channel_name(prefix, audience, facility, name) for name in names if name)
