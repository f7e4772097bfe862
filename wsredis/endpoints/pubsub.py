"""The default endpoint: the query string says what to subscribe to and where messages go."""

from __future__ import annotations

from typing import Any

from ..access import granted
from ..channels import WISHES, identity_channels, parse_wishes
from ..connection import Connection
from ..exceptions import HandshakeError, PermissionDenied
from ..frames import CloseCode
from ..identity import Identity
from ..message import Data
from .base import Endpoint, EndpointContext

__all__ = ["PubSubEndpoint"]

NO_WISH = (
    "This address needs at least one of subscribe-broadcast, subscribe-user, subscribe-group,"
    " subscribe-session, or the same with publish-, in its query string."
)


class PubSubEndpoint(Endpoint):
    """Subscribe to ``?subscribe-...`` and publish what the client sends to ``publish-...``.

    Raises:
        HandshakeError: 400 for a query that asks for nothing or is misspelt.
        PermissionDenied: the policy refuses, or grants nothing of what is asked for.
    """

    __slots__ = ("_echo", "_expire", "_publish", "channels")

    def __init__(self, request: Any, context: EndpointContext) -> None:
        try:
            wishes = parse_wishes(request.environ.get("QUERY_STRING", ""))
        except ValueError as exc:
            raise HandshakeError(400, str(exc)) from exc
        if not wishes.asked:
            raise HandshakeError(400, NO_WISH)
        allowed = granted(context.allowed_channels, request, wishes.asked)
        self.channels = _channels("subscribe", allowed, request.identity, context)
        self._publish = _channels("publish", allowed, request.identity, context)
        if not self.channels and not self._publish:
            raise PermissionDenied
        self._echo = wishes.echo
        self._expire = context.config.expire

    def received(self, connection: Connection, message: Data) -> None:
        """Publish the message, or close with 1008 if this socket may not."""
        if self._publish:
            connection.publish(self._publish, message, echo=self._echo, expire=self._expire)
        else:
            connection.close(CloseCode.POLICY_VIOLATION, "this socket may not publish")


def _channels(
    direction: str, allowed: tuple[str, ...], identity: Identity, context: EndpointContext
) -> tuple[str, ...]:
    """Return the channels that the granted wishes of one direction mean for this identity."""
    prefix, facility = context.config.key_prefix, context.facility
    channels: list[str] = []
    for wish in allowed:
        way, audience = WISHES[wish]
        if way == direction:
            channels += identity_channels(prefix, audience, facility, identity)
    return tuple(channels)
