"""One run of an ASGI application: the application's side of a websocket.

All methods run on the asyncio loop, except those that `AsgiEndpoint` calls: `put`, `on_room` and
`end` can be called from any thread.

The events and their order are those of the ASGI websocket protocol. An event that is not allowed in
the current state, or that is not valid, raises in the application.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..exceptions import HandshakeError, PermissionDenied
from ..handshake.refusal import SERVER_ERROR
from ..handshake.upgrade import check_answer
from ..message import Data
from ..protocol.closing import APPLICATION_ERROR, MESSAGES_LOST, VALID, CloseCode
from ..runtime.logs import get_logger
from ..transports.opening import INVALID_CODE
from .endpoint import MAX_QUEUED, OVERHEAD, AsgiEndpoint
from .loop import AsyncioLoop

__all__ = ["ClientDisconnected", "Run"]

log = get_logger("wsredis.asgi")

MAX_HANDED = 1 << 16
"""Bytes handed to the hub's side that it has not given to the connection; above it, send waits."""

CANCEL_AFTER = 10.0
"""Seconds after the disconnect event in which the application has to return."""

Message = Mapping[str, Any]


class ClientDisconnected(OSError):
    """The client has gone, so the event cannot be sent (ASGI websocket protocol 2.4)."""


class State(Enum):
    """The state of the websocket, as the application sees it."""

    CONNECTING = "connecting"
    REFUSING = "refusing"
    OPEN = "open"
    CLOSED = "closed"


class Run:
    """The run of an application for one websocket.

    Args:
        endpoint: the hub's side.
        loop: the asyncio loop.

    Attributes:
        scope: the scope of the application.
        path: the path of the websocket, for the log.
        received: bytes of messages that the application has received.
        task: the task of the application, once `AsgiHost` has started it.
    """

    def __init__(self, endpoint: AsgiEndpoint, loop: AsyncioLoop) -> None:
        self.scope = endpoint.scope
        self.path: str = endpoint.scope["path"]
        self.received = 0
        self.task: asyncio.Task[None]
        self._endpoint = endpoint
        self._loop = loop
        self._state = State.CONNECTING
        self._deadline: asyncio.TimerHandle | None = None
        self._handed = 0
        self._waiting = 0  # calls of `send` that wait for room
        self._room = asyncio.Event()
        self._events: deque[tuple[Message, int]] = deque([({"type": "websocket.connect"}, 0)])
        self._arrived = asyncio.Event()
        self._disconnect: Message | None = None
        self._answer: tuple[int, list[tuple[str, str]]] | None = None
        self._body = b""

    # Called by the hub's side

    def put(self, data: Data, size: int) -> None:
        """Queue a message of the client."""
        key, other = ("text", "bytes") if isinstance(data, str) else ("bytes", "text")
        event = {"type": "websocket.receive", key: data, other: None}
        self._loop.call(self._put, event, size)

    def on_room(self) -> None:
        """Let `send` go on if it waits."""
        if self._waiting:
            self._loop.call(self._room.set)

    def end(self, code: int, reason: str) -> None:
        """Queue the disconnect event; the application has `CANCEL_AFTER` seconds from then."""
        self._loop.call(self._end, code, reason)

    def on_gap(self) -> None:
        """Close the websocket, as messages of a channel layer may be lost; from any thread."""
        endpoint = self._endpoint
        endpoint.call(endpoint.close, MESSAGES_LOST.code, MESSAGES_LOST.reason)

    def _put(self, event: Message, size: int) -> None:
        self._events.append((event, size))
        self._arrived.set()

    def _end(self, code: int, reason: str) -> None:
        self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._arrived.set()
        self._room.set()
        if not self.task.done():
            self._deadline = self._loop.asyncio.call_later(CANCEL_AFTER, self._give_up)

    def _give_up(self) -> None:
        log.warning(
            "the application at %r still ran %.0f seconds after its websocket had ended,"
            " so it is cancelled",
            self.path,
            CANCEL_AFTER,
        )
        self.cancel()

    def cancel(self) -> None:
        """Cancel the application."""
        self.task.cancel()

    def on_return(self) -> None:
        """Forget the deadline of an application that has returned."""
        if self._deadline is not None:
            self._deadline.cancel()

    # The application

    async def run(self, app: Any) -> None:
        """Run the application until it returns, and answer for it if it fails."""
        try:
            await app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            return
        except (asyncio.CancelledError, GeneratorExit):
            self.fail("was cancelled")
            raise
        except BaseException:  # SystemExit must not end the loop
            log.exception("the application at %r failed", self.path)
            self.fail(None)
        else:
            if self._state is State.OPEN and self._disconnect is None:
                self._close({})
            else:
                self.fail("returned without answering the handshake")

    def fail(self, how: str | None) -> None:
        """Refuse the handshake with 500, or close the websocket with 1011."""
        state, self._state = self._state, State.CLOSED
        if self._disconnect is not None or state is State.CLOSED:
            return
        if how is not None:
            log.error("the application at %r %s", self.path, how)
        if state is State.OPEN:
            code = APPLICATION_ERROR
            self._endpoint.call(self._endpoint.close, code.code, code.reason)
        else:
            self._endpoint.call(self._endpoint.refuse, HandshakeError(500, SERVER_ERROR))

    async def receive(self) -> Message:
        """Return the next event; after the end, the disconnect event again and again."""
        while not self._events:
            if self._disconnect is not None:
                return self._disconnect
            self._arrived.clear()
            await self._arrived.wait()
        event, size = self._events.popleft()
        if size:
            self.received += size
            endpoint = self._endpoint
            if endpoint.held and endpoint.queued - self.received < MAX_QUEUED // 2:
                endpoint.call(endpoint.release)
        return event

    async def send(self, event: Message) -> None:
        """Send an event to the client; wait while the client reads too slowly.

        Raises:
            ClientDisconnected: the websocket has ended.
            RuntimeError: the event is not allowed now.
            ValueError: the event is not valid.
        """
        kind = event["type"]
        match self._state, kind:
            case State.OPEN, "websocket.send":
                await self._send_message(event)
            case State.OPEN, "websocket.close":
                self._close(event)
            case State.CONNECTING, "websocket.accept":
                self._accept(event)
            case State.CONNECTING, "websocket.close":
                self._deny()
            case State.CONNECTING, "websocket.http.response.start":
                self._start_response(event)
            case State.REFUSING, "websocket.http.response.body":
                self._continue_response(event)
            case _:
                self._connected()
                raise RuntimeError(
                    UNEXPECTED.format(kind, self._state.value, EXPECTED[self._state])
                )

    def _connected(self) -> None:
        """Check that the websocket has not ended by itself."""
        if self._disconnect is not None and self._state is not State.CLOSED:
            raise ClientDisconnected(GONE)

    def _accept(self, event: Message) -> None:
        self._connected()
        subprotocol = event.get("subprotocol")
        headers = _headers(event)
        check_answer(subprotocol, tuple(self._endpoint.scope["subprotocols"]), headers)
        self._state = State.OPEN
        self._endpoint.call(self._endpoint.accept, subprotocol, headers)

    def _deny(self) -> None:
        self._connected()
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.refuse, PermissionDenied(REFUSED))

    async def _send_message(self, event: Message) -> None:
        text, data = event.get("text"), event.get("bytes")
        message: Any = text if text is not None else data
        if (text is None) == (data is None) or not isinstance(message, str | bytes):
            raise ValueError("websocket.send needs either text, a str, or bytes.")
        self._connected()
        if isinstance(message, str):
            message.encode()  # surrogates raise here, in the application
        endpoint = self._endpoint
        self._handed += len(message) + OVERHEAD
        endpoint.call(endpoint.send, message)
        if self._is_ahead():
            self._waiting += 1  # before it looks again, so that it is told of room made since
            try:
                while self._is_ahead():
                    if self._disconnect is not None:
                        raise ClientDisconnected(GONE)
                    self._room.clear()
                    await self._room.wait()
            finally:
                self._waiting -= 1

    def _is_ahead(self) -> bool:
        """Return whether the application sends faster than the client reads."""
        endpoint = self._endpoint
        return endpoint.full or self._handed - endpoint.taken > MAX_HANDED

    def _close(self, event: Message) -> None:
        code = event.get("code", CloseCode.NORMAL_CLOSURE)
        code = CloseCode.NORMAL_CLOSURE if code is None else code
        if code not in VALID:
            raise ValueError(INVALID_CODE.format(code))
        reason = event.get("reason") or ""
        if not isinstance(reason, str):
            raise ValueError("The reason of websocket.close is not a str.")
        reason.encode()  # surrogates raise here, in the application
        self._connected()
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.close, int(code), reason)

    def _start_response(self, event: Message) -> None:
        self._connected()
        self._answer = event["status"], _headers(event)
        self._state = State.REFUSING

    def _continue_response(self, event: Message) -> None:
        self._connected()
        self._body += event.get("body", b"")
        if event.get("more_body", False):
            return
        assert self._answer is not None  # since the start
        status, headers = self._answer
        kind = "text/plain; charset=utf-8"
        others = []
        for name, value in headers:
            if name.lower() == "content-type":
                kind = value
            elif name.lower() not in ("content-length", "connection", "transfer-encoding"):
                others.append((name, value))
        error = HandshakeError(status, REFUSED, others, body=self._body, content_type=kind)
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.refuse, error)


def _headers(event: Message) -> list[tuple[str, str]]:
    pairs = event.get("headers") or ()
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


GONE = "the client has disconnected"

REFUSED = "The application has refused this websocket."

UNEXPECTED = "{0!r} cannot be sent while the websocket is {1}: send {2}."

EXPECTED = {
    State.CONNECTING: ("websocket.accept, websocket.close or websocket.http.response.start"),
    State.REFUSING: "websocket.http.response.body",
    State.OPEN: "websocket.send or websocket.close",
    State.CLOSED: "nothing more",
}
