"""The exceptions of django-websocket-redis.

::

    OSError
    └── WebSocketError                  an error of an open websocket
        └── FrameTooLargeException      a frame is larger than allowed
    django.http.BadHeaderError
    └── HandshakeError                  a handshake refused with 400
        └── UpgradeRequiredError        a protocol version that is not supported: 426

wsredis raises the last two where a subclass of the server expects them. Errors of an open websocket
are reported by close codes, so the first two exist only for ``except`` clauses.
"""

from __future__ import annotations

from django.http import BadHeaderError

__all__ = [
    "FrameTooLargeException",
    "HandshakeError",
    "UpgradeRequiredError",
    "WebSocketError",
]


class WebSocketError(OSError):
    """An error of an open websocket."""


class FrameTooLargeException(WebSocketError):
    """A frame that is larger than allowed."""


class HandshakeError(BadHeaderError):
    """A handshake refused with 400; its text is shown to the client."""


class UpgradeRequiredError(HandshakeError):
    """A handshake refused with 426."""
