"""Who is at the other end: `Identity`, and the resolvers that need no framework.

A resolver is called once for each handshake, in the request's own greenlet or thread, so it may
read a session store. What it returns decides the user, group and session channels. What a channel
is called belongs to `wsredis.channels`, what is granted to `wsredis.access`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "ANONYMOUS",
    "Identity",
    "IdentityResolver",
    "RemoteUserResolver",
    "anonymous",
    "chain",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """Name the person behind a request.

    Args:
        user: the user's name, or None for nobody.
        groups: the names of the user's groups.
        session: the key of a session that was really loaded, or None.

    Raises:
        TypeError: a name is not a non-empty string, or ``groups`` is a bare string.
    """

    user: str | None = None
    groups: tuple[str, ...] = ()
    session: str | None = None

    def __post_init__(self) -> None:
        groups: object = self.groups
        if isinstance(groups, str):
            raise TypeError(f"groups takes several names: write groups=({groups!r},)")
        object.__setattr__(self, "groups", tuple(dict.fromkeys(self.groups)))
        names: tuple[object, ...] = (self.user, self.session, *self.groups)
        for name in names:
            if name is not None and (not isinstance(name, str) or not name):
                raise TypeError(f"an identity's names are non-empty strings, not {name!r}")

    def __bool__(self) -> bool:
        """Tell whether anything at all is known about who asks."""
        return bool(self.user or self.groups or self.session)


ANONYMOUS = Identity()
"""Nobody: no user, no group, no session, and so none of their channels."""


class _Request(Protocol):
    """What a resolver needs of a `webob.Request`."""

    @property
    def environ(self) -> dict[str, Any]: ...


class IdentityResolver(Protocol):
    """Say who sends a request: any callable that takes a `webob.Request`.

    Returns:
        An `Identity`; None or `ANONYMOUS` for nobody.

    An exception denies the handshake (403) and is logged.
    """

    def __call__(self, request: Any, /) -> Identity | None: ...


def anonymous(request: Any) -> Identity:
    """Know nobody; the resolver of a middleware that was given none."""
    return ANONYMOUS


class RemoteUserResolver:
    """Trust ``REMOTE_USER``, which the WSGI server or a middleware around us has set.

    The variable cannot be set by a client's header (headers arrive as ``HTTP_*``; CGI, RFC 3875
    section 4.1.11 and 4.1.18).

    Args:
        groups: names of groups for a user, as a mapping from user to groups.
    """

    def __init__(self, groups: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._groups = groups or {}

    def __call__(self, request: _Request, /) -> Identity:
        user = request.environ.get("REMOTE_USER")
        return Identity(user, self._groups.get(user, ())) if user else ANONYMOUS


def chain(*resolvers: IdentityResolver) -> IdentityResolver:
    """Ask several resolvers in order; the first that knows somebody decides.

    One that raises ends the search: it denies the handshake, later ones are not asked.
    """

    def resolve(request: Any) -> Identity:
        for resolver in resolvers:
            if identity := resolver(request):
                return identity
        return ANONYMOUS

    return resolve
