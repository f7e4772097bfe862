"""The endpoint of ws4redis, whose channels come from a `RedisSubscriber`.

Unlike the core's own endpoint, it leaves a websocket without channels open, and it drops messages
that the client is not allowed to publish.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from wsredis.adapters.django.worker import Worker
from wsredis.endpoints import Endpoint, EndpointConnection
from wsredis.message import Data

from .redis_store import RedisMessage
from .subscriber import RedisSubscriber

__all__ = ["SubscriberEndpoint"]

log = logging.getLogger("wsredis.ws4redis")

_worker = Worker("ws4redis-publish")


class SubscriberEndpoint(Endpoint):
    """An endpoint that subscribes and publishes to the channels of a subscriber.

    Args:
        subscriber: the subscriber, made with a recording connection; its `set_pubsub_channels`
            has been called.
        echo: whether the websocket receives its own messages.
        websockets: the set that has the connection while it is open.
    """

    __slots__ = (
        "_echo", "_expire", "_first", "_publishers", "_subscriber", "_websockets",
        "channels", "wants_retained",
    )  # fmt: skip

    def __init__(
        self, subscriber: RedisSubscriber, echo: bool, websockets: set[EndpointConnection]
    ) -> None:
        kind = type(subscriber)
        subscription = subscriber._subscription
        self.channels = tuple(subscription.channels) if subscription is not None else ()
        default = RedisSubscriber.send_persisted_messages
        self.wants_retained = kind.send_persisted_messages is default
        self._first: list[Data] = []
        if not self.wants_retained and subscription is not None:
            subscriber.send_persisted_messages(_First(self._first))
        self._publishers = tuple(sorted(subscriber._publishers))
        self._expire = max(subscriber._expire or 0, 0)
        self._echo = echo
        self._websockets = websockets
        # An overridden publish_message may block, so it runs in a thread.
        own_way = kind.publish_message is not RedisSubscriber.publish_message
        self._subscriber = subscriber if own_way else None
        if own_way:
            _worker.start()

    def opened(self, connection: EndpointConnection) -> None:
        self._websockets.add(connection)
        for message in self._first:
            connection.send(message)
        self._first.clear()

    def received(self, connection: EndpointConnection, message: Data) -> None:
        if self._subscriber is not None:
            connection.publishing(len(message))  # delays clients that send faster than this
            _worker.put(partial(self._publish, self._subscriber, connection, message))
        elif self._publishers:
            connection.publish(self._publishers, message, echo=self._echo, expire=self._expire)

    def closed(self, connection: EndpointConnection, code: int) -> None:
        self._websockets.discard(connection)

    def _publish(self, subscriber: Any, connection: EndpointConnection, message: Data) -> None:
        def outlet(channels: list[str], payload: bytes, expire: int) -> None:
            send = partial(connection.publish, echo=self._echo, expire=expire)
            connection.soon(send, channels, payload)

        subscriber._outlet = outlet
        try:
            subscriber.publish_message(RedisMessage(message))
        except Exception:
            log.exception("a subscriber's publish_message failed: the message is lost")
        finally:
            connection.soon(connection.on_ack, len(message))


class _First:
    """A stand-in for a websocket that is not open yet; it collects what the subscriber sends.

    Args:
        messages: the list to which the messages are added.
    """

    closed = False

    def __init__(self, messages: list[Data]) -> None:
        self._messages = messages

    def send(self, message: Any, binary: Any = None) -> None:
        """Add a message: str is text; bytes are text too if they are valid UTF-8."""
        if not isinstance(message, str):
            message = bytes(message)
            try:
                message = message.decode()
            except UnicodeDecodeError:
                pass
        self._messages.append(message)
