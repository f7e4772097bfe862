"""The ``allowed_channels`` callback and the default policy: which requested channels are granted.

A callback gets the request (a `webob.Request` whose ``identity`` is set) and the requested keys,
such as ``subscribe-broadcast``, and returns the keys it grants. Keys that were not requested are
ignored. A callback that raises, or returns anything but keys, grants nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sized
from typing import Any

from ..exceptions import NOT_PERMITTED, HandshakeError, PermissionDenied
from ..identity import ANONYMOUS, Identity
from ..naming import encode_name, loggable

__all__ = [
    "NOT_GRANTED",
    "AllowedChannels",
    "check_channels",
    "default_policy",
    "granted",
    "not_granted",
]

log = logging.getLogger("wsredis.access")

NOT_GRANTED = "Not granted to "
"""How the text of a refusal by the policy begins."""

MAX_NAME = 64
"""Characters of a user's name that a refusal shows."""

AllowedChannels = Callable[[Any, tuple[str, ...]], Iterable[str]]
"""A callback ``allowed_channels(request, requested) -> granted``."""


def default_policy(request: Any, requested: tuple[str, ...]) -> Iterable[str]:
    """Grant every subscription and no publishing.

    A client can only subscribe to the channels of its own user, groups and session, and to the
    broadcast, so it never gets another client's channel.
    """
    return [key for key in requested if key.startswith("subscribe-")]


def granted(policy: AllowedChannels, request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requested keys that the policy grants, in the order requested.

    Raises:
        PermissionDenied: the policy refuses, raises, or returns anything but keys.
        HandshakeError: the policy raised one of its own.
    """
    try:
        answer = policy(request, requested)
        if isinstance(answer, str):
            raise TypeError(f"allowed_channels must return a list of keys: write [{answer!r}]")
        allowed = set(answer)
    except HandshakeError as exc:
        if type(exc) is PermissionDenied and exc.text == NOT_PERMITTED:  # without its own text
            raise not_granted(request, requested) from exc
        raise
    except Exception as exc:
        log.exception("allowed_channels failed, so nothing is granted")
        raise not_granted(request, requested) from exc
    return tuple([key for key in requested if key in allowed])


def check_channels(channels: Sized, most: int | None) -> None:
    """Check that a websocket does not get more channels than ``max_handshake_channels``.

    Raises:
        HandshakeError: 403, because fewer channels than requested would lose messages in silence.
    """
    if most is not None and len(channels) > most:
        raise HandshakeError(
            403, f"This websocket would have {len(channels)} channels, and the limit is {most}."
        )


def not_granted(
    request: Any, requested: tuple[str, ...], allowed: tuple[str, ...] = ()
) -> PermissionDenied:
    """Return the refusal of all requested keys.

    Args:
        request: its ``identity`` is named in the text.
        requested: all keys that the client requests.
        allowed: the keys that the policy grants, but for which the identity has no channel.
    """
    identity: Identity = getattr(request, "identity", ANONYMOUS)
    them = "it" if len(requested) == 1 else "them"
    who = "an anonymous client"
    advice = f"Log in if allowed_channels grants {them} to users, or grant {them} there."
    if identity.user is not None:
        who = loggable(encode_name(identity.user))
        who = who if len(who) <= MAX_NAME else who[: MAX_NAME - 3] + "..."
        advice = f"Grant {them} in allowed_channels."
    if allowed:
        missing = dict.fromkeys(key.partition("-")[2] for key in allowed)
        advice = f"This client has no {' and no '.join(missing)}."
        if identity.user is None:
            advice += " Log in."
    return PermissionDenied(f"{NOT_GRANTED}{who}: {', '.join(requested)}. {advice}")
