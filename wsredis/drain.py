"""Draining: before this process ends, every client gets a close frame with 1012.

Each hub is registered with `attach`. When the process gets SIGTERM, SIGHUP or SIGINT, or ends by
itself, the hub drains first. Then the previous signal handlers of the server or the user run. Under
uWSGI, whose handlers Python does not see, `wsredis.servers.uwsgi` does this.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
import gevent.monkey

from .hub.hub import Hub
from .hub.steps import in_steps
from .runtime.loop import NEXT_TURN, Loop

__all__ = ["attach", "detach", "install_signals"]

_start_thread = gevent.monkey.get_original("_thread", "start_new_thread")

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

SPARE = 5.0
"""Seconds beyond ``close_timeout`` in which many websockets are closed, in steps."""

_hubs: weakref.WeakKeyDictionary[Hub, Loop] = weakref.WeakKeyDictionary()
_before: dict[int, list[Any]] = {}  # a later handler may call an earlier one, and so `_handle`
_depth = 0
_passing_on = False

# A forked child shares the sockets, but must not close the websockets.
os.register_at_fork(after_in_child=_hubs.clear)


def attach(hub: Hub, loop: Loop) -> None:
    """Register a hub to be drained before the process ends; called on its loop."""
    _hubs[hub] = loop
    if "uwsgi" in sys.modules:
        from .servers.uwsgi import on_exit

        hub.exit_hooks = on_exit(loop, partial(loop.spawn, hub.drain), _drain_all)
    else:
        atexit.register(_drain_all)
        install_signals()


def detach(hub: Hub) -> None:
    """Unregister a hub that was closed; its loop may end before the process does."""
    _hubs.pop(hub, None)


def install_signals() -> None:
    """Install signal handlers that drain before they call the previous Python handlers.

    Only the main thread can do this; in other threads nothing is installed, and `atexit` drains.
    An ignored signal stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if "uwsgi" in sys.modules:
        from .servers.uwsgi import prepare_workers

        prepare_workers()
        return
    for signum in SIGNALS:
        before = signal.getsignal(signum)
        if before not in (None, signal.SIG_IGN, _handle):
            _before.setdefault(signum, []).append(before)
            signal.signal(signum, _handle)


def _handle(signum: int, frame: Any) -> None:
    """Drain, then send the signal again; the second time, call the previous handler."""
    global _passing_on
    if _passing_on or _depth or not _hubs:
        _pass_on(signum, frame)
        return
    _passing_on = True
    hubs = list(_hubs.items())
    waiting = len(hubs)

    def drained() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            # From a thread, so that the signal interrupts the main thread where it waits, and not
            # one of our greenlets. Not from the pool: its threads may all be waiting for Redis.
            _start_thread(os.kill, (os.getpid(), signum))

    for hub, loop in hubs:
        loop.soon(loop.spawn, _drain, hub, drained)


def _pass_on(signum: int, frame: Any) -> None:
    global _passing_on, _depth
    _passing_on = False
    known = _before[signum]
    before = known[-1 - _depth] if _depth < len(known) else signal.SIG_DFL
    if callable(before):
        _depth += 1
        try:
            before(signum, frame)
        finally:
            _depth -= 1
    else:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _drain(hub: Hub, done: Callable[[], None] | None = None) -> None:
    """Close all websockets, wait at most ``close_timeout`` for the clients, and end the sockets."""
    hub.drain()
    until = time.monotonic() + hub.config.close_timeout
    while next(hub.subscribers(), None) is not None and time.monotonic() < until:
        gevent.sleep(0.01)
    for step in in_steps(hub.subscribers()):
        for subscriber in step:
            subscriber.abort()
        gevent.sleep(NEXT_TURN)
    gevent.joinall([gevent.spawn(function) for function in hub.on_drained])
    if done is not None:
        done()


def _drain_all() -> None:
    for hub, loop in list(_hubs.items()):
        seconds = hub.config.close_timeout + SPARE
        if hub.on_drained:
            seconds += hub.config.shutdown_timeout
        with suppress(TimeoutError):  # of a loop that hangs; the others are drained, too
            loop.run(_drain, hub, timeout=seconds)
