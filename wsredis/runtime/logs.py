"""Logging from callbacks of the gevent loop, which must not block; and not too often.

In a monkey-patched process a handler may yield while it writes a record, for example to a log
server, and hold its lock meanwhile. A callback of the loop cannot wait for that lock. So its
records are written by a new greenlet.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Hub

__all__ = ["Seldom", "get_logger"]

INTERVAL = 60.0
"""Seconds after a record in which `Seldom` lets no other one for the same reason pass."""

MAX_REASONS = 64
"""How many reasons `Seldom` remembers."""


class _Logger(logging.LoggerAdapter[logging.Logger]):
    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        if not isinstance(gevent.getcurrent(), Hub):
            self.logger.log(level, msg, *args, **kwargs)
            return
        exc_info = kwargs.get("exc_info")
        if exc_info and not isinstance(exc_info, (BaseException, tuple)):
            kwargs["exc_info"] = sys.exc_info()  # the new greenlet handles no exception
        gevent.spawn(self.logger.log, level, msg, *args, **kwargs)


def get_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger that may also be used in callbacks of the loop."""
    return _Logger(logging.getLogger(name), {})


class Seldom:
    """A filter that lets a record pass once a minute for each reason.

    It remembers at most `MAX_REASONS`, so a reason must not be a value that a client chooses: many
    of them would let records pass more often.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[object, float] = {}  # the oldest first

    def passes(self, reason: object) -> bool:
        """Return whether a record may be written, and count it as written."""
        now = self._clock()
        if now - self._last.get(reason, -INTERVAL) < INTERVAL:
            return False
        self._last.pop(reason, None)
        if len(self._last) >= MAX_REASONS:
            self._last = dict([*self._last.items()][1:])
        self._last[reason] = now
        return True
