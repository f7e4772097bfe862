"""`Identity`, what is known of a client, and `IdentityResolver`, what finds it out.

A resolver is called once for each handshake, in the request's own greenlet or thread, so it may
read a session store. What it returns decides the user, group and session channels. What a channel
is called belongs to `wsredis.naming`, what is granted to `wsredis.access`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from ..exceptions import ConfigurationError

__all__ = ["ANONYMOUS", "Identity", "IdentityResolver", "Request", "anonymous", "chain"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The person behind a request.

    Args:
        user: the user's name, or None for nobody.
        groups: the names of the user's groups.
        session: the key of a session that was really loaded, or None.
        expires: Unix time in seconds after which all this no longer holds, or None. A websocket
            is closed then (4401).

    Raises:
        TypeError: a name is not a non-empty string, ``groups`` is a bare string, or ``expires``
            is no number.
    """

    user: str | None = None
    groups: tuple[str, ...] = ()
    session: str | None = None
    expires: float | None = None

    def __post_init__(self) -> None:
        groups: object = self.groups
        if isinstance(groups, str):
            raise TypeError(f"groups takes several names: write groups=({groups!r},)")
        object.__setattr__(self, "groups", tuple(dict.fromkeys(self.groups)))
        names: tuple[object, ...] = (self.user, self.session, *self.groups)
        for name in names:
            if name is not None and (not isinstance(name, str) or not name):
                raise TypeError(f"an identity's names are non-empty strings, not {name!r}")
        expires: object = self.expires
        if expires is not None and (
            not isinstance(expires, int | float) or not math.isfinite(expires)
        ):
            raise TypeError(f"expires is a Unix time in seconds, or None, not {expires!r}")

    def __bool__(self) -> bool:
        """Return whether anything at all is known of the client."""
        return bool(self.user or self.groups or self.session)


ANONYMOUS = Identity()
"""Nobody: no user, no group, no session, and so none of their channels."""


class Request(Protocol):
    """What a resolver needs of a `webob.Request`."""

    @property
    def environ(self) -> dict[str, Any]: ...


class IdentityResolver(Protocol):
    """What finds out the identity of a client: any callable that takes a `webob.Request`.

    Returns:
        An `Identity`; None or `ANONYMOUS` for nobody.

    An exception denies the handshake (403) and is logged.
    """

    def __call__(self, request: Any, /) -> Identity | None: ...


def anonymous(request: Any) -> Identity:
    """Return nobody; the resolver of a middleware that was given none."""
    return ANONYMOUS


def chain(*resolvers: IdentityResolver) -> IdentityResolver:
    """Ask several resolvers in order; the first that knows somebody decides.

    One that raises ends the search: it denies the handshake, later ones are not asked.

    Raises:
        ConfigurationError: one is no resolver.
    """
    every: tuple[object, ...] = resolvers
    for one in every:
        if not callable(one) or isinstance(one, type):
            raise ConfigurationError(
                f"{one!r:.200} is no resolver: write a function, or an object like"
                " RemoteUserResolver()."
            )

    def resolve(request: Any) -> Identity:
        for resolver in resolvers:
            if identity := resolver(request):
                return identity
        return ANONYMOUS

    return resolve
