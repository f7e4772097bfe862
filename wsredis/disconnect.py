"""`disconnect`: closes the websockets of a user, a session or a group from views and jobs."""

from __future__ import annotations

import logging
import time
from uuid import UUID

from .brokers import log_for
from .config import Config, current_config
from .exceptions import BrokerUnavailable
from .identity.revocation import LOG_LENGTH, LOG_SECONDS, Revocation, control_channel
from .naming import plain_str

__all__ = ["disconnect"]

log = logging.getLogger("wsredis.disconnect")


def disconnect(
    *,
    user: str | UUID | None = None,
    session: str | UUID | None = None,
    group: str | UUID | None = None,
    code: int = 4401,
    reason: str = "",
    config: Config | None = None,
    fail_silently: bool = False,
) -> int:
    """Close the websockets of a user, a session or a group, on all hosts.

    All given names must match: ``user`` and ``group`` together select the websockets of that user
    whose identity has the group. Websockets whose ticket was issued before are closed as soon as
    they open. After 4401 and 1012 the browser client reconnects and is identified again; after 1008
    or 4403 it does not.

    Args:
        user: a user's name, as the identity resolver returns it; a UUID stands for its string.
        session: a session key, as the identity resolver returns it.
        group: a group's name; at least one of the three is required.
        code: close code: 1000, 1008, 1012, 1013, or 3000 to 4999.
        reason: close reason, at most 123 bytes of UTF-8.
        config: the options; by default those of this process, as for `Publisher`.
        fail_silently: whether to log a warning and return 0 if Redis is unavailable; the websockets
            then stay open.

    Returns:
        The number of processes that received the request. If Redis delivers the request but cannot
        store it, because its memory is full or its disk fails, an error is logged by
        ``wsredis.brokers.redis``: processes that are not connected to Redis at this moment, or that
        start later, do not know of the request. Repeat it when Redis can store it.

    Raises:
        TypeError, ValueError: no name is given, or the code or the reason cannot be sent.
        ConfigurationError: ``config`` is needed, because middleware of this process has other
            values.
        BrokerUnavailable: Redis does not answer within the option ``publish_timeout``, or refuses;
            the request may be lost.
    """
    config = current_config() if config is None else config
    revocation = Revocation(_text(user), _text(group), _text(session), code, reason, time.time())
    channel = control_channel(config.key_prefix)
    try:
        return log_for(config).append(channel, revocation.encode(), LOG_SECONDS, LOG_LENGTH)
    except BrokerUnavailable as exc:
        if not fail_silently:
            raise
        log.warning("websockets may not have been closed: %s", exc)
        return 0


def _text(name: str | UUID | None) -> str | None:
    if isinstance(name, UUID):
        return str(name)
    return plain_str(name) if isinstance(name, str) else name
