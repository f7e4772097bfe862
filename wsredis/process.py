"""The hub of this process and its loop, made at the first handshake and so after every fork.

Middleware objects with equal options and the same broker share one hub, with its timers, its link
to Redis and its limits. If several threads run gevent loops, each loop has its own hub.

This module does not handle requests: `wsredis.middleware` does.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .asgi.application import load_application
from .brokers import Broker
from .config import Config
from .drain import attach, detach
from .hub.hub import Hub
from .hub.limits import TUNNEL
from .runtime.loop import Loop
from .runtime.watchdog import Watchdog
from .servers.descriptor import make_room, reserve
from .transports.receivers import Receivers

if TYPE_CHECKING:
    from .asgi.host import AsgiHost
    from .asgi.loop import AsyncioLoop

__all__ = ["Process", "process_for", "process_with"]

log = logging.getLogger("wsredis.process")

T = TypeVar("T")

TOO_MANY = (
    "max_connections=%d needs more files than this process may open: of %d (ulimit -n), the server"
    " may take %d, so websockets get %d. Raise the limit, or lower max_connections or the server's"
    " worker_connections."
)

TOO_FEW = (
    "This process may open %d files (ulimit -n), of which the server may take %d, so websockets"
    " get %d. Raise the limit, or lower the server's worker_connections."
)


class Process:
    """A hub, its loop, and the parsers that its websockets share.

    Args:
        config: the options of the middleware.
        broker: carries the messages.
        own: descriptors that the server may take for its own connections.
        each: descriptors of one websocket.

    Attributes:
        asyncio: the asyncio loop, once something needs it.
        closed: whether it accepts no more websockets; `process_for` then makes another one.
        pid: id of the operating system process in which it was made.
    """

    def __init__(self, config: Config, broker: Broker, own: int = 0, each: int = 1) -> None:
        self._room = _make_room(config, own, each)
        self.config = config
        self.broker = broker
        self.closed = False
        self.pid = os.getpid()
        self.loop = Loop()
        self.hub: Hub = self.loop.run(self._make_hub)
        self.limits = self.hub.limits
        self.receivers = Receivers(config)
        self.asyncio: AsyncioLoop | None = None
        self._shared: dict[type, Any] = {}
        self._hosts: dict[str | int, AsgiHost] = {}
        self._watchdog = Watchdog(self.loop, self.hub)
        self._watchdog.start()

    def _make_hub(self) -> Hub:
        hub = Hub(self.config, self.broker, self.loop, self._room)
        attach(hub, self.loop)
        return hub

    def host(self, asgi: Any) -> AsgiHost:
        """Return the host of an ASGI application, and the asyncio loop, made at the first call.

        Args:
            asgi: the application, or its path.

        Raises:
            ConfigurationError: the application cannot be imported.
        """
        key = asgi if isinstance(asgi, str) else id(asgi)  # it need not be hashable
        host = self._hosts.get(key)
        if host is None:
            app = load_application(asgi)  # not under the lock: the import is the site's code
            from .asgi.host import AsgiHost

            asyncio = self.asyncio_loop()
            with _lock:
                host = self._hosts.get(key)
                if host is None:
                    host = self._hosts[key] = AsgiHost(app, self.config, self.loop, asyncio)
                    self.hub.on_drained.append(host.drain)
        return host

    def asyncio_loop(self) -> AsyncioLoop:
        """Return the asyncio loop of this process, made at the first call."""
        if self.asyncio is None:
            from .asgi.loop import AsyncioLoop
            from .asgi.watch import TaskWatch

            with _lock:
                if self.asyncio is None:
                    self.asyncio = AsyncioLoop(self.loop)
                    self._watchdog.also.append(TaskWatch(self.asyncio, self.loop).look)
        return self.asyncio

    def shared(self, kind: type[T], make: Callable[[], T]) -> T:
        """Return the object of a kind that all users of this object share; make it if necessary."""
        found = self._shared.get(kind)
        if found is None:
            with _lock:
                found = self._shared.get(kind) or self._shared.setdefault(kind, make())
        result: T = found
        return result

    def stats(self) -> dict[str, int]:
        """Return the counters of the hub; callable from any thread."""
        return self.loop.run(self.hub.numbers)

    def close(self) -> None:
        """End all websockets of all middleware that shares this object, and the link to the broker.

        The next handshake makes a new process object.
        """
        with _lock:  # so that `process_for` never returns a closed one
            self.closed = self._watchdog.stopped = True
            _processes[:] = [each for each in _processes if each is not self]
        self.loop.run(self.hub.close)
        # Only once, as each middleware that shares this object may close it.
        ends, self.hub.on_drained = self.hub.on_drained, []
        for end in ends:
            self.loop.run(end)
        asyncio, self.asyncio = self.asyncio, None
        if asyncio is not None:
            asyncio.stop()
        detach(self.hub)


def _make_room(config: Config, own: int, each: int) -> int:
    """Return how many descriptors websockets may take; warn if these are too few."""
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = None if config.max_connections is None else config.max_connections * each
    room = make_room(wanted, own)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted is None:
        if limit < before + own:
            log.warning(TOO_FEW, limit, own, room)
    elif wanted > room:
        log.warning(TOO_MANY, config.max_connections, limit, own, room // each)
    reserve(room if wanted is None else min(room, wanted))
    return room


_lock = threading.Lock()
_processes: list[Process] = []


def process_for(config: Config, broker: Broker, own: int = 0, tls: bool = False) -> Process:
    """Return the process object for some options and a broker; make it if there is none yet.

    Args:
        config: the options of the middleware.
        broker: carries the messages.
        own: descriptors that the server may take for its own connections.
        tls: whether the server terminates TLS itself.
    """
    with _lock:
        found = _find(config, broker)
        if found is None:
            _processes[:] = [each for each in _processes if each.pid == os.getpid()]
            found = Process(config, broker, own, 1 + TUNNEL * tls)
            _processes.append(found)
        return found


def process_with(config: Config, broker: Broker) -> Process:
    """Return a process object that uses a broker, whatever its other options are.

    It is for code that uses the link to the broker only. If there are several, that of the loop
    that runs the caller is preferred. If there is none, it is made.

    Args:
        config: the options of a process object that is made.
        broker: carries the messages.
    """
    with _lock:
        pid = os.getpid()
        known = [each for each in _processes if each.broker is broker and each.pid == pid]
    fitting = [each for each in known if each.loop.fits]
    return next(iter(fitting + known), None) or process_for(config, broker)


def _find(config: Config, broker: Broker) -> Process | None:
    pid = os.getpid()
    for process in _processes:
        same = process.broker is broker and process.config == config
        if same and process.pid == pid and process.loop.fits:
            return process
    return None


def _after_fork() -> None:
    """Reset the state in a child: the lock may be held by a thread that the child does not have."""
    global _lock
    _lock = threading.Lock()
    _processes.clear()


os.register_at_fork(after_in_child=_after_fork)
