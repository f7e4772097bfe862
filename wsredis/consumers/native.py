"""Synchronous consumers in this process, without asyncio.

The hub's side of a websocket is `AsgiEndpoint`, as for ASGI applications; `ConsumerRun` is the
consumer's side. Its handlers run in steps, one for each event, by a runner.

Invariant: a run is known to its runner (``_scheduled``) exactly while events wait or one is being
handled. So the events of one consumer are handled one after the other.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gevent
from gevent.event import Event as GeventEvent
from gevent.monkey import is_module_patched

from ..asgi.calls import Calls
from ..asgi.conversation import ClientDisconnected, Conversation
from ..asgi.endpoint import MAX_QUEUED, OVERHEAD, AsgiEndpoint
from ..asgi.lending import lend
from ..endpoints.base import EndpointContext
from ..exceptions import BrokerUnavailable
from ..hub.encoding import Encoded
from ..layers.calls import allocate_lock
from ..layers.registry import get_channel_layer
from ..message import Data, Message
from ..process import Process
from ..protocol.closing import APPLICATION_ERROR, MESSAGES_LOST, NOT_PUBLISHED, Closing
from ..runtime.logs import Seldom, get_logger
from .base import SyncConsumer
from .events import Event, close_event, result_event
from .exceptions import InvalidMessage, StopConsumer, UnknownEvent
from .hooks import after_handlers, around_handlers
from .runner import GreenletRunner, Runner, ThreadRunner

Copy = Callable[[], dict[str, Any]]

__all__ = ["ConsumerHost", "ConsumerKind", "ConsumerRun"]

log = get_logger("wsredis.consumers")

_seldom = Seldom()

MAX_HANDED = 1 << 16
"""Bytes handed to the hub's side that it has not given to the connection; above it, send waits."""

CONNECT: Event = {"type": "websocket.connect"}

FROM_LAYER, RESULT = -1, -2
"""In place of the size of a message of the client: other kinds of events that wait."""

POLL = 0.01
"""Seconds between two looks at whether all consumers have ended."""


class ConsumerHost:
    """The host of the synchronous consumers of one process.

    Args:
        process: the process object, whose hub has the websockets.

    Attributes:
        config: the options of the middleware.
        hub: the hub of the websockets.
        loop: the loop of the hub.
        in_greenlets: whether handlers run in greenlets on that loop.
        make_event: makes an event for which handlers can wait.
        runner: runs the handlers.
        runs: the runs that have not ended.
        around: functions to call before and after each handler.
    """

    def __init__(self, process: Process) -> None:
        self.config = process.config
        self.hub = process.hub
        self.loop = process.loop
        self.in_greenlets = is_module_patched("threading")
        self.make_event: Callable[[], Any] = GeventEvent if self.in_greenlets else threading.Event
        self.runner: Runner = (
            GreenletRunner(self._on_begin, self._on_end)
            if self.in_greenlets
            else ThreadRunner(self.config.handler_threads, self._on_end)
        )
        self.runs: set[ConsumerRun] = set()
        self.around: tuple[Callable[[], None], ...] = tuple(around_handlers)
        self._asyncio_loop = process.asyncio_loop
        self._kinds: dict[type, ConsumerKind] = {}
        # In greenlets a message is written at once; threads wake the loop once for several.
        self.call_hub = self._call_here if self.in_greenlets else Calls(self.loop.soon).add
        self.hub.on_drained.append(self.drain)

    def endpoint(
        self,
        request: Any,
        context: EndpointContext,
        consumer: type[SyncConsumer],
        initkwargs: dict[str, Any],
    ) -> AsgiEndpoint:
        """Return the endpoint of a new websocket for a class of consumers."""
        start = partial(ConsumerRun, self, consumer, initkwargs)
        return AsgiEndpoint(start, self.call_hub, request, context)

    def _call_here(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function on the hub's loop; from any thread, at once on that of the loop."""
        if self.loop.is_here:
            function(*args)
        else:
            self.loop.soon(function, *args)

    def kind(self, consumer: type[SyncConsumer]) -> ConsumerKind:
        """Return the kind of the members of groups that are of a class."""
        kind = self._kinds.get(consumer)
        if kind is None:
            kind = self._kinds.setdefault(consumer, ConsumerKind(self, consumer))
        return kind

    def _on_begin(self) -> None:
        """Let ``async_to_sync`` work in the handlers of a greenlet, if asgiref is in use."""
        if "asgiref.sync" in sys.modules:
            lend(self._asyncio_loop())

    def _on_end(self) -> None:
        """Release what the handlers of a greenlet or thread have left."""
        for function in after_handlers:
            function()

    def drain(self) -> None:
        """Let the consumers handle the end; blocks at most ``shutdown_timeout``."""
        until = time.monotonic() + self.config.shutdown_timeout
        while self.runs and time.monotonic() < until:
            gevent.sleep(POLL)
        self.runner.close()


class ConsumerRun:
    """The run of a consumer for one websocket: a member of its groups, too.

    Args:
        host: the host of the consumer.
        consumer: the class.
        initkwargs: the arguments of the class.
        endpoint: the hub's side.

    Attributes:
        client: the client, while it is known that a message can be sent to it at once.
        received: bytes of messages that the consumer has received.
        kind: delivers the events of its groups.
        groups: its groups; changed by the channel layer only.
        max_groups: how many they may be.
        ended: whether the consumer handles no more events.
    """

    __slots__ = (
        *("_consumer", "_conversation", "_endpoint", "_events", "_handed", "_host", "_initkwargs"),
        *("_layer_queued", "_layer_taken", "_lock", "_name", "_scheduled", "_waiters"),
        *("client", "ended", "groups", "kind", "max_groups", "received", "__weakref__"),
    )

    def __init__(
        self,
        host: ConsumerHost,
        consumer: type[SyncConsumer],
        initkwargs: dict[str, Any],
        endpoint: AsgiEndpoint,
    ) -> None:
        self.client: Any = None
        self.received = 0
        self.ended = False
        self.kind = host.kind(consumer)
        self._host = host
        self._endpoint = endpoint
        self._initkwargs = initkwargs
        self._consumer: SyncConsumer | None = None
        self._conversation = Conversation(endpoint)
        self._events: deque[tuple[Event, int]] = deque([(CONNECT, 0)])
        # Events of the layer. Each only grows and has one writer: the hub's loop, and `step`.
        self._layer_queued = 0
        self._layer_taken = 0
        self._lock = allocate_lock()
        self._scheduled = True
        self.groups: set[str] = set()
        most = host.config.max_handshake_channels
        self.max_groups = math.inf if most is None else most
        self._name: str | None = None
        self._handed = 0
        self._waiters: tuple[Any, ...] = ()  # in `send`; replaced under the lock
        host.runs.add(self)
        host.runner.add(self)

    # Called by the hub's side

    def put(self, data: Data, size: int) -> None:
        """Queue a message of the client."""
        key, other = ("text", "bytes") if isinstance(data, str) else ("bytes", "text")
        self._put({"type": "websocket.receive", key: data, other: None}, size)

    def on_room(self) -> None:
        """Let `send` go on, in all threads and greenlets in which it waits."""
        for waiter in self._waiters:
            waiter.set()

    def end(self, code: int, reason: str) -> None:
        """Queue the disconnect event."""
        event = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._conversation.disconnect = event
        self._put(event, 0)
        self.on_room()

    # Called by the channel layer

    def on_event(self, event: Event, kind: int = FROM_LAYER) -> None:
        """Queue an event of the channel layer, or the result of a shared handler for it."""
        if self._layer_queued - self._layer_taken >= self.kind.capacity:
            self.kind.drop()
            return
        self._layer_queued += 1
        self._put(event, kind)

    def on_gap(self) -> None:
        """Close the websocket, as events may be lost."""
        if self._host.config.on_gap == "close":
            self.close(MESSAGES_LOST)

    def close(self, closing: Closing) -> None:
        """Close the websocket, or refuse its handshake."""
        endpoint = self._endpoint
        endpoint.call(endpoint.close, closing.code, closing.reason)

    def _put(self, event: Event, size: int) -> None:
        with self._lock:
            self._events.append((event, size))
            self.client = None
            if self._scheduled or self.ended:
                return
            self._scheduled = True
        self._host.runner.add(self)

    def idle_client(self) -> Any:
        """Return the client, if a message can be sent to it at once; else None.

        That is if no event waits or is being handled, and no message waits to be sent, neither in
        the connection nor on its way to it from a thread.
        """
        endpoint = self._endpoint
        ahead = endpoint.full or endpoint.taken != self._handed
        if self._scheduled or ahead or not self._conversation.is_open:
            return None
        if self._host.in_greenlets:  # a thread could hand over a message just now
            self.client = endpoint.connection
        return endpoint.connection

    # The handlers

    def step(self) -> None:
        """Handle the next event."""
        event, size = self._events.popleft()
        if size > 0:
            self._count(size)
        elif size < 0:
            self._layer_taken += 1
        try:
            if event is CONNECT and self._conversation.disconnect is not None:
                self._finish(None)  # the client has gone while all threads were busy
            elif not self._conversation.is_closed or event is self._conversation.disconnect:
                self._handle(event, size)
            if event is self._conversation.disconnect:
                self._finish(None)
        except StopConsumer:
            self._finish(None)
        except InvalidMessage as exc:
            self._close(exc)
        except ClientDisconnected as exc:
            if event is self._conversation.disconnect:
                self._finish(exc)  # else that event waits, and is handled, too
        except BaseException as exc:  # SystemExit must not end the thread
            self._finish(exc)
        with self._lock:
            self._scheduled = bool(self._events) and not self.ended
            if not self._scheduled:
                return
        self._host.runner.add(self)

    def _handle(self, event: Event, size: int) -> None:
        if size == RESULT:
            self.send(event)
            return
        consumer = self._consumer or self._begin()
        for function in self._host.around:
            function()
        try:
            consumer.dispatch(event)
        finally:
            for function in self._host.around:
                function()

    def _begin(self) -> SyncConsumer:
        consumer = self.kind.consumer(**self._initkwargs)
        consumer.scope = self._endpoint.scope
        consumer.channel_layer = get_channel_layer(consumer.channel_layer_alias)
        consumer._wsredis_run = self
        self._consumer = consumer
        return consumer

    def _count(self, size: int) -> None:
        self.received += size
        endpoint = self._endpoint
        if endpoint.held and endpoint.queued - self.received < MAX_QUEUED // 2:
            endpoint.call(endpoint.release)

    def _close(self, exc: InvalidMessage) -> None:
        log.info("%s closes its websocket: %s", self._what(), exc)
        with suppress(ClientDisconnected, RuntimeError):  # it may have ended, or be closed already
            self._conversation.send(close_event(exc.code, exc.reason))

    def _finish(self, exc: BaseException | None) -> None:
        """End the run."""
        self.ended = True
        self._events = deque(maxlen=0)  # what waits, or still arrives, is freed at once
        if exc is None:
            if (wrong := self._conversation.end()) is not None:
                log.error("%s %s", self._what(), wrong)
        elif isinstance(exc, BrokerUnavailable):
            log.warning("%s cannot use its channel layer: %s", self._what(), exc)
            self._conversation.fail(503, NOT_PUBLISHED)
        elif not isinstance(exc, ClientDisconnected):
            # An event of a group may have no handler in many consumers.
            if not isinstance(exc, UnknownEvent) or _seldom.passes(self.kind):
                log.error("%s failed", self._what(), exc_info=exc)
            self._conversation.fail()
        if self._consumer is not None:
            layer = self._consumer.channel_layer
            for group in tuple(self.groups):
                layer.leave(group, self)
            if self._name is not None:
                layer.end_channel(self._name)
        self._host.runs.discard(self)

    def _what(self) -> str:
        return f"{self.kind.consumer.__qualname__} at {self._endpoint.scope['path']!r}"

    # Called by the consumer; see `SyncRun`

    def send(self, event: Event) -> None:
        message = self._conversation.send(event)
        if message is None:
            return
        self.client = None
        endpoint = self._endpoint
        with self._lock:  # a consumer may send in several threads
            self._handed += len(message) + OVERHEAD
        endpoint.call(endpoint.send, message)
        if endpoint.full or self._handed - endpoint.taken > MAX_HANDED:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        endpoint = self._endpoint
        waiter = self._host.make_event()
        with self._lock:
            self._waiters = (*self._waiters, waiter)
        try:
            while endpoint.full or self._handed - endpoint.taken > MAX_HANDED:
                self._conversation.check_connected()
                waiter.wait()
                waiter.clear()
        finally:
            with self._lock:
                self._waiters = tuple(each for each in self._waiters if each is not waiter)

    def channel_name(self) -> str:
        if self._name is None:
            assert self._consumer is not None  # it calls this
            layer = self._consumer.channel_layer
            self._name = layer.open(self).result()
            if self.ended:  # a thread of its own has called this; `_finish` may have been earlier
                layer.end_channel(self._name)
        return self._name

    def group_send(self, group: str, event: dict[str, Any]) -> None:
        assert self._consumer is not None  # it calls this
        self._consumer.channel_layer.group_send(group, event)

    def group_add(self, group: str) -> None:
        assert self._consumer is not None  # it calls this
        layer = self._consumer.channel_layer
        layer.join(group, self)
        if self.ended:  # as in `channel_name`
            layer.leave(group, self)

    def group_discard(self, group: str) -> None:
        assert self._consumer is not None  # it calls this
        layer = self._consumer.channel_layer
        layer.require_valid_group_name(group)
        layer.leave(group, self)


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
        host: the host of the consumers.
        consumer: the class.

    Attributes:
        capacity: maximum number of events that wait in one consumer.
    """

    def __init__(self, host: ConsumerHost, consumer: type[SyncConsumer]) -> None:
        self.consumer = consumer
        self._host = host
        self._layer = get_channel_layer(consumer.channel_layer_alias)
        self.capacity = self._layer.capacity
        # By what copies an event, which lives until the last step of its delivery.
        self._results: WeakKeyDictionary[Copy, Shared | None] = WeakKeyDictionary()

    def drop(self) -> None:
        """Count an event that is not delivered, as too many wait already."""
        self._layer.drop(self.consumer.__qualname__, f"{self.capacity} events wait already")

    def deliver(self, members: Sequence[ConsumerRun], copy: Copy) -> None:
        """Give an event to some members; see `wsredis.layers.members.Kind`."""
        loop = self._host.loop
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
            self._host.hub.send(clients, result.encoded)
