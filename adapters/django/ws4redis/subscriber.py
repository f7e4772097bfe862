"""The channels of a websocket: `RedisSubscriber`.

``WS4REDIS_SUBSCRIBER`` names a subclass. In the server its connection only records subscriptions
(see `.connection`); with a client of redis-py it subscribes itself.
"""

from __future__ import annotations

from typing import Any

from . import names
from .redis_store import SELF, RedisStore

__all__ = ["SELF", "RedisStore", "RedisSubscriber"]


class RedisSubscriber(RedisStore):
    """The channels of one websocket.

    Attributes:
        subscription_channels: the keys that a client may request in order to subscribe.
        publish_channels: the keys that a client may request in order to publish.
        _subscription: the subscription; None before `set_pubsub_channels`.
    """

    subscription_channels = [  # noqa: RUF012  subclasses add lists to it
        "subscribe-session",
        "subscribe-group",
        "subscribe-user",
        "subscribe-broadcast",
    ]
    publish_channels = [  # noqa: RUF012
        "publish-session",
        "publish-group",
        "publish-user",
        "publish-broadcast",
    ]

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._subscription: Any = None

    def set_pubsub_channels(self, request: Any, channels: Any) -> None:
        """Set the channels for subscribing and publishing; the facility is in the request's path.

        Args:
            request: the handshake, with ``user`` and ``session``.
            channels: the granted keys, such as ``subscribe-user``.
        """
        facility = names.facility_of(request.path_info) or ""
        self._publishers = set(self._channels_of("publish", channels, request, facility))
        self._subscription = self._connection.pubsub()
        for channel in self._channels_of("subscribe", channels, request, facility):
            self._subscription.subscribe(channel)

    def _channels_of(self, direction: str, channels: Any, request: Any, facility: str) -> list[str]:
        asked = [kind for kind in ("user", "group", "session") if f"{direction}-{kind}" in channels]
        own = {f"{kind}s": [SELF] for kind in asked}
        everybody = f"{direction}-broadcast" in channels
        return self._get_message_channels(
            request=request, facility=facility, broadcast=everybody, **own
        )

    def send_persisted_messages(self, websocket: Any) -> None:
        """Send the retained message of each subscribed channel.

        The server does this itself, atomically with subscribing, unless a subclass overrides this
        method.
        """
        for channel in self._subscription.channels:
            if message := self._connection.get(channel):
                websocket.send(message)

    send_persited_messages = send_persisted_messages

    def parse_response(self) -> Any:
        """Return the next response of the subscription; see `RedisMessage`."""
        return self._subscription.parse_response()

    def get_file_descriptor(self) -> int | None:
        """Return the file descriptor of the subscription's connection; None if there is none."""
        connection = getattr(self._subscription, "connection", None)
        return connection._sock.fileno() if connection is not None else None

    def release(self) -> None:
        """Unsubscribe from all channels and reset the subscription."""
        if self._subscription is not None and self._subscription.subscribed:
            self._subscription.unsubscribe()
            self._subscription.reset()
