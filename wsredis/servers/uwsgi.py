"""uWSGI: its descriptor is copied and its websocket functions are never called.

Those fail parts of RFC 6455, mix the fragments of two clients and can crash the worker. The 101
goes out through ``start_response``, so that uWSGI's log says 101.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import gevent
import gevent.monkey

from ..runtime.loop import Loop, in_gevent
from .base import Detached, Environ, Headers, StartResponse
from .descriptor import ready

__all__ = ["UWSGI", "on_exit", "prepare_workers"]


class UWSGI:
    """A request on uWSGI with ``--gevent`` or ``--threads``, its router before it or not."""

    ends_tls = False

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        write = start_response("101 Switching Protocols", list(headers))
        write(b"")
        fd = _uwsgi().connection_fd()
        copy = os.dup(fd)
        if in_gevent() and sys.platform == "linux":
            _forget(fd)
        return Detached(ready(copy))

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        return []


@lru_cache(maxsize=1)
def _uwsgi() -> Any:
    """Return uWSGI's module, which only its own processes have; an import each time would cost."""
    import uwsgi

    return uwsgi


def _forget(fd: int) -> None:
    """Take uWSGI's number of the socket out of the loop's epoll set.

    uWSGI waited for it there and closes it soon, but with our copy alive the kernel would keep
    the entry. At the client's first byte libev would find an event for a number it does not know,
    and build the whole set anew: a cost that grows with the square of the sockets.
    """
    loop: Any = gevent.get_hub().loop
    number = loop.fileno()
    if number is None:  # libev's poll and select have no set that the kernel keeps
        return
    # The entry is gone already where the client has said more or half-closed since its request:
    # libev met an event that nobody waits for and took it out. libuv never leaves one.
    with suppress(OSError):
        _epoll(os.getpid(), number).unregister(fd)


@lru_cache(maxsize=1)
def _epoll(pid: int, number: int) -> Any:
    """Return an object for the epoll set of this process's loop, over a copy of its descriptor.

    Monkey-patching takes the class out of `select`; gevent keeps it.
    """
    return gevent.monkey.get_original("select", "epoll").fromfd(os.dup(number))


def prepare_workers() -> None:
    """Make a worker end that is asked to before uWSGI can handle it; called when the site loads.

    Until then a forked worker has Python's handler. Its KeyboardInterrupt would only be printed,
    and the master would wait for that worker until its mercy ends, 60 seconds by default.
    """
    import uwsgi

    python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if python and uwsgi.worker_id() == 0:
        with suppress(ValueError):  # a sub-interpreter may not
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_exit(loop: Loop, drain: Callable[[], None], wait: Callable[[], None]) -> Any:
    """Install hooks for the end of this worker; keep what this returns.

    Args:
        loop: where the hub runs.
        drain: tells every client; quick, called on the loop.
        wait: the same, and waits a moment for the answers; called from any thread.
    """
    import uwsgi

    module: Any = uwsgi
    before = getattr(module, "atexit", None)

    def leave() -> None:
        wait()
        if callable(before):
            before()

    module.atexit = leave
    if not loop.native:
        return leave
    # uWSGI's gevent plugin has watchers of its own for these. They stop new requests, wait for
    # those that run and end the worker, which can take long.
    watchers = [loop.gevent.signal(n, ref=False) for n in _signals()]
    for watcher in watchers:
        watcher.start(drain)
    return watchers


def _signals() -> tuple[signal.Signals, ...]:
    return signal.SIGHUP, signal.SIGINT, signal.SIGTERM
