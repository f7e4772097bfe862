"""uWSGI: its descriptor is copied and its websocket functions are never called.

Those fail parts of RFC 6455, mix the fragments of two clients and can crash the worker. The 101
goes out through ``start_response``, so that uWSGI's log says 101.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from ..loop import Loop
from .base import Detached, Environ, Headers, StartResponse, ready

__all__ = ["UWSGI", "on_exit"]


class UWSGI:
    """Detach from uWSGI with ``--gevent`` or ``--threads``, its router before it or not."""

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        import uwsgi

        write = start_response("101 Switching Protocols", list(headers))
        write(b"")
        return Detached(ready(os.dup(uwsgi.connection_fd())))

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        return []


def on_exit(loop: Loop, goodbye: Callable[[], None], wait: Callable[[], None]) -> Any:
    """Arrange a farewell for the end of this worker; keep what this returns.

    Args:
        loop: where the hub runs.
        goodbye: tells every client; quick, called on the loop.
        wait: the same, and waits a moment for the answers; called from any thread.
    """
    if loop.native:
        # uWSGI's gevent plugin has watchers of its own for these, which then end the worker.
        watchers = [loop.gevent.signal(n, ref=False) for n in _signals()]
        for watcher in watchers:
            watcher.start(goodbye)
        return watchers
    import uwsgi

    module: Any = uwsgi
    before = getattr(module, "atexit", None)

    def leave() -> None:
        wait()
        if callable(before):
            before()

    module.atexit = leave
    return leave


def _signals() -> tuple[signal.Signals, ...]:
    return signal.SIGHUP, signal.SIGINT, signal.SIGTERM
