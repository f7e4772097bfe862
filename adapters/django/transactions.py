"""Transactions under unpatched gevent, where all requests share one database connection."""

from __future__ import annotations

from django.db import connections

from wsredis.runtime.blocking import stay_while

__all__ = ["keep_together"]


def keep_together() -> None:
    """Do not switch to another greenlet when a view publishes inside a transaction."""
    stay_while(_is_open)


def _is_open() -> bool:
    """Return whether a transaction is open on a connection of this thread."""
    return any(one.in_atomic_block for one in connections.all(initialized_only=True))
