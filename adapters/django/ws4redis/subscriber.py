"""What one websocket listens to and publishes to: `RedisSubscriber`.

``WS4REDIS_SUBSCRIBER`` names a subclass. In the server its connection writes subscriptions down
instead of making them (see `.connection`); given a client of redis-py it subscribes itself.
"""

from __future__ import annotations

from typing import Any

from . import names
from .redis_store import SELF, RedisStore

__all__ = ["SELF", "RedisStore", "RedisSubscriber"]


class RedisSubscriber(RedisStore):
    """The channels of one websocket.

    Attributes:
        subscription_channels: what a client may ask for in order to listen.
        publish_channels: what a client may ask for in order to publish.
        _subscription: what is subscribed to; None before `set_pubsub_channels`.
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
        """Settle what is listened to and published to; the facility is in the request's path.

        Args:
            request: the handshake, with ``user`` and ``session``.
            channels: what is granted, keys such as ``subscribe-user``.
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
        """Send the retained message of each channel that is listened to.

        The server does this itself, in one step with subscribing, unless a subclass has its own.
        """
        for channel in self._subscription.channels:
            if message := self._connection.get(channel):
                websocket.send(message)

    send_persited_messages = send_persisted_messages

    def parse_response(self) -> Any:
        """Return what the subscription has received; see `RedisMessage`."""
        return self._subscription.parse_response()

    def get_file_descriptor(self) -> int | None:
        """Return the descriptor that becomes readable when a message arrives; None without one."""
        connection = getattr(self._subscription, "connection", None)
        return connection._sock.fileno() if connection is not None else None

    def release(self) -> None:
        """Give the subscription back."""
        if self._subscription is not None and self._subscription.subscribed:
            self._subscription.unsubscribe()
            self._subscription.reset()
