"""The default endpoint: the query string names the channels to subscribe and publish to."""

from __future__ import annotations

from typing import Any

from ..access.policy import check_channels, granted, not_granted
from ..access.requests import REQUESTABLE, parse_channel_request
from ..exceptions import HandshakeError
from ..identity import Identity
from ..identity.channels import identity_channels
from ..message import Data
from ..naming import Audience
from ..protocol.closing import PUBLISH_DENIED
from .base import Endpoint, EndpointConnection, EndpointContext

__all__ = ["PubSubEndpoint"]

NOTHING_REQUESTED = (
    "The query string requests no channel: write at least one of subscribe-broadcast,"
    " subscribe-user, subscribe-group, subscribe-session, or the same with publish-."
)


class PubSubEndpoint(Endpoint):
    """An endpoint that subscribes to ``?subscribe-...`` and publishes to ``publish-...``.

    A client whose query string contains the key ``heartbeat`` gets heartbeats.

    Raises:
        HandshakeError: 400 for a query string that requests no channel or has a misspelled key,
            403 for more channels than ``max_handshake_channels``.
        PermissionDenied: the policy refuses, or grants none of the requested channels.
    """

    __slots__ = ("_echo", "_expire", "_publish", "channels", "heartbeat")

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
            raise not_granted(request, wanted.requested, allowed)
        self._echo = wanted.echo
        self.heartbeat = wanted.heartbeat
        self._expire = context.config.expire

    def received(self, connection: EndpointConnection, message: Data) -> None:
        """Publish the message, or close with 1008 if this websocket may not publish."""
        if self._publish:
            connection.publish(self._publish, message, echo=self._echo, expire=self._expire)
        else:
            connection.close(PUBLISH_DENIED.code, PUBLISH_DENIED.reason)


def _channels(
    direction: str, allowed: tuple[str, ...], identity: Identity, context: EndpointContext
) -> tuple[str, ...]:
    """Return the channels that the granted keys of one direction name for this identity."""
    prefix, facility = context.config.key_prefix, context.facility
    channels: list[str] = []
    for key in allowed:
        kind, audience = REQUESTABLE[key]
        if kind == direction:
            if audience is Audience.GROUP:
                most = context.config.max_handshake_channels
                if most is not None and len(identity.groups) > most:
                    check_channels(identity.groups, most)
            channels += identity_channels(prefix, audience, facility, identity)
    return tuple(channels)
