"""The hub's side of a websocket that an ASGI application handles.

All methods run on the hub's loop, except ``__init__``. The application's side is `run.Run`, on the
asyncio loop; the two sides call each other through `AsyncioLoop.call` and `AsgiEndpoint.call`.

Flow control. A message to the client counts as handed over from `Run.send` until this side has
given it to the connection, and this side gives the connection no message while its send buffer is
more than half full. A message of the client counts as queued until the application has received it.
Each counter only grows and has one writer, so the other side can read it without a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..endpoints.base import Endpoint, EndpointConnection, EndpointContext
from ..exceptions import HandshakeError
from ..handshake.refusal import SERVER_ERROR
from ..message import Data
from ..runtime.logs import get_logger
from .scope import websocket_scope

__all__ = ["MAX_QUEUED", "OVERHEAD", "Application", "AsgiEndpoint"]

log = get_logger("wsredis.asgi")

MAX_QUEUED = 1 << 18
"""Bytes of messages that wait for the application, above which the client is not read."""

OVERHEAD = 256
"""Bytes added for each message that waits for the application."""


class Application(Protocol):
    """The application's side; see `run.Run`.

    Attributes:
        received: bytes of messages that the application has received.
    """

    received: int

    def put(self, data: Data, size: int) -> None:
        """Queue a message of the client."""

    def on_room(self) -> None:
        """Let the application go on if it waits for room in the send buffer."""

    def end(self, code: int, reason: str) -> None:
        """Queue the disconnect event."""


class AsgiEndpoint(Endpoint):
    """The endpoint of a websocket whose handshake and messages an ASGI application handles.

    Args:
        start: starts the application for an endpoint.
        call: calls a function on the hub's loop, after those of earlier calls; from any thread.
        request: the request, with its ``identity``.
        context: the options and the offers of the client.

    Attributes:
        call: that argument.
        scope: the scope of the application.
        queued: bytes of messages that the client has sent.
        taken: bytes of messages that the connection has been given.
        full: whether the send buffer of the connection must be sent before the next message.
        held: whether the client is not read.
        connection: the connection, once the handshake waits for an answer.
    """

    deferred = True
    wants_retained = False
    common_heartbeat = False

    def __init__(
        self,
        start: Callable[[AsgiEndpoint], Application],
        call: Callable[..., None],
        request: Any,
        context: EndpointContext,
    ) -> None:
        self.scope = websocket_scope(request, context.config, context.offered)
        self.queued = 0
        self.taken = 0
        self.full = False
        self.held = False
        self.call = call
        self._start = start
        self._large = context.config.max_send_buffer // 2
        self._unsent: deque[Data] = deque()
        self._closing: tuple[int, str] | None = None  # for after the unsent messages
        self.connection: EndpointConnection
        self._run: Application | None = None

    # Called by the connection

    def connecting(self, connection: EndpointConnection) -> None:
        """Start the application, which will answer the handshake."""
        self.connection = connection
        self._run = self._start(self)

    def received(self, connection: EndpointConnection, message: Data) -> None:
        """Queue a message for the application, and stop reading while too many are queued."""
        run = self._run
        assert run is not None  # since `connecting`
        size = len(message) + OVERHEAD
        self.queued += size
        if self.queued - run.received > MAX_QUEUED and not self.held:
            self.held = True
            connection.hold()
        run.put(message, size)

    def drained(self, connection: EndpointConnection) -> None:
        """Give the connection what waits, and let the application go on."""
        self.full = False
        while self._unsent and not self.full:
            self._give(self._unsent.popleft())
        if self._closing is not None and not self._unsent:
            connection.close(*self._closing)
        assert self._run is not None  # since `connecting`
        self._run.on_room()

    def closed(self, connection: EndpointConnection, code: int) -> None:
        """Tell the application that the websocket has ended."""
        self._unsent = deque(maxlen=0)  # what is still sent is freed at once, too
        if self._run is not None:
            self._run.end(code, connection.close_reason)

    # Called by the application's side

    def accept(self, subprotocol: str | None, headers: list[tuple[str, str]]) -> None:
        """Open the websocket."""
        self.connection.accept(subprotocol, headers)

    def refuse(self, error: HandshakeError) -> None:
        """Refuse the handshake."""
        try:
            self.connection.refuse(
                error.status,
                error.text,
                error.headers,
                body=error.body,
                content_type=error.content_type,
            )
        except ValueError as exc:
            log.error("the application's refusal cannot be sent: %s", exc)
            self.connection.refuse(500, SERVER_ERROR)

    def send(self, data: Data) -> None:
        """Send a message to the client, after those that wait for room in the send buffer."""
        if self.full or self._unsent:
            self._unsent.append(data)
        else:
            self._give(data)

    def close(self, code: int, reason: str) -> None:
        """Close the websocket, after what waits has been sent."""
        if self._unsent:
            self._closing = code, reason
        else:
            self.connection.close(code, reason)

    def release(self) -> None:
        """Read the client again."""
        self.held = False
        self.connection.release()

    def _give(self, data: Data) -> None:
        connection = self.connection
        if len(data) > self._large and connection.await_drained():
            self.full = True
            self._unsent.appendleft(data)
            return
        self.full = not connection.send(data)
        self.taken += len(data) + OVERHEAD
        assert self._run is not None
        self._run.on_room()
