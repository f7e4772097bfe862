"""The order to end websockets whose right to be there is over: on a logout, say.

`wsredis.disconnect` gives it. It goes through the broker to every process, on a channel that no
client can name, and is kept there for those who do not hear it at that moment: a process that has
lost its link, or one whose first websocket is just joining. Who carries it out is
`wsredis.validity`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .identity import Identity
from .logs import get_logger
from .message import Message

__all__ = ["KEPT", "KEPT_AT_MOST", "Revocation", "control_channel", "read_order"]

log = get_logger("wsredis.revocation")

KEPT = 600
"""Seconds for which an order waits for a process that does not hear it."""

KEPT_AT_MOST = 1000
"""Orders that wait at the same time; the oldest give way."""

CODES = frozenset((1000, 1008, 1012, 1013, *range(3000, 5000)))

MAX_REASON = 123
"""Bytes of a close frame's reason (RFC 6455 section 5.5)."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Say whose websockets end, and how: all that is given must fit.

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
    code: int = 4401
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
        if not isinstance(code, int) or code not in CODES:
            raise ValueError(f"code takes 1000, 1008, 1012, 1013 or 3000 to 4999, not {code!r}")
        reason: object = self.reason
        if not isinstance(reason, str) or len(reason.encode()) > MAX_REASON:
            raise ValueError(f"reason takes text of at most {MAX_REASON} bytes, not {reason!r}")
        at: object = self.at
        if not (isinstance(at, int | float) and abs(at) < 2**53):  # nor NaN, nor infinite
            raise TypeError(f"at takes a Unix time in seconds, not {at!r}")

    def encode(self) -> bytes:
        """Return the payload that stands for this order."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def matches(self, identity: Identity) -> bool:
        """Tell whether an identity is meant."""
        return (
            self.user in (None, identity.user)
            and self.session in (None, identity.session)
            and (self.group is None or self.group in identity.groups)
        )


def control_channel(prefix: str) -> str:
    """Return the channel of the orders; no audience is called so, hence no client reaches it."""
    return f"{prefix or 'wsredis'}:control"


def read_order(message: Message) -> Revocation | None:
    """Return the order that a message of the control channel stands for.

    One that is none of ours says nothing; it is logged.
    """
    try:
        return Revocation(**json.loads(message.payload))
    except (RecursionError, TypeError, ValueError) as exc:
        # Its text may hold what somebody else has written: one line of it, and not all.
        log.error("a message on the control channel was ignored: %.200r", str(exc))
        return None
