"""The errors of django-websocket-redis.

::

    OSError
    └── WebSocketError                  an open websocket has a problem
        └── FrameTooLargeException      a frame is larger than allowed
    django.http.BadHeaderError
    └── HandshakeError                  no websocket: 400
        └── UpgradeRequiredError        another version of the protocol: 426

wsredis raises the last two where a subclass of the server expects them. What happens to an open
websocket is told by close codes, so the first two are here for ``except`` clauses.
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
    """A problem of an open websocket."""


class FrameTooLargeException(WebSocketError):
    """A frame that is larger than allowed."""


class HandshakeError(BadHeaderError):
    """A handshake refused with 400; its text is shown to the client."""


class UpgradeRequiredError(HandshakeError):
    """A handshake refused with 426."""
