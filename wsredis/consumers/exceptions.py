"""The exceptions that the handlers of a consumer raise."""

from __future__ import annotations

from ..exceptions import WSRedisError

__all__ = [
    "AcceptConnection",
    "DenyConnection",
    "InvalidMessage",
    "StopConsumer",
    "UnknownEvent",
]


class AcceptConnection(WSRedisError):
    """Raised by ``connect`` of a generic consumer to open the websocket."""


class DenyConnection(WSRedisError):
    """Raised by ``connect`` of a generic consumer to refuse the handshake with 403."""


class StopConsumer(WSRedisError):
    """Raised by a handler to end the consumer without an error."""


class UnknownEvent(WSRedisError, ValueError):
    """An event for which a consumer has no handler."""


class InvalidMessage(WSRedisError, ValueError):
    """A message of a client that a consumer cannot handle; it closes the websocket.

    Args:
        text: what is wrong; it is not sent to the client.
        code: the close code.
        reason: the close reason.
    """

    def __init__(self, text: str, code: int, reason: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
