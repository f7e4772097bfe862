"""`Identity`, the identity of a client, and `IdentityResolver`, the interface of resolvers.

A resolver is called once for each handshake, in the request's own greenlet or thread, so it may
block on a session store. The identity determines the user, group and session channels of the
client. `wsredis.naming` defines the names of channels, `wsredis.access` grants them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..exceptions import ConfigurationError

__all__ = [
    "ANONYMOUS",
    "CONFIG",
    "Identity",
    "IdentityResolver",
    "Request",
    "anonymous",
    "chain",
    "check_resolver",
]

CONFIG = "wsredis.config"
"""The key of the environ for the options of the middleware that serves the handshake."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of the client that sent a request.

    Args:
        user: the user's name; None for an anonymous client.
        groups: the names of the user's groups.
        session: the key of the client's session, which must exist in the session store; or None.
        expires: Unix time in seconds at which the identity expires, or None. The websocket is
            closed then (4401).
        issued: Unix time in seconds at which the credential was issued, if that was before the
            handshake, as with a ticket; or None. The websocket is also closed by disconnect
            commands given since then, at most `wsredis.identity.revocation.MAX_AGE` ago. It is not
            compared: two identities with the same names are equal.

    Raises:
        TypeError: a name is not a non-empty string, ``groups`` is a bare string, or ``expires`` or
            ``issued`` is not a number.
    """

    user: str | None = None
    groups: tuple[str, ...] = ()
    session: str | None = None
    expires: float | None = None
    issued: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        groups: object = self.groups
        if isinstance(groups, str):
            raise TypeError(f"groups must be a tuple of names: write groups=({groups!r},)")
        object.__setattr__(self, "groups", tuple(dict.fromkeys(self.groups)))
        names: tuple[object, ...] = (self.user, self.session, *self.groups)
        for name in names:
            if name is not None and (not isinstance(name, str) or not name):
                raise TypeError(f"names of an identity must be non-empty strings, not {name!r}")
        if self.expires is not None:
            _check_time("expires", self.expires)
        if self.issued is not None:
            _check_time("issued", self.issued)

    def __bool__(self) -> bool:
        """Return whether there is a user, a group or a session."""
        return bool(self.user or self.groups or self.session)


def _check_time(name: str, value: object) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{name} must be a Unix time in seconds or None, not {value!r}")


ANONYMOUS = Identity()
"""The anonymous identity: no user, group or session, and so none of their channels."""


class Request(Protocol):
    """The part of `webob.Request` that resolvers need."""

    @property
    def environ(self) -> dict[str, Any]: ...


class IdentityResolver(Protocol):
    """A callable that takes a `webob.Request` and returns the identity of the client.

    Returns:
        An `Identity`; None or `ANONYMOUS` for an anonymous client.

    If it raises an exception, the handshake is refused (403) and the exception is logged. If it has
    a method ``check_config(config)``, the middleware calls it with its `Config` when it is made.
    """

    def __call__(self, request: Any, /) -> Identity | None: ...


def anonymous(request: Any) -> Identity:
    """Return `ANONYMOUS`; the default resolver of the middleware."""
    return ANONYMOUS


def chain(*resolvers: IdentityResolver) -> IdentityResolver:
    """Return a resolver that calls several resolvers and returns the first non-anonymous identity.

    If a resolver raises, the handshake is refused and later resolvers are not called.

    Raises:
        ConfigurationError: an argument is not a resolver.
    """
    every: tuple[object, ...] = resolvers
    for one in every:
        if not callable(one) or isinstance(one, type):
            raise ConfigurationError(
                f"{one!r:.200} is not a resolver: write a function, or an object like"
                " RemoteUserResolver()."
            )
    return _Chain(resolvers)


class _Chain:
    """The resolver that `chain` returns."""

    def __init__(self, resolvers: tuple[IdentityResolver, ...]) -> None:
        self._resolvers = resolvers

    def __call__(self, request: Any, /) -> Identity:
        for resolver in self._resolvers:
            if identity := resolver(request):
                return identity
        return ANONYMOUS

    def check_config(self, config: object) -> None:
        for resolver in self._resolvers:
            check_resolver(resolver, config)


def check_resolver(resolver: object, config: object) -> None:
    """Let a resolver check the options of its middleware, if it has a method ``check_config``.

    Args:
        resolver: any resolver.
        config: the `Config` of the middleware.

    Raises:
        ConfigurationError: the resolver needs an option that is not set.
    """
    check = getattr(resolver, "check_config", None)
    if check is not None:
        check(config)
