"""What a connection does: one endpoint object for each websocket. No transport is known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..access.policy import AllowedChannels
from ..config import Config
from ..deprecated import ENDPOINT_MEMBERS, alias_attributes, rename_class_attributes
from ..identity import Identity
from ..message import Data

__all__ = ["Endpoint", "EndpointConnection", "EndpointContext", "EndpointFactory"]


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """What the middleware tells its endpoints.

    Args:
        config: the options of the middleware.
        allowed_channels: the policy for the channels a client requests.
        facility: what follows the prefix in the address.
    """

    config: Config
    allowed_channels: AllowedChannels
    facility: str


class EndpointConnection(Protocol):
    """What an endpoint may do with its connection, on the hub's loop."""

    @property
    def identity(self) -> Identity:
        """Return the identity of the client."""

    @property
    def subprotocol(self) -> str | None:
        """Return the chosen sub-protocol, or None."""

    def send(self, data: Data) -> None:
        """Send one message to this client only.

        Text must have a UTF-8 form. What does not fit into the send buffer closes the connection
        (1013).
        """

    def publish(
        self, channels: Sequence[str], data: Data, *, echo: bool = True, expire: int = 0
    ) -> None:
        """Publish a message through the broker, in the order of the calls, without waiting.

        With ``echo=False`` this connection does not get it back. If it could not be published, or
        may not have been, the connection is closed with 1013, so that the loss does not go unseen.
        """

    def publishing(self, size: int) -> None:
        """Count bytes that the endpoint publishes in its own way, until `on_ack`.

        Nothing is read from the client while too many are on their way.
        """

    def on_ack(self, size: int) -> None:
        """Count bytes that are published, or lost, after `publishing`."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the close handshake; the connection ends when the client answers, or soon after."""

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which must not block, in the loop's next turn; from any thread."""


class Endpoint(Protocol):
    """What one websocket subscribes to, and what is done with its messages.

    Subclass it and give the class to `WebSocketMiddleware`. ``__init__(request, context)`` runs in
    the request's own greenlet or thread and may block; it may raise `PermissionDenied` or another
    `HandshakeError`. The other methods run on the hub's loop and must not block; an exception in
    one closes the socket with 1011.
    """

    channels: Sequence[str] = ()
    """Full names of the channels to subscribe to."""

    wants_retained: bool = True
    """Whether the retained messages of the channels are sent first."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Accept the old names of attributes."""
        super().__init_subclass__(**arguments)
        rename_class_attributes(cls, ENDPOINT_MEMBERS)

    def opened(self, connection: EndpointConnection) -> None:
        """Take notice that the websocket is open."""

    def received(self, connection: EndpointConnection, message: Data) -> None:
        """Take one whole message of the client."""

    def closed(self, connection: EndpointConnection, code: int) -> None:
        """Take notice that a websocket which was `opened` is closed; 1006 without a close frame."""


alias_attributes(Endpoint, ENDPOINT_MEMBERS)

EndpointFactory = Callable[[Any, EndpointContext], Endpoint]
"""Makes the endpoint for a request (a `webob.Request` whose ``identity`` is set)."""
