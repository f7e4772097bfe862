"""Intentional leaks in the site of a soak run: each kind must make the run fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event

from wsredis.consumers.run import ConsumerRun
from wsredis.endpoints import PubSubEndpoint
from wsredis.hub.channel import Channel
from wsredis.hub.expiry import Expiry
from wsredis.hub.hub import Hub
from wsredis.layers import RedisChannelLayer
from wsredis.message import Message
from wsredis.transports.websocket import WebSocket

__all__ = ["KINDS", "install"]

kept: list[Any] = []


def greenlet(connection: WebSocket) -> None:
    """Leave a greenlet that waits forever."""
    gevent.spawn(Event().wait)


def timer(connection: WebSocket) -> None:
    """Leave a timer."""
    watcher = gevent.get_hub().loop.timer(3600.0)
    watcher.start(id)
    kept.append(watcher)


def descriptor(connection: WebSocket) -> None:
    """Leave a copy of the socket open."""
    os.dup(connection.fd)


def memory(connection: WebSocket) -> None:
    """Keep some memory for each socket."""
    kept.append([bytes(1000) for _ in range(500)])


def object_(connection: WebSocket) -> None:
    """Keep the websocket itself."""
    kept.append(connection)


def channel(connection: WebSocket) -> None:
    """Keep a channel without subscribers."""
    connection._host._channels.setdefault(f"soak:broadcast:left{connection.fd}", Channel())


def subscription(connection: WebSocket) -> None:
    """Subscribe to a channel and never unsubscribe."""
    gevent.spawn(connection._host._feed.subscribe, [f"soak:broadcast:old{connection.fd}"])


def slot(connection: WebSocket) -> None:
    """Take a slot and never release it."""
    connection._host.limits.take()  # type: ignore[attr-defined]


KINDS: dict[str, Callable[[WebSocket], None]] = {
    "greenlet": greenlet,
    "timer": timer,
    "descriptor": descriptor,
    "memory": memory,
    "object": object_,
    "channel": channel,
    "slot": slot,
    "subscription": subscription,
}


def _one_of(count: int, method: Callable[..., None]) -> Callable[..., None]:
    """Return a method of which one of so many calls has no effect."""
    calls = 0

    def spoilt(self: Any, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls % count:
            method(self, *args)

    return spoilt


def install(kinds: list[str]) -> None:
    """Make every fourth socket leak the given resources.

    ``hole`` and ``twice`` drop and duplicate the first message of every 50th delivery. They affect
    different deliveries, because most consist of one message, and a dropped one cannot be
    duplicated. With ``deaf``, revocations are ignored. With ``member``, every fourth consumer stays
    in its group, and with ``event``, every 50th event of a synchronous consumer is dropped.
    """
    if "member" in kinds:
        RedisChannelLayer._leave = _one_of(4, RedisChannelLayer._leave)  # type: ignore[method-assign]
    if "event" in kinds:
        ConsumerRun.on_event = _one_of(50, ConsumerRun.on_event)  # type: ignore[method-assign]
    chosen = [KINDS[kind] for kind in kinds if kind in KINDS]
    seen = 0

    opened = PubSubEndpoint.opened

    def leaking(self: PubSubEndpoint, connection: Any) -> None:
        nonlocal seen
        seen += 1
        if not seen % 4:
            for leak in chosen:
                leak(connection)
        opened(self, connection)

    PubSubEndpoint.opened = leaking  # type: ignore[method-assign]
    if "deaf" in kinds:
        Expiry.apply = lambda self, message: iter(())  # type: ignore[method-assign]
    spoil: dict[str, Callable[[list[Message]], list[Message]]] = {
        "hole": lambda messages: messages[1:],
        "twice": lambda messages: messages + messages[:1],
    }
    deliver, turns = Hub.deliver, 0

    def spoilt(self: Hub, messages: list[Message]) -> Iterator[None]:
        nonlocal turns
        turns += 1
        for number, kind in enumerate(spoil):
            if kind in kinds and turns % 50 == 25 * number:
                messages = spoil[kind](messages)
        return deliver(self, messages)

    if spoil.keys() & set(kinds):
        Hub.deliver = spoilt  # type: ignore[method-assign]
