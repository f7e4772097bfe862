"""One run of an ASGI application: the application's side of a websocket.

All methods run on the asyncio loop, except those that `AsgiEndpoint` calls: `put`, `on_room` and
`end` can be called from any thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ..exceptions import BrokerUnavailable
from ..message import Data
from ..protocol.closing import MESSAGES_LOST, NOT_PUBLISHED
from ..runtime.logs import get_logger
from .conversation import ClientDisconnected, Conversation, Event
from .endpoint import MAX_QUEUED, OVERHEAD, AsgiEndpoint
from .loop import AsyncioLoop

__all__ = ["Run"]

log = get_logger("wsredis.asgi")

MAX_HANDED = 1 << 16
"""Bytes handed to the hub's side that it has not given to the connection; above it, send waits."""

CANCEL_AFTER = 10.0
"""Seconds after the disconnect event in which the application has to return."""


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
        self._conversation = Conversation(endpoint)
        self._deadline: asyncio.TimerHandle | None = None
        self._handed = 0
        self._waiting = 0  # calls of `send` that wait for room
        self._room = asyncio.Event()
        self._events: deque[tuple[Event, int]] = deque([({"type": "websocket.connect"}, 0)])
        self._arrived = asyncio.Event()

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

    def _put(self, event: Event, size: int) -> None:
        self._events.append((event, size))
        self._arrived.set()

    def _end(self, code: int, reason: str) -> None:
        disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._conversation.disconnect = disconnect
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
        """Forget the deadline and the events of an application that has returned."""
        self._events = deque(maxlen=0)  # what still arrives is freed at once, too
        if self._deadline is not None:
            self._deadline.cancel()

    # The application

    async def run(self, app: Any) -> None:
        """Run the application until it returns, and answer for it if it fails."""
        try:
            await app(self.scope, self.receive, self.send)
        except (asyncio.CancelledError, GeneratorExit):
            self.fail("was cancelled")
            raise
        except BrokerUnavailable as exc:  # of a channel layer of this package
            log.warning("the application at %r cannot use its channel layer: %s", self.path, exc)
            self._conversation.fail(503, NOT_PUBLISHED)
        except BaseException as exc:  # SystemExit must not end the loop
            # The websocket that has ended may be another one, to which it sends, too.
            if not isinstance(exc, ClientDisconnected) or self._conversation.disconnect is None:
                log.exception("the application at %r failed", self.path)
                self.fail(None)
        else:
            if (wrong := self._conversation.end()) is not None:
                log.error("the application at %r %s", self.path, wrong)

    def fail(self, how: str | None) -> None:
        """Refuse the handshake with 500, or close the websocket with 1011."""
        if self._conversation.fail() and how is not None:
            log.error("the application at %r %s", self.path, how)

    async def receive(self) -> Event:
        """Return the next event; after the end, the disconnect event again and again."""
        while not self._events:
            if (disconnect := self._conversation.disconnect) is not None:
                await asyncio.sleep(0)  # an application may receive it in an endless loop
                return disconnect
            self._arrived.clear()
            await self._arrived.wait()
        event, size = self._events.popleft()
        if size:
            self.received += size
            endpoint = self._endpoint
            if endpoint.held and endpoint.queued - self.received < MAX_QUEUED // 2:
                endpoint.call(endpoint.release)
        return event

    async def send(self, event: Event) -> None:
        """Send an event to the client; wait while the client reads too slowly.

        Raises:
            ClientDisconnected: the websocket has ended.
            RuntimeError: the event is not allowed now.
            ValueError: the event is not valid.
        """
        message = self._conversation.send(event)
        if message is None:
            return
        endpoint = self._endpoint
        self._handed += len(message) + OVERHEAD
        endpoint.call(endpoint.send, message)
        if self._is_ahead():
            self._waiting += 1  # before it looks again, so that it is told of room made since
            try:
                while self._is_ahead():
                    self._conversation.check_connected()
                    self._room.clear()
                    await self._room.wait()
            finally:
                self._waiting -= 1

    def _is_ahead(self) -> bool:
        """Return whether the application sends faster than the client reads."""
        endpoint = self._endpoint
        return endpoint.full or self._handed - endpoint.taken > MAX_HANDED
