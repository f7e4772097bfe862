"""Every error that wsredis raises.

::

    WSRedisError
    ├── ConfigurationError (ValueError)   an option is unknown or makes no sense; says what to write
    ├── BrokerUnavailable                 Redis does not answer, refuses or was lost
    ├── HandshakeError                    no websocket; carries the HTTP answer
    │   └── PermissionDenied              403: who asks may not have what is asked for
    └── EmbeddedUnavailable               there is no Redis server on this machine to start

Close codes belong to an open websocket and are no exceptions: see
`wsredis.frames.CloseCode`.
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
    """Be the parent of every error of this package."""


class ConfigurationError(WSRedisError, ValueError):
    """Say which option is wrong and what to write instead."""


class BrokerUnavailable(WSRedisError):
    """Say that the broker cannot be reached; the cause is chained."""


class EmbeddedUnavailable(WSRedisError):
    """Say that no Redis server can be started here; the memory broker is the way out."""


class HandshakeError(WSRedisError):
    """Refuse a handshake with an HTTP answer (RFC 6455 section 4.2.2, point 5).

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
    """Refuse a handshake with 403; an ``allowed_channels`` callback or an endpoint may raise it.

    Args:
        text: one plain sentence for the client.
    """

    def __init__(self, text: str = "You may not have these channels.") -> None:
        super().__init__(403, text)
