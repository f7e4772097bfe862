"""Close codes: the table of reasons why a websocket is closed, and whether its client reconnects.

tests/protocol/test_closing.py compares the browser client (wsredis.js), its types and
docs/close-codes.md with this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from websockets.frames import CloseCode

__all__ = [
    "ABNORMAL",
    "APPLICATION_ERROR",
    "CHANNEL_REFUSED",
    "CLOSINGS",
    "FORBIDDEN",
    "IDENTITY_CHANGED",
    "IDENTITY_ENDED",
    "MAX_CONTROL",
    "MAX_REASON",
    "MESSAGES_LOST",
    "MESSAGE_TIMEOUT",
    "HANDSHAKE_TIMEOUT",
    "NOT_PUBLISHED",
    "PUBLISH_DENIED",
    "RATE_LIMIT",
    "RESTART",
    "SENDABLE",
    "SLOW",
    "TEXT_ONLY",
    "TOO_MANY_FRAGMENTS",
    "VALID",
    "CloseCode",
    "Closing",
    "Return",
    "default_reason",
    "returns",
]

MAX_CONTROL = 125
"""Maximum bytes of a control frame's payload (RFC 6455 section 5.5)."""

MAX_REASON = MAX_CONTROL - 2
"""Maximum bytes of a close reason: the payload of a close frame without the code."""

ABNORMAL = CloseCode.ABNORMAL_CLOSURE
"""The code for a connection that ended without a close frame, or was never open."""

VALID = frozenset((*range(1000, 1004), *range(1007, 1010), *range(1011, 1015), *range(3000, 5000)))
"""Close codes that a server may send (RFC 6455 section 7.4)."""

SENDABLE = frozenset((1000, 1008, 1012, 1013, *range(3000, 5000)))
"""Close codes that `wsredis.disconnect` may send."""

Return = Literal["soon", "later", "never"]
"""When a client reconnects: soon, after a longer pause, or never."""

_FINAL = frozenset((1002, 1003, 1007, 1008, 1009, 1010, 3003, *range(4400, 4500))) - {
    *(4401, 4408, 4429)
}
_LATER = frozenset((1013, 4408, 4429))


def returns(code: int) -> Return:
    """Return when the browser client reconnects after a close code.

    It reconnects if the same client could be accepted without a change. Among the application
    codes, 4400 to 4499 are client errors, like 400 to 499 in HTTP. New codes of this package after
    which clients reconnect are taken from 4500 to 4599.
    """
    if code in _FINAL:
        return "never"
    return "later" if code in _LATER else "soon"


@dataclass(frozen=True, slots=True)
class Closing:
    """A reason for which this package closes websockets.

    Args:
        code: the close code (RFC 6455 section 7.4).
        word: the first word of the close reason, for programs; stable between releases.
        text: the explanation, for people.
    """

    code: int
    word: str
    text: str

    @property
    def reason(self) -> str:
        """Return the reason of the close frame."""
        return f"{self.word} ({self.text})"


TEXT_ONLY = Closing(1003, "text-only", "binary messages are not accepted")
JSON_ONLY = Closing(1003, "json-only", "messages must be JSON texts")
INVALID_JSON = Closing(1007, "invalid-json", "a message was not JSON")
RATE_LIMIT = Closing(1008, "rate-limit", "too many messages or bytes in one second")
MESSAGE_TIMEOUT = Closing(1008, "message-timeout", "a message was not finished in time")
TOO_MANY_FRAGMENTS = Closing(1008, "too-many-fragments", "one message came in too many frames")
PUBLISH_DENIED = Closing(1008, "publish-denied", "this websocket may not publish")
APPLICATION_ERROR = Closing(1011, "error", "the endpoint failed")
CHANNEL_REFUSED = Closing(1011, "channel-refused", "Redis refuses a channel of this websocket")
RESTART = Closing(1012, "restart", "the server restarts")
MESSAGES_LOST = Closing(1012, "messages-lost", "messages may have been lost")
IDENTITY_CHANGED = Closing(1012, "identity-changed", "the client has to be identified again")
SLOW = Closing(1013, "slow", "this client reads too slowly")
NOT_PUBLISHED = Closing(1013, "not-published", "a message may not have been published")
HANDSHAKE_TIMEOUT = Closing(1013, "handshake-timeout", "the handshake was not answered in time")
IDENTITY_ENDED = Closing(4401, "identity-ended", "the session, ticket or token has ended")
FORBIDDEN = Closing(4403, "forbidden", "access was withdrawn")

CLOSINGS = (
    *(TEXT_ONLY, JSON_ONLY, INVALID_JSON),
    *(RATE_LIMIT, MESSAGE_TIMEOUT, TOO_MANY_FRAGMENTS, PUBLISH_DENIED),
    *(
        APPLICATION_ERROR,
        CHANNEL_REFUSED,
        RESTART,
        MESSAGES_LOST,
        IDENTITY_CHANGED,
        SLOW,
        NOT_PUBLISHED,
    ),
    *(IDENTITY_ENDED, FORBIDDEN),
)
"""The reasons that a client can get in a close frame."""

_DEFAULTS = {each.code: each.reason for each in (IDENTITY_CHANGED, IDENTITY_ENDED, FORBIDDEN)}


def default_reason(code: int) -> str:
    """Return the close reason for a `wsredis.disconnect` without ``reason``."""
    return _DEFAULTS.get(code, "")
