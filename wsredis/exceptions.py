"""The exceptions that wsredis raises.

::

    WSRedisError
    ├── ConfigurationError (ValueError)   an unknown or invalid option; says what to write
    ├── BrokerUnavailable                 Redis is unreachable, refuses, or the connection was lost
    │   └── WrongServer                   a replica, a node of a cluster, or a Sentinel
    ├── HandshakeError                    a refused handshake; carries the HTTP response
    │   └── PermissionDenied              403: the client may not have what it requests
    ├── ChannelFull                       too many messages wait in a channel of a layer
    ├── MessageTooLarge                   a message to a channel layer is too large
    ├── MessagesLost                      the reader of a layer's channel may have missed messages
    └── EmbeddedUnavailable               no Redis server on this machine can be started

Close codes are not exceptions: they belong to an open websocket, see
`wsredis.protocol.closing.CloseCode`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BrokerUnavailable",
    "ChannelFull",
    "ConfigurationError",
    "EmbeddedUnavailable",
    "HandshakeError",
    "MessageTooLarge",
    "MessagesLost",
    "PermissionDenied",
    "WSRedisError",
    "WrongServer",
]

NOT_PERMITTED = "This websocket is not permitted. Log in, or ask the site for access."
"""The default text of `PermissionDenied`."""


class WSRedisError(Exception):
    """The base class of all exceptions of this package."""


class ConfigurationError(WSRedisError, ValueError):
    """An invalid option; the text names the option and says what to write instead.

    Attributes:
        option: the name of the option with which the text begins, None if it begins otherwise.
    """

    option: str | None = None


class BrokerUnavailable(WSRedisError):
    """A broker that cannot be reached, or refuses; the cause is chained.

    The text names the server without credentials: "Redis at HOST:PORT: ...".
    """


class WrongServer(BrokerUnavailable):
    """A server that answers but does not carry messages to all subscribers.

    The text is "Redis at HOST:PORT is a replica of HOST:PORT: ...", or names a node of a cluster
    or a Sentinel; it says what to write instead.
    """


class ChannelFull(WSRedisError):
    """A channel of a layer in which as many messages wait as its capacity permits.

    If the package channels is in use, it is also its ``ChannelFull``.
    """


class MessageTooLarge(WSRedisError):
    """A message to a channel layer that is too large for Redis.

    If the package channels is in use, it is also its ``MessageTooLarge``.
    """


class MessagesLost(WSRedisError):
    """A gap in the messages of a layer's channel; raised once by ``receive``, which can continue.

    The link to Redis was lost, or a delivery failed. A host of applications closes their websockets
    instead, see `wsredis.runtime.owner`.
    """


class EmbeddedUnavailable(WSRedisError):
    """No Redis server can be started on this machine; the memory broker needs none."""


class HandshakeError(WSRedisError):
    """A refused handshake, with its HTTP response (RFC 6455 section 4.2.2, point 5).

    Args:
        status: HTTP status code, 300 to 599.
        text: one plain sentence for the client and the log; never the text of another exception.
        headers: additional response headers.
        body: the response body; by default ``text``.
        content_type: the type of the body; by default plain text.

    Attributes:
        user: the identified user that was refused, or None; for the log, never sent.

    Raises:
        ValueError: the status does not refuse a handshake, or the body is neither text nor bytes.
    """

    user: str | None = None

    def __init__(
        self,
        status: int,
        text: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        body: str | bytes | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        super().__init__(text)
        if not 300 <= status <= 599:
            raise ValueError(f"status={status!r} cannot refuse a handshake: write 300 to 599.")
        given: object = body
        if not isinstance(given, str | bytes | None):
            kind = type(given).__name__
            raise ValueError(f"body must be str, bytes or None, not {kind}: encode it first.")
        self.status = status
        self.text = text
        self.headers = tuple(headers)
        self.body = body
        self.content_type = content_type


class PermissionDenied(HandshakeError):
    """A handshake refused with 403; an ``allowed_channels`` callback or an endpoint may raise it.

    Args:
        text: one plain sentence for the client.
    """

    def __init__(self, text: str = NOT_PERMITTED) -> None:
        super().__init__(403, text)
