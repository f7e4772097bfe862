"""The loan of the asyncio loop to WSGI requests, so that `async_to_sync` works in them.

Without it, asgiref runs a loop for each call. In a process that gevent has patched, where all
requests share a system thread, two of these at once fail. In all others, what must be used on one
loop, such as the layer in memory of Channels, would be used on two. asgiref instead uses the loop
that it finds in ``SyncToAsync.threadlocal``, where it notes that of the task that has called a
synchronous function; in a patched process each greenlet has values of its own there.

This is not part of asgiref's documented interface; a test holds it for each supported version.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .loop import AsyncioLoop

__all__ = ["lend", "lent"]

T = TypeVar("T", bound=Iterable[bytes])


def lent(loop: AsyncioLoop, app: Callable[..., T], *args: Any) -> T:
    """Call a WSGI application; ``async_to_sync`` in it uses the loop, if it needs to.

    The thread or greenlet keeps the loan, as the server iterates over the response after this call.
    """
    lend(loop)
    return app(*args)


def lend(loop: AsyncioLoop) -> None:
    """Let ``async_to_sync`` use the loop from now on in the thread or greenlet that calls this.

    asgiref ignores a loop that does not run, and one from before a fork.
    """
    asgiref = sys.modules.get("asgiref.sync")
    if asgiref is not None:
        local = asgiref.SyncToAsync.threadlocal
        lender = getattr(local, "main_event_loop", None)
        if lender is None or not lender.is_running() or local.main_event_loop_pid != os.getpid():
            local.main_event_loop, local.main_event_loop_pid = loop.asyncio, os.getpid()
