"""A synchronous consumer of one websocket, without asyncio.

The hub's side of the websocket is `AsgiEndpoint`, as for ASGI applications; `ConsumerRun` is the
consumer's side. Its handlers run in steps, one for each event, by a runner.

Invariants:

* ``_scheduled`` is true exactly while events wait or one is being handled. In that time the run is
  known to its runner once, or ``_paused``. So the events of one consumer are handled one after the
  other.
* A run is paused while its client has too much to read. So a step begins with room for one message,
  and a consumer whose handlers send one message each holds no thread for a client that reads
  slowly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from ..asgi.conversation import ClientDisconnected, Conversation
from ..asgi.endpoint import MAX_QUEUED, OVERHEAD, AsgiEndpoint
from ..config import Config
from ..exceptions import BrokerUnavailable
from ..layers.calls import allocate_lock
from ..layers.members import Kind as MembersKind
from ..layers.registry import get_channel_layer
from ..message import Data
from ..protocol.closing import MESSAGES_LOST, NOT_PUBLISHED, Closing
from ..runtime.logs import Seldom, get_logger
from .base import SyncConsumer
from .events import Event, close_event
from .exceptions import InvalidMessage, StopConsumer, UnknownEvent
from .runner import Runner

__all__ = ["RESULT", "ConsumerRun"]

log = get_logger("wsredis.consumers")

_seldom = Seldom()

MAX_HANDED = 1 << 16
"""Bytes handed to the hub's side that it has not given to the connection; above it, send waits."""

CONNECT: Event = {"type": "websocket.connect"}

FROM_LAYER, RESULT = -1, -2
"""In place of the size of a message of the client: other kinds of events that wait."""


class Kind(MembersKind, Protocol):
    """The consumers of one class; see `kinds.ConsumerKind`."""

    consumer: type[SyncConsumer]
    capacity: int

    def drop(self) -> None: ...


class Host(Protocol):
    """What all consumers of a process have in common; see `host.ConsumerHost`."""

    config: Config
    runner: Runner
    runs: set[ConsumerRun]
    around: tuple[Callable[[], None], ...]
    make_event: Callable[[], Any]

    def kind(self, consumer: type[SyncConsumer]) -> Kind: ...
    def begin_wait(self, waiter: Any) -> float | None: ...
    def gives_up(self, run: ConsumerRun, waiter: Any) -> bool: ...
    def end_wait(self, waiter: Any) -> None: ...


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
        *("_consumer", "_conversation", "_endpoint", "_events", "_handed", "_has_sent", "_host"),
        *("_initkwargs", "_layer_queued", "_layer_taken", "_lock", "_name", "_paused"),
        *("_scheduled", "_waiters", "client", "ended", "groups", "kind"),
        *("max_groups", "received", "__weakref__"),
    )

    def __init__(
        self,
        host: Host,
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
        self._has_sent = False  # in this step
        self._paused = False
        self._waiters: tuple[Any, ...] = ()  # in `send`; replaced under the lock
        host.runs.add(self)
        host.runner.add(self)

    # Called by the hub's side

    def put(self, data: Data, size: int) -> None:
        """Queue a message of the client."""
        key, other = ("text", "bytes") if isinstance(data, str) else ("bytes", "text")
        self._put({"type": "websocket.receive", key: data, other: None}, size)

    def on_room(self) -> None:
        """Let `send` go on, in all threads and greenlets in which it waits, or the next step."""
        for waiter in self._waiters:
            waiter.set()
        if self._paused:
            self._resume()

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

    def kick(self, closing: Closing) -> bool:
        """Close the websocket without waiting for the client; return False if it closes already.

        Called on the hub's loop.
        """
        connection: Any = self._endpoint.connection
        kicked: bool = connection.kick(closing.code, closing.reason)
        return kicked

    def _put(self, event: Event, size: int) -> None:
        with self._lock:
            self._events.append((event, size))
            self.client = None
            if self._scheduled or self.ended:
                return
            self._scheduled = True
        self._schedule()

    def _schedule(self) -> None:
        """Let the next step be done, once there is room for what it sends."""
        if self._has_room():
            self._host.runner.add(self)
        else:
            self._paused = True  # before the next look, as room may come in another thread
            self._resume()

    def _resume(self) -> None:
        """Let the step that is paused be done, if there is room, or no client any more."""
        if not (self._has_room() or self._conversation.disconnect is not None):
            return
        with self._lock:
            if not self._paused:
                return
            self._paused = False
        self._host.runner.add(self)

    def _has_room(self) -> bool:
        endpoint = self._endpoint
        return not endpoint.full and self._handed - endpoint.taken <= MAX_HANDED

    def idle_client(self) -> Any:
        """Return the client, if a message can be sent to it at once; else None.

        That is if no event waits or is being handled, and no message waits to be sent, neither in
        the connection nor on its way to it from a thread.
        """
        endpoint = self._endpoint
        self.client = endpoint.connection  # before the look: a thread may hand over a message now
        ahead = endpoint.full or endpoint.taken != self._handed
        if self._scheduled or ahead or not self._conversation.is_open:
            self.client = None
        return self.client

    # The handlers

    def step(self) -> None:
        """Handle the next event."""
        event, size = self._events.popleft()
        self._has_sent = False
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
        self._schedule()

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
        log.info("%s closes its websocket: %s", self.what(), exc)
        with suppress(ClientDisconnected, RuntimeError):  # it may have ended, or be closed already
            self._conversation.send(close_event(exc.code, exc.reason))

    def _finish(self, exc: BaseException | None) -> None:
        """End the run."""
        self.ended = True
        self._events = deque(maxlen=0)  # what waits, or still arrives, is freed at once
        if exc is None:
            if (wrong := self._conversation.end()) is not None:
                log.error("%s %s", self.what(), wrong)
        elif isinstance(exc, BrokerUnavailable):
            log.warning("%s cannot use its channel layer: %s", self.what(), exc)
            self._conversation.fail(503, NOT_PUBLISHED)
        elif not isinstance(exc, ClientDisconnected):
            # An event of a group may have no handler in many consumers.
            if not isinstance(exc, UnknownEvent) or _seldom.passes(self.kind):
                log.error("%s failed", self.what(), exc_info=exc)
            self._conversation.fail()
        if self._consumer is not None:
            layer = self._consumer.channel_layer
            for group in tuple(self.groups):
                layer.leave(group, self)
            if self._name is not None:
                layer.end_channel(self._name)
        self._host.runs.discard(self)

    def what(self) -> str:
        """Return the class of the consumer and the path of its websocket, for the log."""
        return f"{self.kind.consumer.__qualname__} at {self._endpoint.scope['path']!r}"

    # Called by the consumer; see `SyncRun`

    def send(self, event: Event) -> None:
        message = self._conversation.send(event)
        if message is None:
            return
        if self._has_sent and not self._has_room():
            self._wait_for_room()
        self._has_sent = True
        endpoint = self._endpoint
        with self._lock:  # a consumer may send in several threads
            self._handed += len(message) + OVERHEAD
        self.client = None  # after it is counted, see `idle_client`
        endpoint.call(endpoint.send, message)

    def _wait_for_room(self) -> None:
        """Wait until the client has read enough for one more message.

        Raises:
            ClientDisconnected: the websocket has ended, or is being closed.
        """
        host = self._host
        waiter = host.make_event()
        with self._lock:
            self._waiters = (*self._waiters, waiter)
        seconds = host.begin_wait(waiter)
        try:
            while not self._has_room():
                self._conversation.check_connected()
                if host.gives_up(self, waiter):
                    raise ClientDisconnected("the client reads too slowly, so it is disconnected")
                waiter.wait(seconds)
                waiter.clear()
        finally:
            host.end_wait(waiter)
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
