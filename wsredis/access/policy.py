"""Which requested channels are granted: the ``allowed_channels`` callback and the default policy.

A callback gets the request (a `webob.Request` whose ``identity`` is set) and the requested keys,
such as ``subscribe-broadcast``, and returns those it grants. It can only take away: what it returns
is intersected with what was requested. One that raises, or returns something else, grants nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ..exceptions import HandshakeError, PermissionDenied

__all__ = ["AllowedChannels", "default_policy", "granted"]

log = logging.getLogger("wsredis.access")

AllowedChannels = Callable[[Any, tuple[str, ...]], Iterable[str]]
"""A callback ``allowed_channels(request, requested) -> granted``."""


def default_policy(request: Any, requested: tuple[str, ...]) -> Iterable[str]:
    """Grant every subscription and no publishing.

    One's own user, groups and session are all that a subscription can mean, so nobody gets the
    channel of somebody else.
    """
    return [key for key in requested if key.startswith("subscribe-")]


def granted(policy: AllowedChannels, request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requested keys that the policy grants, in the order requested.

    Raises:
        PermissionDenied: the policy refuses, raises, or returns something else than keys.
        HandshakeError: the policy raised one of its own.
    """
    try:
        answer = policy(request, requested)
        if isinstance(answer, str):
            raise TypeError(f"allowed_channels returns a list of keys: write [{answer!r}]")
        allowed = set(answer)
    except HandshakeError:
        raise
    except Exception as exc:
        log.exception("allowed_channels failed, so nothing is granted")
        raise PermissionDenied from exc
    return tuple(key for key in requested if key in allowed)
