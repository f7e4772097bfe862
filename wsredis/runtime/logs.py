"""Logging from where nothing may block: callbacks of the gevent loop.

In a monkey-patched process a handler may yield in the middle of a record, to a log server, say,
and hold its lock meanwhile. Whoever logs from the loop itself would have to wait for that lock,
which the loop cannot do. So those records are handed to a greenlet.
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
    """Return a logger that may be used in a callback of the loop too."""
    return _Logger(logging.getLogger(name), {})
