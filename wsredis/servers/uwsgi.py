"""uWSGI: its descriptor is duplicated, and its websocket functions are not used.

Those functions violate parts of RFC 6455, mix fragments of two clients and can crash the worker.
The 101 is sent through ``start_response``, so that it appears in uWSGI's log.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import gevent
import gevent.monkey

from ..protocol.http import SWITCHING_PROTOCOLS
from ..runtime.loop import Loop, in_gevent
from .base import Detached, Headers, StartResponse
from .descriptor import hang_up, ready

__all__ = ["UWSGI", "on_exit", "prepare_workers"]

log = logging.getLogger("wsredis.servers")

ROUTERS = ("http", "httprouter", "https", "https2")
"""Options that start uWSGI's HTTP router."""

TUNNELS = ("http-websockets", "http-raw-body")
"""Options with which the router forwards what a client sends after its request."""

NO_TUNNEL = (
    "uWSGI has the option %s without http-websockets: websockets through its router get the 101,"
    " but nothing that the client sends arrives. Add --http-websockets (in a file: http-websockets"
    " = true)."
)

PERSISTENT = ("http11", "puwsgi")
"""Protocols in which uWSGI waits for the next request on the same socket."""


class UWSGI:
    """A request on uWSGI with ``--gevent`` or ``--threads``, with or without its router."""

    ends_tls = False

    def may_repeat_length(self, start_response: StartResponse) -> bool:
        return False  # uWSGI joins the values

    def own_descriptors(self, start_response: StartResponse) -> int:
        return 0

    def upgrade(self, start_response: StartResponse, headers: Headers) -> Detached:
        write = start_response(SWITCHING_PROTOCOLS, list(headers))
        write(b"")
        uwsgi, keeps_alive = _uwsgi()
        fd = uwsgi.connection_fd()
        return _take(fd) if keeps_alive else _copy(fd)

    def take(self, start_response: StartResponse) -> Detached:
        client = _take(_uwsgi()[0].connection_fd())
        try:
            start_response(SWITCHING_PROTOCOLS, [])  # for its log; it is not sent
        except BaseException:
            hang_up(client.fd)
            raise
        return client

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        return []


def _copy(fd: int) -> Detached:
    copy = os.dup(fd)
    if in_gevent() and sys.platform == "linux":
        _forget(fd)
    return Detached(ready(copy))


def _take(fd: int) -> Detached:
    """Copy uWSGI's descriptor, and leave it the null device in place of the socket."""
    nothing = os.open(os.devnull, os.O_RDWR)  # uWSGI may read it too, for the next request
    try:
        client = _copy(fd)
        os.dup2(nothing, fd)
    finally:
        os.close(nothing)
    return client


@lru_cache(maxsize=1)
def _uwsgi() -> tuple[Any, bool]:
    """Return uWSGI's module, and whether it may read a socket after its first request.

    The module exists only in uWSGI's own processes. The result is cached for speed.
    """
    import uwsgi

    options = uwsgi.opt
    values = [options.get("protocol"), options.get("socket-protocol")]
    protocols = [p for value in values for p in (value if isinstance(value, list) else [value])]
    keeps_alive = any(f"{p}-socket" in options or p.encode() in protocols for p in PERSISTENT)
    return uwsgi, keeps_alive


def _forget(fd: int) -> None:
    """Remove uWSGI's descriptor of the socket from the loop's epoll set.

    uWSGI has added it there and closes it soon, but while our copy is open the kernel keeps the
    entry. At the client's first byte libev would get an event for an unknown descriptor and rebuild
    the whole set, at a total cost that grows with the square of the number of sockets.
    """
    loop: Any = gevent.get_hub().loop
    number = loop.fileno()
    if number is None:  # libev's poll and select keep no set in the kernel
        return
    # The entry is already removed if the client has sent bytes or half-closed since its request:
    # libev got an event without a watcher and removed it. libuv never leaves an entry.
    with suppress(OSError):
        _epoll(os.getpid(), number).unregister(fd)


@lru_cache(maxsize=1)
def _epoll(pid: int, number: int) -> Any:
    """Return an epoll object for the loop of this process, on a copy of its descriptor.

    Monkey-patching removes the class from `select`; gevent keeps the original.
    """
    return gevent.monkey.get_original("select", "epoll").fromfd(os.dup(number))


def prepare_workers() -> None:
    """Warn of missing options, and let SIGINT end a worker early; called when the site loads.

    Before uWSGI has its own handlers, a forked worker has Python's, whose KeyboardInterrupt would
    only be printed. The master would wait for the worker for its ``worker-reload-mercy``, 60
    seconds by default.
    """
    import uwsgi

    if uwsgi.worker_id() <= 1:  # with lazy-apps each worker loads the site
        _check_router()
    python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if python and uwsgi.worker_id() == 0:
        with suppress(ValueError):  # not allowed in a sub-interpreter
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@lru_cache(maxsize=1)
def _check_router() -> None:
    """Warn, once, if the router would not forward what the clients of websockets send."""
    options = _uwsgi()[0].opt
    router = next((name for name in ROUTERS if name in options), None)
    if router is not None and not any(_is_on(options.get(name, b"no")) for name in TUNNELS):
        log.warning(NO_TUNNEL, router)


def _is_on(value: object) -> bool:
    """Return whether a flag is on: True on the command line, bytes in a file."""
    return value not in (b"false", b"off", b"no", b"0")


def on_exit(loop: Loop, drain: Callable[[], None], wait: Callable[[], None]) -> Any:
    """Install hooks for the end of this worker.

    Args:
        loop: the loop of the hub.
        drain: begins to close all websockets; called on the loop, must not block.
        wait: closes all websockets and waits a moment for the clients; called from any thread.

    Returns:
        The hooks; the caller must keep a reference to them.
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
    # uWSGI's gevent plugin has its own watchers for these signals. They stop accepting requests,
    # wait for running requests and end the worker, which can take long.
    watchers = [loop.gevent.signal(n, ref=False) for n in _signals()]
    for watcher in watchers:
        watcher.start(drain)
    return watchers


def _signals() -> tuple[signal.Signals, ...]:
    return signal.SIGHUP, signal.SIGINT, signal.SIGTERM
