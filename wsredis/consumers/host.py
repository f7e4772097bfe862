"""What the synchronous consumers of a process have in common."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event as GeventEvent
from gevent.monkey import is_module_patched

from ..asgi.calls import Calls
from ..asgi.endpoint import AsgiEndpoint
from ..asgi.lending import lend
from ..endpoints.base import EndpointContext
from ..layers.calls import allocate_lock
from ..process import Process
from ..protocol.closing import SLOW
from ..runtime.logs import get_logger
from .base import SyncConsumer
from .hooks import after_handlers, around_handlers
from .kinds import ConsumerKind
from .run import ConsumerRun
from .runner import GreenletRunner, Runner, ThreadRunner

__all__ = ["ConsumerHost"]

log = get_logger("wsredis.consumers")

UNFINISHED = "at the end of the process, %d of its consumers had not ended, such as %s"

PATIENCE = 2.0
"""Seconds for which a handler may wait for a client that reads nothing, if threads are short."""

POLL = 0.01
"""Seconds between two looks at whether all consumers have ended."""


class ConsumerHost:
    """The host of the synchronous consumers of one process.

    Args:
        process: the process object, whose hub has the websockets.

    Attributes:
        config: the options of the middleware.
        hub: the hub of the websockets.
        loop: the loop of the hub.
        make_event: makes an event for which handlers can wait.
        runner: runs the handlers.
        runs: the runs that have not ended.
        around: functions to call before and after each handler.
    """

    def __init__(self, process: Process) -> None:
        self.config = process.config
        self.hub = process.hub
        self.loop = process.loop
        in_greenlets = is_module_patched("threading")
        self.make_event: Callable[[], Any] = GeventEvent if in_greenlets else threading.Event
        self.runner: Runner = (
            GreenletRunner(self._on_begin, self._on_end)
            if in_greenlets
            else ThreadRunner(self.config.handler_threads, self._on_end)
        )
        self.runs: set[ConsumerRun] = set()
        self.around: tuple[Callable[[], None], ...] = tuple(around_handlers)
        # By what handlers in threads wait with, until their clients have read enough: since when,
        # in monotonic seconds. The one that has waited for longest is the first.
        self._waiting: dict[Any, float] = {}
        self._lock = allocate_lock()
        self._asyncio_loop = process.asyncio_loop
        self._kinds: dict[type, ConsumerKind] = {}
        # In greenlets a message is written at once; threads wake the loop once for several.
        self.call_hub = self._call_here if in_greenlets else Calls(self.loop.soon).add
        self.hub.on_drained.append(self.drain)

    def endpoint(
        self,
        request: Any,
        context: EndpointContext,
        consumer: type[SyncConsumer],
        initkwargs: dict[str, Any],
    ) -> AsgiEndpoint:
        """Return the endpoint of a new websocket for a class of consumers."""
        start = partial(ConsumerRun, self, consumer, initkwargs)
        return AsgiEndpoint(start, self.call_hub, request, context)

    def _call_here(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function on the hub's loop; from any thread, at once on that of the loop."""
        if self.loop.is_here:
            function(*args)
        else:
            self.loop.soon(function, *args)

    def kind(self, consumer: type[SyncConsumer]) -> ConsumerKind:
        """Return the kind of the members of groups that are of a class."""
        kind = self._kinds.get(consumer)
        if kind is None:
            kind = self._kinds.setdefault(consumer, ConsumerKind(self.hub, self.loop, consumer))
        return kind

    def begin_wait(self, waiter: Any) -> float | None:
        """Count a handler that waits for its client.

        Returns:
            Seconds after which it calls `gives_up`, and again; None for never, in greenlets.
        """
        if not self.runner.occupies_thread():
            return None
        with self._lock:
            self._waiting[waiter] = time.monotonic()
        return PATIENCE / 4

    def gives_up(self, run: ConsumerRun, waiter: Any) -> bool:
        """Return whether a handler waits no longer, so that others have a thread.

        That is if such handlers occupy more than half of the threads, and this one has waited for
        longest, and for `PATIENCE` at least. Its client is closed then.
        """
        with self._lock:
            since = self._waiting.get(waiter, math.inf)
            is_first = next(iter(self._waiting), None) is waiter
            are_many = len(self._waiting) > self.config.handler_threads // 2
        if not (is_first and are_many and time.monotonic() - since >= PATIENCE):
            return False
        self.call_hub(self._close_slow, run)
        return True

    def end_wait(self, waiter: Any) -> None:
        """Note that a handler waits no longer."""
        with self._lock:
            self._waiting.pop(waiter, None)

    def _close_slow(self, run: ConsumerRun) -> None:
        self.hub.stats.slow_consumers += run.kick(SLOW)

    def _on_begin(self) -> None:
        """Let ``async_to_sync`` work in the handlers of a greenlet, if asgiref is in use."""
        if "asgiref.sync" in sys.modules:
            lend(self._asyncio_loop())

    def _on_end(self) -> None:
        """Release what the handlers of a greenlet or thread have left."""
        for function in after_handlers:
            function()

    def drain(self) -> None:
        """Let the consumers handle the end; blocks at most ``shutdown_timeout``."""
        until = time.monotonic() + self.config.shutdown_timeout
        while self.runs and time.monotonic() < until:
            gevent.sleep(POLL)
        self.runner.close()
        if left := tuple(self.runs):
            log.warning(UNFINISHED, len(left), left[0].what())
            self.runs.clear()  # a signal and the end of the process both drain; only one waits
