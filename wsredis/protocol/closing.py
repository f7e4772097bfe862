"""Close codes and what a close frame can hold (RFC 6455 sections 5.5 and 7.4)."""

from __future__ import annotations

from websockets.frames import CloseCode

__all__ = ["IDENTITY_ENDED", "MAX_CONTROL", "MAX_REASON", "SENDABLE", "CloseCode"]

MAX_CONTROL = 125
"""Bytes of a control frame's payload (RFC 6455 section 5.5)."""

MAX_REASON = MAX_CONTROL - 2
"""Bytes of a close reason: what a close frame holds beside the code."""

IDENTITY_ENDED = 4401
"""Close code of a socket whose session, ticket or token has ended (private use, 7.4.2)."""

SENDABLE = frozenset((1000, 1008, 1012, 1013, *range(3000, 5000)))
"""Close codes that `wsredis.disconnect` may send."""
