"""The order to end websockets whose identity has ended: on a logout, say.

`wsredis.disconnect` publishes it. It goes through the broker to every process, on a channel that no
client can name, and is logged there for those that do not receive it at that moment: a process that
has lost its link, or one whose first websocket is just joining. `wsredis.hub.expiry` carries it
out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..message import Message
from ..protocol.closing import IDENTITY_ENDED, MAX_REASON, SENDABLE
from .base import Identity

__all__ = ["LOG_LENGTH", "LOG_SECONDS", "Revocation", "control_channel", "read_revocation"]

LOG_SECONDS = 600
"""Seconds for which a revocation stays in the log for a process that does not receive it."""

LOG_LENGTH = 1000
"""Revocations that the log holds at the same time; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """An order to end websockets: whose, and how. All names that are given must match.

    Args:
        user, group, session: names of the identity, at least one; None for any.
        code: 1000, 1008, 1012, 1013, or 3000 to 4999 (RFC 6455 section 7.4).
        reason: goes to the client with the code, at most 123 bytes.
        at: Unix time in seconds: whom the site has let in since then stays.

    Raises:
        TypeError, ValueError: nobody is named, or the code or the reason cannot be sent.
    """

    user: str | None = None
    group: str | None = None
    session: str | None = None
    code: int = IDENTITY_ENDED
    reason: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        names: dict[str, object] = {"user": self.user, "session": self.session, "group": self.group}
        if all(name is None for name in names.values()):
            raise TypeError("at least one of user=, session= and group= is needed")
        for name, value in names.items():
            if value is not None and (not isinstance(value, str) or not value):
                raise TypeError(f"{name} takes a non-empty string, not {value!r}")
        code: object = self.code
        if not isinstance(code, int) or code not in SENDABLE:
            raise ValueError(f"code takes 1000, 1008, 1012, 1013 or 3000 to 4999, not {code!r}")
        reason: object = self.reason
        if not isinstance(reason, str) or len(reason.encode()) > MAX_REASON:
            raise ValueError(f"reason takes text of at most {MAX_REASON} bytes, not {reason!r}")
        at: object = self.at
        if not (isinstance(at, int | float) and abs(at) < 2**53):  # nor NaN, nor infinite
            raise TypeError(f"at takes a Unix time in seconds, not {at!r}")

    def encode(self) -> bytes:
        """Return the payload that stands for this revocation."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def matches(self, identity: Identity) -> bool:
        """Return whether an identity is meant."""
        return (
            self.user in (None, identity.user)
            and self.session in (None, identity.session)
            and (self.group is None or self.group in identity.groups)
        )


def control_channel(prefix: str) -> str:
    """Return the channel of revocations; no audience has its name, so no client reaches it."""
    return f"{prefix or 'wsredis'}:control"


def read_revocation(message: Message) -> Revocation:
    """Return the revocation that a message of the control channel stands for.

    Raises:
        ValueError: it is none of ours; the text may hold what somebody else has written.
    """
    try:
        return Revocation(**json.loads(message.payload))
    except (RecursionError, TypeError) as exc:
        raise ValueError(str(exc)) from exc
