"""The base classes of consumers.

A consumer has a method for each type of event, of the websocket and of its channel layer, and
handles one event after the other. Each is an ASGI 3 application, so that it also runs on any ASGI
server (see `wsredis.consumers.asgi`). In this process, `wsredis.consumers.run` runs synchronous
consumers without asyncio.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial, update_wrapper
from typing import Any, ClassVar, Protocol

from ..layers.base import ChannelLayer
from ..layers.registry import DEFAULT_CHANNEL_LAYER, get_channel_layer
from .asgi import Session, ThreadSession, in_thread
from .events import Event, Receive, Send, result_event
from .exceptions import UnknownEvent
from .handlers import Handlers, handler_name

__all__ = ["AsyncConsumer", "Consumer", "SyncConsumer", "SyncRun"]


class SyncRun(Protocol):
    """What runs a synchronous consumer; the methods may block."""

    def send(self, event: Event) -> None:
        """Send an event of the ASGI protocol to the client."""

    def channel_name(self) -> str:
        """Return the name of the consumer's own channel, which is opened at the first call."""

    def group_add(self, group: str) -> None:
        """Add the consumer to a group."""

    def group_discard(self, group: str) -> None:
        """Remove the consumer from a group."""

    def group_send(self, group: str, event: dict[str, Any]) -> None:
        """Send an event to all members of a group."""


class Consumer:
    """The common part of consumers.

    Attributes:
        channel_layer_alias: the name of the channel layer.
        handlers: the handlers of the class.
        scope: the scope of the ASGI protocol.
        channel_layer: the channel layer.
    """

    channel_layer_alias: str = DEFAULT_CHANNEL_LAYER
    handlers: ClassVar[Handlers]
    scope: dict[str, Any]
    channel_layer: ChannelLayer
    _wsredis_is_async: ClassVar[bool]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.handlers = Handlers(cls, cls._wsredis_is_async)

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """Return an ASGI application that makes a consumer for each scope.

        Args:
            **initkwargs: arguments of the class.
        """

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await cls(**initkwargs)(scope, receive, send)

        app.consumer_class = cls  # type: ignore[attr-defined]
        app.consumer_initkwargs = initkwargs  # type: ignore[attr-defined]
        return update_wrapper(app, cls, assigned=("__module__", "__name__", "__doc__"), updated=())

    @abstractmethod
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Handle the events of a scope on an ASGI server."""

    def _wsredis_begin(self, scope: dict[str, Any], receive: Receive, send: Send) -> Session:
        """Return the session of this consumer on an ASGI server.

        Raises:
            ValueError: the scope is that of the server, which starts or ends.
        """
        if scope["type"] == "lifespan":  # before a channel is opened for it
            raise ValueError("a consumer does not support the lifespan protocol")
        self.scope = scope
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        can_respond = "websocket.http.response" in (scope.get("extensions") or {})
        return Session(self.handlers, self.channel_layer, receive, send, can_respond)


class SyncConsumer(Consumer):
    """A consumer whose handlers are plain functions, which may block."""

    _wsredis_is_async = False
    _wsredis_run: SyncRun

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Handle the events of a scope on an ASGI server, in a thread."""
        session = self._wsredis_begin(scope, receive, send)
        self._wsredis_run = ThreadSession(session)
        await session.run(partial(in_thread, self.dispatch))

    @property
    def channel_name(self) -> str:
        """Return the name of the channel that only this consumer receives."""
        return self._wsredis_run.channel_name()

    def dispatch(self, message: Event) -> None:
        """Handle an event.

        Raises:
            UnknownEvent: there is no handler for it.
        """
        handler = self.handlers.find(message)
        result = getattr(self, handler.name)(message)
        if handler.is_shared:
            self._wsredis_run.send(result_event(result))

    def send(self, message: Event) -> None:
        """Send an event of the ASGI protocol to the client."""
        self._wsredis_run.send(message)

    def group_add(self, name: str) -> None:
        """Add this consumer to a group."""
        self._wsredis_run.group_add(name)

    def group_discard(self, name: str) -> None:
        """Remove this consumer from a group."""
        self._wsredis_run.group_discard(name)

    def group_send(self, name: str, event: dict[str, Any]) -> None:
        """Send an event to all members of a group.

        Raises:
            TypeError: the name is not valid, or the event is not a dict or cannot be serialized.
            ValueError: the event has no type that can name a handler.
        """
        self._wsredis_run.group_send(name, _checked(event))


class AsyncConsumer(Consumer):
    """A consumer whose handlers are coroutine functions, which run on an asyncio loop."""

    _wsredis_is_async = True
    _wsredis_session: Session

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Handle the events of a scope."""
        self._wsredis_session = self._wsredis_begin(scope, receive, send)
        await self._wsredis_session.run(self.dispatch)

    @property
    def channel_name(self) -> str:
        """Return the name of the channel that only this consumer receives."""
        return self._wsredis_session.channel_name

    async def dispatch(self, message: Event) -> None:
        """Handle an event.

        Raises:
            UnknownEvent: there is no handler for it.
        """
        handler = self.handlers.find(message)
        result = getattr(self, handler.name)(message)
        if handler.is_shared:
            await self._wsredis_session.send(result_event(result))
        else:
            await result

    async def send(self, message: Event) -> None:
        """Send an event of the ASGI protocol to the client."""
        await self._wsredis_session.send(message)

    async def group_add(self, name: str) -> None:
        """Add this consumer to a group."""
        await self.channel_layer.group_add(name, self.channel_name)

    async def group_discard(self, name: str) -> None:
        """Remove this consumer from a group."""
        await self.channel_layer.group_discard(name, self.channel_name)

    async def group_send(self, name: str, event: dict[str, Any]) -> None:
        """Send an event to all members of a group; see `SyncConsumer.group_send`."""
        await self.channel_layer.group_send(name, _checked(event))


def _checked(event: Any) -> dict[str, Any]:
    """Return an event to send, if it can have a handler.

    Raises:
        TypeError: it is not a dict.
        ValueError: it has no type that can name a handler.
    """
    if not isinstance(event, dict):
        raise TypeError(f"an event must be a dict, not {type(event).__name__}")
    try:
        handler_name(event)
    except UnknownEvent as exc:  # which is about an event that has arrived
        raise ValueError(*exc.args) from None
    return event
