"""Every error that wsredis raises.

::

    WSRedisError
    ├── ConfigurationError (ValueError)   an option is unknown or is not valid; says what to write
    ├── BrokerUnavailable                 Redis does not answer, refuses or was lost
    ├── HandshakeError                    no websocket; carries the HTTP answer
    │   └── PermissionDenied              403: who asks may not have what is asked for
    └── EmbeddedUnavailable               there is no Redis server on this machine to start

Close codes belong to an open websocket and are no exceptions: see
`wsredis.protocol.closing.CloseCode`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "EmbeddedUnavailable",
    "HandshakeError",
    "PermissionDenied",
    "WSRedisError",
]


class WSRedisError(Exception):
    """The base class of every error of this package."""


class ConfigurationError(WSRedisError, ValueError):
    """An option that is not valid; the text says which one and what to write instead."""


class BrokerUnavailable(WSRedisError):
    """A broker that cannot be reached; the cause is chained."""


class EmbeddedUnavailable(WSRedisError):
    """The lack of a Redis server that can be started here; use the memory broker instead."""


class HandshakeError(WSRedisError):
    """A refused handshake, with its HTTP answer (RFC 6455 section 4.2.2, point 5).

    Args:
        status: HTTP status code, 400 to 599.
        text: one plain sentence for the client; never the text of another exception.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = tuple(headers)


class PermissionDenied(HandshakeError):
    """A handshake refused with 403; an ``allowed_channels`` callback or an endpoint may raise it.

    Args:
        text: one plain sentence for the client.
    """

    def __init__(self, text: str = "You may not have these channels.") -> None:
        super().__init__(403, text)
