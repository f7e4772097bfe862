"""The host of one ASGI application in this process."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

import gevent
from gevent.monkey import is_module_patched

from ..config import Config
from ..endpoints.base import EndpointContext
from ..runtime.logs import get_logger
from ..runtime.loop import Loop
from ..runtime.owner import ChannelOwner, channel_owner
from .calls import Calls
from .endpoint import AsgiEndpoint
from .handlers import GreenletExecutor
from .lifespan import Lifespan
from .loop import AsyncioLoop
from .run import Run

__all__ = ["AsgiHost"]

log = get_logger("wsredis.asgi")

POLL = 0.01
"""Seconds between two looks at whether all applications have returned."""


class AsgiHost:
    """An ASGI application and its running instances, one for each websocket.

    Args:
        app: the application (ASGI 3).
        config: the options of the middleware.
        hub_loop: the loop of the hub.
        loop: the asyncio loop of the process.

    Attributes:
        call_hub: calls a function on the hub's loop, after those of earlier calls; from any thread.
    """

    def __init__(self, app: Any, config: Config, hub_loop: Loop, loop: AsyncioLoop) -> None:
        self.app = app
        self.loop = loop
        self._config = config
        self.call_hub = Calls(hub_loop.soon).add
        self._runs: set[Run] = set()
        self._until = math.inf  # of `drain`
        self._lifespan = Lifespan(app)
        patched = is_module_patched("threading")
        self._threads: list[Executor] = [
            GreenletExecutor(loop.call, name) if patched else ThreadPoolExecutor(1, name)
            for name in (f"wsredis-handler-{number}" for number in range(config.handler_threads))
        ]
        self._next_thread = itertools.cycle(self._threads)
        loop.call(self._lifespan.start)

    def endpoint(self, request: Any, context: EndpointContext) -> AsgiEndpoint:
        """Return the endpoint of a new websocket; an `EndpointFactory`."""
        return AsgiEndpoint(self.start, self.call_hub, request, context)

    def start(self, endpoint: AsgiEndpoint) -> Run:
        """Start the application for a websocket; called on the hub's loop."""
        run = Run(endpoint, self.loop)
        self._runs.add(run)
        self.loop.call(self._start, run)
        return run

    def _start(self, run: Run) -> None:
        if self._lifespan.failed:
            self._lifespan = Lifespan(self.app)
            self._lifespan.start()
        # Without a context of its own, the task would have that of an arbitrary greenlet.
        run.task = asyncio.Task(
            self._run(run), name=f"websocket {run.path}", context=contextvars.Context()
        )
        run.task.add_done_callback(lambda task: self._ended(run))

    def _ended(self, run: Run) -> None:
        self._runs.discard(run)
        run.on_return()

    async def _run(self, run: Run) -> None:
        if not await self._lifespan.started():
            run.fail("is not run, as its startup failed")
            return
        run.scope["state"] = self._lifespan.state.copy()
        owner = ChannelOwner(partial(self._on_gap, run))
        channel_owner.set(owner)
        # It must live as long as this task: asgiref knows it by a weak reference.
        context = self._own_thread()
        try:
            await run.run(self.app)
        finally:
            owner.close()
            del context

    def _on_gap(self, run: Run) -> None:
        """Close the websocket of an application that may have missed messages of its layer."""
        if self._config.on_gap == "close":
            run.on_gap()

    def _own_thread(self) -> Any:
        """Let the synchronous code of this task run in one of the host's threads.

        asgiref runs it otherwise in one thread for the whole process.
        """
        asgiref = sys.modules.get("asgiref.sync")
        if asgiref is None:
            return None
        context = asgiref.ThreadSensitiveContext()
        asgiref.SyncToAsync.context_to_thread_executor[context] = next(self._next_thread)
        asgiref.SyncToAsync.thread_sensitive_context.set(context)
        return context

    def drain(self) -> None:
        """Let the applications handle their disconnect events, then shut down.

        Blocks the greenlet for at most ``shutdown_timeout``, from the first call on. Called on the
        hub's loop, after its websockets have ended.
        """
        until = self._until = min(self._until, time.monotonic() + self._config.shutdown_timeout)
        self._wait(until, lambda: not self._runs)
        self.loop.call(self._lifespan.stop)
        self._wait(until, lambda: self._lifespan.stopped)
        for run in tuple(self._runs):
            log.warning("the application at %r still ran at the end of the process", run.path)
            self.loop.call(run.cancel)
        if not self._lifespan.stopped:
            log.warning("the application had not shut down at the end of the process")
            self.loop.call(self._lifespan.cancel)
        self._wait(time.monotonic() + POLL * 10, lambda: self._lifespan.stopped and not self._runs)
        for threads in self._threads:
            threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _wait(until: float, condition: Callable[[], bool]) -> None:
        while not condition() and time.monotonic() < until:
            gevent.sleep(POLL)
