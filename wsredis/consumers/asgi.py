"""Consumers on an ASGI server, or hosted by `wsredis.asgi`.

The events of the websocket and of the channel layer are handled strictly one after the other; if
both have one, that of the websocket comes first.

asyncio is imported by functions, as synchronous consumers in this process do not need it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ..exceptions import BrokerUnavailable, MessagesLost
from ..layers.base import ChannelLayer
from ..layers.calls import Finished
from ..protocol.closing import MESSAGES_LOST, NOT_PUBLISHED
from ..protocol.http import RETRY_SOON
from .events import Event, Receive, Send, close_event
from .exceptions import InvalidMessage, StopConsumer
from .handlers import Handlers

__all__ = ["Session", "ThreadSession", "in_thread"]

log = logging.getLogger("wsredis.consumers")

Dispatch = Callable[[Event], Awaitable[None]]

UNAVAILABLE = b"This websocket cannot be opened at the moment; try again."


class Session:
    """The websocket and the channel of a consumer on an ASGI server.

    Args:
        handlers: those of the consumer.
        layer: its channel layer.
        receive: that of the server.
        send: that of the server.
        can_respond: whether a handshake can be refused with any status.

    Attributes:
        channel_name: the name of the channel.
        layer: that argument.
    """

    def __init__(
        self,
        handlers: Handlers,
        layer: ChannelLayer,
        receive: Receive,
        send: Send,
        can_respond: bool,
    ) -> None:
        self.channel_name: str
        self.layer = layer
        self._handlers = handlers
        self._receive = receive
        self._send = send
        self._can_respond = can_respond
        self._accepted = False
        self._closed = False  # only the disconnect event is handled then
        self._send_error: OSError | None = None

    async def send(self, event: Event) -> None:
        """Send an event to the client, for the consumer.

        Raises:
            OSError: the client has gone (ASGI websocket protocol 2.4).
        """
        try:
            await self._send(event)
        except OSError as exc:
            self._send_error = exc
            raise
        self._accepted = self._accepted or event["type"] == "websocket.accept"
        self._closed = self._closed or event["type"] == "websocket.close"

    async def run(self, dispatch: Dispatch) -> None:
        """Let a consumer handle events until it stops.

        Args:
            dispatch: handles an event.
        """
        try:
            self.channel_name = await self.layer.new_channel()
            await self._handle(dispatch)
        except StopConsumer:
            pass
        except BrokerUnavailable as exc:
            log.warning("%s cannot use its channel layer: %s", self._handlers.of, exc)
            await self._fail(NOT_PUBLISHED.code, NOT_PUBLISHED.reason)

    async def _handle(self, dispatch: Dispatch) -> None:
        import asyncio

        receive_event = partial(self.layer.receive, self.channel_name)
        sources: tuple[Callable[[], Awaitable[Event]], ...] = (self._receive, receive_event)
        tasks = [asyncio.ensure_future(source()) for source in sources]
        try:
            while True:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for index, source in enumerate(sources):
                    if tasks[index].done():
                        done, tasks[index] = tasks[index], asyncio.ensure_future(source())
                        await self._take(done, dispatch, from_layer=index == 1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, done: Any, dispatch: Dispatch, from_layer: bool) -> None:
        """Let the consumer handle the event that a task has received."""
        try:
            event = done.result()
        except MessagesLost:
            await self._fail(MESSAGES_LOST.code, MESSAGES_LOST.reason)
            return
        is_end = not from_layer and event["type"] == "websocket.disconnect"
        if (self._closed and not is_end) or (from_layer and self._handlers.refuses(event)):
            return
        try:
            await dispatch(event)
            if is_end:  # which the server may give again and again
                raise StopConsumer
        except InvalidMessage as exc:
            log.info("%s closes its websocket: %s", self._handlers.of, exc)
            await self._close(exc.code, exc.reason)
        except OSError as exc:
            # If the client has gone, the disconnect event follows, and is handled, too.
            if exc is not self._send_error or is_end:
                raise

    async def _fail(self, code: int, reason: str) -> None:
        """Close the websocket for a reason of the server, or refuse the handshake with 503."""
        if self._accepted or not self._can_respond:
            await self._close(code, reason)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        headers += [(name.lower().encode(), value.encode()) for name, value in RETRY_SOON]
        start = {"type": "websocket.http.response.start", "status": 503, "headers": headers}
        self._closed = True
        with suppress(OSError, RuntimeError):  # as in `_close`
            await self._send(start)
            await self._send({"type": "websocket.http.response.body", "body": UNAVAILABLE})

    async def _close(self, code: int, reason: str) -> None:
        self._closed = True
        with suppress(OSError, RuntimeError):  # it may have ended, or be closed already
            await self._send(close_event(code, reason))


class ThreadSession:
    """A session as the handlers of a synchronous consumer use it, in a thread."""

    def __init__(self, session: Session) -> None:
        import asyncio

        self._session = session
        self._loop = asyncio.get_running_loop()

    def send(self, event: Event) -> None:
        import asyncio

        asyncio.run_coroutine_threadsafe(self._session.send(event), self._loop).result()

    def channel_name(self) -> str:
        return self._session.channel_name

    def group_add(self, group: str) -> None:
        self._finish(self._session.layer.group_add(group, self._session.channel_name))

    def group_discard(self, group: str) -> None:
        self._finish(self._session.layer.group_discard(group, self._session.channel_name))

    def group_send(self, group: str, event: dict[str, Any]) -> None:
        self._finish(self._session.layer.group_send(group, event))

    def _finish(self, call: Awaitable[None]) -> None:
        """Wait for a call of the layer; those of the layers of wsredis are finished already."""
        import asyncio

        if not isinstance(call, Finished):
            asyncio.run_coroutine_threadsafe(_awaited(call), self._loop).result()


async def _awaited(call: Awaitable[None]) -> None:
    await call


async def in_thread(function: Callable[[Event], None], event: Event) -> None:
    """Call a function in a thread; in that of asgiref if it is in use, for Django's database."""
    asgiref = sys.modules.get("asgiref.sync")
    if asgiref is None:
        import asyncio

        await asyncio.to_thread(function, event)
    else:
        await asgiref.sync_to_async(function, thread_sensitive=True)(event)
