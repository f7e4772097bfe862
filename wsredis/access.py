"""What is granted of what was asked for: the allowed-channels callback and the default policy.

A callback gets the request (a `webob.Request` whose ``identity`` is set) and the wishes, keys such
as ``subscribe-broadcast``, and returns those it grants. It can only take away: what it returns is
intersected with the wishes. One that raises, or returns nonsense, grants nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from .exceptions import HandshakeError, PermissionDenied

__all__ = ["AllowedChannels", "default_policy", "granted"]

log = logging.getLogger("wsredis.access")

AllowedChannels = Callable[[Any, tuple[str, ...]], Iterable[str]]
"""A callback ``allowed_channels(request, wishes) -> granted``."""


def default_policy(request: Any, wishes: tuple[str, ...]) -> Iterable[str]:
    """Grant every subscription and no publishing.

    One's own user, groups and session are all that a subscription can mean, so nobody gets the
    channel of somebody else.
    """
    return [wish for wish in wishes if wish.startswith("subscribe-")]


def granted(policy: AllowedChannels, request: Any, wishes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the wishes that the policy grants, in the order asked.

    Raises:
        PermissionDenied: the policy refuses, raises, or returns something else than wishes.
        HandshakeError: the policy raised one of its own.
    """
    try:
        answer = policy(request, wishes)
        if isinstance(answer, str):
            raise TypeError(f"allowed_channels returns a list of wishes: write [{answer!r}]")
        allowed = set(answer)
    except HandshakeError:
        raise
    except Exception as exc:
        log.exception("allowed_channels failed, so nothing is granted")
        raise PermissionDenied from exc
    return tuple(wish for wish in wishes if wish in allowed)
