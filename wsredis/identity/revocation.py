"""Revocations: requests to end websockets whose identity has ended, for example on a logout.

`wsredis.disconnect` publishes them. The broker carries them to every process, on a channel that no
client can name, and logs them for processes that do not receive them at that moment: because their
link to Redis is lost, or because they have had no websocket yet. `wsredis.hub.expiry` applies them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..message import Message
from ..protocol.closing import IDENTITY_ENDED, MAX_REASON, SENDABLE
from .base import Identity

__all__ = [
    "LOG_LENGTH",
    "LOG_SECONDS",
    "MAX_AGE",
    "Revocation",
    "control_channel",
    "read_revocation",
]

MAX_AGE = 300
"""Maximum seconds from the issue of a credential (`Identity.issued`) to its handshake."""

LOG_SECONDS = 600
"""Seconds for which a revocation stays in the log."""

LOG_LENGTH = 100 * MAX_AGE
"""Maximum revocations in the log: 100 per second for `MAX_AGE`; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A request to end the websockets of matching identities; all given names must match.

    Args:
        user, group, session: names of the identity, at least one; None for any.
        code: close code: 1000, 1008, 1012, 1013, or 3000 to 4999 (RFC 6455 section 7.4).
        reason: close reason, at most 123 bytes; by default that of the table in
            `wsredis.protocol.closing`, if the code has one there.
        at: Unix time in seconds; websockets that were identified later stay open.

    Raises:
        TypeError, ValueError: no name is given, or the code or the reason cannot be sent.
    """

    user: str | None = None
    group: str | None = None
    session: str | None = None
    code: int = IDENTITY_ENDED.code
    reason: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        names: dict[str, object] = {"user": self.user, "session": self.session, "group": self.group}
        if all(name is None for name in names.values()):
            raise TypeError("no name is given: write at least one of user=, session= and group=")
        for name, value in names.items():
            if value is not None and (not isinstance(value, str) or not value):
                raise TypeError(f"{name} must be a non-empty string, not {value!r}")
        code: object = self.code
        if not isinstance(code, int) or code not in SENDABLE:
            raise ValueError(f"code must be 1000, 1008, 1012, 1013 or 3000 to 4999, not {code!r}")
        reason: object = self.reason
        if not isinstance(reason, str) or len(reason.encode()) > MAX_REASON:
            raise ValueError(f"reason must be text of at most {MAX_REASON} bytes, not {reason!r}")
        at: object = self.at
        if not (isinstance(at, int | float) and abs(at) < 2**53):  # not NaN or infinite
            raise TypeError(f"at must be a Unix time in seconds, not {at!r}")

    def encode(self) -> bytes:
        """Return the payload of the message for this revocation."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def matches(self, identity: Identity) -> bool:
        """Return whether the revocation applies to an identity."""
        return (
            self.user in (None, identity.user)
            and self.session in (None, identity.session)
            and (self.group is None or self.group in identity.groups)
        )


def control_channel(prefix: str) -> str:
    """Return the channel of revocations; it matches no audience, so clients cannot reach it."""
    return f"{prefix or 'wsredis'}:control"


def read_revocation(message: Message) -> Revocation:
    """Parse the revocation in a message of the control channel.

    Raises:
        ValueError: the message is not a revocation; the text may contain parts of the message.
    """
    try:
        return Revocation(**json.loads(message.payload))
    except (RecursionError, TypeError) as exc:
        raise ValueError(str(exc)) from exc
