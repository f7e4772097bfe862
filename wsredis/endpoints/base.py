"""The seam that says what a connection does: one endpoint object for each websocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..access import AllowedChannels
from ..config import Config
from ..connection import Connection
from ..message import Data

__all__ = ["Endpoint", "EndpointContext", "EndpointFactory"]


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """Hold what the middleware tells its endpoints.

    Args:
        config: the options of the middleware.
        allowed_channels: the policy for the channels a client asks for.
        facility: what follows the prefix in the address.
    """

    config: Config
    allowed_channels: AllowedChannels
    facility: str


class Endpoint(Protocol):
    """Say what one websocket listens to and what becomes of its messages.

    Subclass it and give the class to `WebSocketMiddleware`. ``__init__(request, context)`` runs in
    the request's own greenlet or thread and may block; it may raise `PermissionDenied` or another
    `HandshakeError`. The other methods run on the hub's loop and must not block; an exception in
    one closes the socket with 1011.
    """

    channels: Sequence[str] = ()
    """Full names of the channels to listen to."""

    wants_kept: bool = True
    """Whether the channels' kept last messages are sent first."""

    def opened(self, connection: Connection) -> None:
        """Take notice that the websocket is open."""

    def received(self, connection: Connection, message: Data) -> None:
        """Take one whole message of the client."""

    def closed(self, connection: Connection, code: int) -> None:
        """Take notice that a websocket which was `opened` is closed; 1006 without a close frame."""


EndpointFactory = Callable[[Any, EndpointContext], Endpoint]
"""Makes the endpoint for a request (a `webob.Request` whose ``identity`` is set)."""
