"""The default endpoint: the query string says what to subscribe to and where messages go."""

from __future__ import annotations

from typing import Any

from ..access.policy import granted
from ..access.requests import REQUESTABLE, parse_channel_request
from ..exceptions import HandshakeError, PermissionDenied
from ..identity import Identity
from ..identity.channels import identity_channels
from ..message import Data
from ..protocol.closing import CloseCode
from .base import Endpoint, EndpointConnection, EndpointContext

__all__ = ["PubSubEndpoint"]

NOTHING_REQUESTED = (
    "This address needs at least one of subscribe-broadcast, subscribe-user, subscribe-group,"
    " subscribe-session, or the same with publish-, in its query string."
)


class PubSubEndpoint(Endpoint):
    """An endpoint that subscribes to ``?subscribe-...`` and publishes to ``publish-...``.

    Raises:
        HandshakeError: 400 for a query that requests nothing or is misspelt.
        PermissionDenied: the policy refuses, or grants nothing of what is requested.
    """

    __slots__ = ("_echo", "_expire", "_publish", "channels")

    def __init__(self, request: Any, context: EndpointContext) -> None:
        try:
            wanted = parse_channel_request(request.environ.get("QUERY_STRING", ""))
        except ValueError as exc:
            raise HandshakeError(400, str(exc)) from exc
        if not wanted.requested:
            raise HandshakeError(400, NOTHING_REQUESTED)
        allowed = granted(context.allowed_channels, request, wanted.requested)
        self.channels = _channels("subscribe", allowed, request.identity, context)
        self._publish = _channels("publish", allowed, request.identity, context)
        if not self.channels and not self._publish:
            raise PermissionDenied
        self._echo = wanted.echo
        self._expire = context.config.expire

    def received(self, connection: EndpointConnection, message: Data) -> None:
        """Publish the message, or close with 1008 if this socket may not."""
        if self._publish:
            connection.publish(self._publish, message, echo=self._echo, expire=self._expire)
        else:
            connection.close(CloseCode.POLICY_VIOLATION, "this socket may not publish")


def _channels(
    direction: str, allowed: tuple[str, ...], identity: Identity, context: EndpointContext
) -> tuple[str, ...]:
    """Return the channels that the granted keys of one direction mean for this identity."""
    prefix, facility = context.config.key_prefix, context.facility
    channels: list[str] = []
    for key in allowed:
        kind, audience = REQUESTABLE[key]
        if kind == direction:
            channels += identity_channels(prefix, audience, facility, identity)
    return tuple(channels)
