"""The interfaces of endpoints: each websocket has one endpoint object that handles its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    """The values that the middleware passes to its endpoints.

    Args:
        config: the options of the middleware.
        allowed_channels: the policy for the channels that a client requests.
        facility: the part of the URL's path after the prefix.
        offered: the subprotocols that the client offers, in its order of preference.
        soon: calls a function with arguments in the next iteration of the websocket's loop; the
            function must not block; callable from any thread.
    """

    config: Config
    allowed_channels: AllowedChannels
    facility: str
    offered: tuple[str, ...]
    soon: Callable[..., None]


class EndpointConnection(Protocol):
    """The connection of an endpoint; used on the hub's loop."""

    @property
    def identity(self) -> Identity:
        """Return the identity of the client."""

    @property
    def subprotocol(self) -> str | None:
        """Return the chosen subprotocol, or None."""

    @property
    def close_reason(self) -> str:
        """Return the close reason; "" if there is none or the connection is not closing."""

    @property
    def send_buffer_size(self) -> int:
        """Return the number of bytes that wait to be sent to the client."""

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Open the websocket of a `deferred` endpoint.

        If the client has disconnected or was refused in the meantime, do nothing.

        Args:
            subprotocol: one of those that the client offers; by default the choice of the endpoint,
                or of the option ``subprotocols``.
            headers: more headers of the response, in addition to those of the endpoint.

        Raises:
            ValueError: the client does not offer the subprotocol, or a header is not valid.
            RuntimeError: the websocket is open already.
        """

    def refuse(
        self,
        status: int,
        text: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        body: str | bytes | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Refuse the websocket of a `deferred` endpoint.

        If the client has disconnected or was refused in the meantime, do nothing. The arguments are
        those of `HandshakeError`.

        Raises:
            ValueError: the status does not refuse a handshake, or a header is not valid.
            RuntimeError: the websocket is open already.
        """

    def send(self, data: Data) -> bool:
        """Send one message to this client only.

        The text must be encodable as UTF-8. A message that does not fit into the send buffer closes
        the connection (1013).

        Returns:
            False when more than half of ``max_send_buffer`` waits to be sent; `Endpoint.drained` is
            called once all of it has been sent. Also False when the connection is closing or has
            ended; `Endpoint.closed` follows then, or has been called.
        """

    def await_drained(self) -> bool:
        """Have `Endpoint.drained` called once the send buffer is empty.

        Returns:
            False if it is empty now, or the connection has ended; `Endpoint.drained` is not called
            then.
        """

    def hold(self) -> None:
        """Stop reading and delivering messages of the client until `release`.

        Pings and the close frame of the client are not answered meanwhile, and a client that has
        vanished is only noticed when sending to it fails. When the connection is closed, the
        messages held back are dropped.
        """

    def release(self) -> None:
        """Deliver the messages held back since `hold`, and resume reading."""

    def publish(
        self, channels: Sequence[str], data: Data, *, echo: bool = True, expire: int = 0
    ) -> None:
        """Publish a message through the broker, in the order of the calls, without waiting.

        With ``echo=False`` this connection does not get the message back. If the message was not
        published, or perhaps not, the connection is closed with 1013, so that the client notices
        the loss.
        """

    def publishing(self, size: int) -> None:
        """Count bytes that the endpoint publishes by its own means, until `on_ack`.

        The client is not read while too many bytes are not acknowledged.
        """

    def on_ack(self, size: int) -> None:
        """Count bytes of `publishing` as published or lost."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the close handshake; the connection ends when the client answers, or soon after.

        Raises:
            ValueError: a server may not send the close code (RFC 6455 section 7.4).
        """

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the loop's next iteration; it must not block. Works in any thread."""


class Endpoint(Protocol):
    """The handler of one websocket: its channels, and what happens to its messages.

    Subclass it and pass the class to `WebSocketMiddleware`. ``__init__(request, context)`` runs in
    the request's own greenlet or thread and may block; it may raise `PermissionDenied` or another
    `HandshakeError`. The other methods run on the hub's loop and must not block; an exception in
    them closes the websocket with 1011, or refuses a pending handshake with 500.
    """

    deferred: bool = False
    """Whether the handshake is answered later, with ``connection.accept()`` or ``refuse()``.

    The request ends before that, so that it occupies no thread and no greenlet. Without an answer
    within ``handshake_timeout``, counted from the request, the client gets 503.
    """

    subprotocol: str | None = None
    """The chosen subprotocol of ``context.offered``; None for the choice of ``subprotocols``."""

    headers: Sequence[tuple[str, str]] = ()
    """Additional headers of the response that accepts the websocket."""

    channels: Sequence[str] = ()
    """Full names of the channels to subscribe to."""

    wants_retained: bool = True
    """Whether the client first gets the retained messages of the channels."""

    heartbeat: bool = False
    """Whether the client gets heartbeats: text messages at the opening and with every ping.

    Set it before the websocket is open, and only for clients that have asked for heartbeats with
    the query key ``heartbeat``, as the browser client does (`wsredis.protocol.frames.heartbeat`).
    """

    common_heartbeat: bool = True
    """Whether the text of the option ``heartbeat`` is sent to the client, and ignored if it comes
    from there."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        """Prepare for the websocket of a request (a `webob.Request` with its ``identity``)."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Accept deprecated names of attributes."""
        super().__init_subclass__(**arguments)
        rename_class_attributes(cls, ENDPOINT_MEMBERS)

    # The explicit returns: type checkers treat an empty body in a Protocol as abstract.

    def connecting(self, connection: EndpointConnection) -> None:
        """Handle a handshake that waits for an answer; called for `deferred` endpoints only."""
        return

    def opened(self, connection: EndpointConnection) -> None:
        """Handle the opening of the websocket."""
        return

    def received(self, connection: EndpointConnection, message: Data) -> None:
        """Handle one complete message of the client."""
        return

    def drained(self, connection: EndpointConnection) -> None:
        """Handle the end of sending, after ``connection.send()`` has returned False."""
        return

    def closed(self, connection: EndpointConnection, code: int) -> None:
        """Handle the end; called once for every endpoint, even if it was never `opened`.

        Args:
            connection: the connection, which has ended; its ``close_reason`` can be read.
            code: the close code; 1006 without a close frame, or if it was never open.
        """
        return


alias_attributes(Endpoint, ENDPOINT_MEMBERS)

EndpointFactory = Callable[[Any, EndpointContext], Endpoint]
"""A callable that makes the endpoint for a request (a `webob.Request` with its ``identity``)."""
