"""The hub of this process and its loop, made at the first handshake and so after every fork.

Middleware objects with equal options and the same broker share one hub, with its timers, its link
to Redis and its limits. If several threads run gevent loops, each loop has its own hub.

This module does not handle requests: `wsredis.middleware` does.
"""

from __future__ import annotations

import os
import threading

from .brokers import Broker
from .config import Config
from .drain import attach, detach
from .hub.hub import Hub
from .runtime.loop import Loop
from .servers.descriptor import reserve
from .transports.receivers import Receivers

__all__ = ["Process", "process_for"]


class Process:
    """A hub, its loop, and the parsers that its websockets share.

    Args:
        config: the options of the middleware.
        broker: carries the messages.

    Attributes:
        closed: whether it accepts no more websockets; `process_for` then makes another one.
        pid: id of the operating system process in which it was made.
    """

    def __init__(self, config: Config, broker: Broker) -> None:
        reserve(config.connection_limit())
        self.config = config
        self.broker = broker
        self.closed = False
        self.pid = os.getpid()
        self.loop = Loop()
        self.hub: Hub = self.loop.run(self._make_hub)
        self.limits = self.hub.limits
        self.receivers = Receivers(config)

    def _make_hub(self) -> Hub:
        hub = Hub(self.config, self.broker, self.loop)
        attach(hub, self.loop)
        return hub

    def stats(self) -> dict[str, int]:
        """Return the counters of the hub; callable from any thread."""
        return self.loop.run(self.hub.numbers)

    def close(self) -> None:
        """End all websockets of all middleware that shares this object, and the link to the broker.

        The next handshake makes a new process object.
        """
        with _lock:  # so that `process_for` never returns a closed one
            self.closed = True
            _processes[:] = [each for each in _processes if each is not self]
        self.loop.run(self.hub.close)
        detach(self.hub)


_lock = threading.Lock()
_processes: list[Process] = []


def process_for(config: Config, broker: Broker) -> Process:
    """Return the process object for some options and a broker; make it if there is none yet."""
    with _lock:
        found = _find(config, broker)
        if found is None:
            _processes[:] = [each for each in _processes if each.pid == os.getpid()]
            found = Process(config, broker)
            _processes.append(found)
        return found


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
