"""Logging from callbacks of the gevent loop, which must not block.

In a monkey-patched process a handler may yield while it writes a record, for example to a log
server, and hold its lock meanwhile. A callback of the loop cannot wait for that lock. So its
records are written by a new greenlet.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import gevent
from gevent.hub import Hub

__all__ = ["get_logger"]


class _Logger(logging.LoggerAdapter[logging.Logger]):
    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        if not isinstance(gevent.getcurrent(), Hub):
            self.logger.log(level, msg, *args, **kwargs)
            return
        if kwargs.get("exc_info"):
            kwargs["exc_info"] = sys.exc_info()
        gevent.spawn(self.logger.log, level, msg, *args, **kwargs)


def get_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger that may also be used in callbacks of the loop."""
    return _Logger(logging.getLogger(name), {})
