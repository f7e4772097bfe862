"""The delivery of a group's events to the synchronous consumers of a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..hub.encoding import Encoded
from ..hub.hub import Hub
from ..layers.registry import get_channel_layer
from ..message import Message
from ..protocol.closing import APPLICATION_ERROR
from ..runtime.logs import get_logger
from ..runtime.loop import Loop
from .base import SyncConsumer
from .events import Event, result_event
from .exceptions import UnknownEvent
from .run import RESULT, ConsumerRun

__all__ = ["ConsumerKind"]

log = get_logger("wsredis.consumers")

Copy = Callable[[], dict[str, Any]]


class Shared(NamedTuple):
    """The result of a shared handler, for all steps in which it is sent.

    Attributes:
        event: the event that sends it to one client.
        encoded: the same message, for clients to which it can be written at once.
    """

    event: Event
    encoded: Encoded


class ConsumerKind:
    """The consumers of one class, for the groups that they are members of.

    Args:
        hub: the hub of their websockets.
        loop: the loop of the hub.
        consumer: the class.

    Attributes:
        consumer: that argument.
        capacity: maximum number of events that wait in one consumer.
    """

    def __init__(self, hub: Hub, loop: Loop, consumer: type[SyncConsumer]) -> None:
        self.consumer = consumer
        self._hub = hub
        self._loop = loop
        self._layer = get_channel_layer(consumer.channel_layer_alias)
        self.capacity = self._layer.capacity
        # By what copies an event, which lives until the last step of its delivery.
        self._results: WeakKeyDictionary[Copy, Shared | None] = WeakKeyDictionary()

    def drop(self) -> None:
        """Count an event that is not delivered, as too many wait already."""
        self._layer.drop(self.consumer.__qualname__, f"{self.capacity} events wait already")

    def deliver(self, members: Sequence[ConsumerRun], copy: Copy) -> None:
        """Give an event to some members; see `wsredis.layers.members.Kind`."""
        loop = self._loop
        if loop.is_here:
            self._deliver(members, copy)
        else:
            loop.soon(self._deliver, members, copy)

    def _deliver(self, members: Sequence[ConsumerRun], copy: Copy) -> None:
        event = copy()
        handlers = self.consumer.handlers
        try:
            if handlers.refuses(event):
                return
            handler = handlers.find(event)
        except UnknownEvent:
            handler = None  # each consumer fails
        if handler is not None and handler.is_shared:
            if copy not in self._results:
                self._results[copy] = self._call_shared(handler.name, event)
            self._send_shared(members, self._results[copy])
        else:
            for member in members:
                member.on_event(copy())

    def _call_shared(self, name: str, event: Event) -> Shared | None:
        """Return the result of a shared handler; None if it has failed."""
        handler = getattr(self.consumer, name)
        try:
            data = handler(event)
            result = result_event(data)
            is_binary = isinstance(data, bytes)
            message = Message("", data if is_binary else data.encode(), is_binary)
        except BaseException:  # SystemExit must not end the loop, nor GreenletExit its greenlet
            log.exception("%s failed", handler.__qualname__)
            return None
        return Shared(result, Encoded((message,)))

    def _send_shared(self, members: Sequence[ConsumerRun], result: Shared | None) -> None:
        """Send the result of a shared handler to some members."""
        if result is None:
            for member in members:
                member.close(APPLICATION_ERROR)
            return
        clients = []
        for member in members:
            client = member.client or member.idle_client()
            if client is None:
                member.on_event(result.event, RESULT)
            else:
                clients.append(client)
        if clients:
            self._hub.send(clients, result.encoded)
