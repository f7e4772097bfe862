"""The asyncio loop of this process, on which hosted ASGI applications run.

In a process that gevent has not monkey-patched, it runs in a thread of its own. In a patched one it
runs in a greenlet of the hub's thread, because a real thread there would wait for locks that only
greenlets can release.

asyncio notes the running loop for each system thread. So every greenlet of the thread would see the
loop of ours, and `async_to_sync` or Django's ORM would refuse to work in all of them. `_Runner`
therefore hides the running loop whenever its greenlet is switched out.

Invariant: outside the greenlet of `_Runner`, a patched thread has no running loop of ours.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.tasks
import sys
import threading
from typing import TYPE_CHECKING, Any

import gevent
import greenlet
from gevent.monkey import is_module_patched
from gevent.selectors import GeventSelector

from ..runtime.logs import get_logger
from ..runtime.loop import Loop
from .calls import Calls
from .handlers import GreenletLoop

if TYPE_CHECKING:
    _Greenlet = gevent.Greenlet[..., Any]
else:  # the class itself has no parameters
    _Greenlet = gevent.Greenlet

__all__ = ["AsyncioLoop"]

log = get_logger("wsredis.asgi")


class AsyncioLoop:
    """An asyncio event loop that runs beside the hub.

    Args:
        hub_loop: the loop of the hub.

    Attributes:
        asyncio: the event loop.
        call: calls a function on the loop, after those of earlier calls; from any thread.
        in_greenlet: whether it runs in a greenlet on the thread of the hub.
        thread: id of its own thread; None in a greenlet.
    """

    def __init__(self, hub_loop: Loop) -> None:
        self.in_greenlet = is_module_patched("threading")
        self.thread: int | None = None
        self._runner: _Runner | None = None
        self._stopping = threading.Event()
        if self.in_greenlet:
            self._runner = hub_loop.run(_start_greenlet, self._stopping)
            self.asyncio = self._runner.asyncio
        else:
            self.asyncio = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run,
                args=[self.asyncio, self._stopping],
                name="wsredis-asyncio",
                daemon=True,
            )
            thread.start()
            self.thread = thread.ident
        self.call = Calls(self.asyncio.call_soon_threadsafe).add

    def current_task(self) -> asyncio.Task[Any] | None:
        """Return the task that runs, or that blocks the loop's greenlet; from any thread."""
        if self._runner is not None and self._runner.hidden:
            return self._runner.task
        return asyncio.current_task(self.asyncio)

    def stop(self) -> None:
        """Stop the event loop; it cannot be used afterwards. From any thread."""
        self._stopping.set()
        self.asyncio.call_soon_threadsafe(self.asyncio.stop)


def _run(loop: asyncio.AbstractEventLoop, stopping: threading.Event) -> None:
    """Run a loop until `AsyncioLoop.stop`, then close it.

    An application cannot end it: all websockets of hosted applications need it.
    """
    asyncio.set_event_loop(loop)
    try:
        while not stopping.is_set():
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # of a task or a callback
                log.exception("a task of an application tried to end the process; it goes on")
            else:
                if not stopping.is_set():
                    log.error("an application stopped the asyncio loop; it goes on")
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _start_greenlet(stopping: threading.Event) -> _Runner:
    """Run a new loop in a greenlet of this thread."""
    selector = _HidingSelector()
    runner = _Runner(selector, GreenletLoop(selector), stopping)
    runner.start()
    return runner


class _HidingSelector(GeventSelector):
    """A selector that hides the running loop while it waits."""

    runner: _Runner

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        self.runner.hide()
        try:
            return super().select(timeout)
        finally:
            self.runner.show()


class _Runner(_Greenlet):
    """The greenlet that runs the asyncio loop of a patched process.

    Attributes:
        asyncio: the event loop.
        hidden: whether other greenlets can see the thread, without the loop.
        task: while it is hidden, the task that blocks the greenlet; None if the loop only waits.
    """

    def __init__(
        self,
        selector: _HidingSelector,
        loop: asyncio.AbstractEventLoop,
        stopping: threading.Event,
    ) -> None:
        super().__init__()
        selector.runner = self
        self.asyncio = loop
        self._stopping = stopping
        self.hidden = True
        self.task: asyncio.Task[Any] | None = None
        self._outside: Any = None  # the running loop that the other greenlets see
        self._hooks: Any = None
        self._tracer: Any = None

    def _run(self) -> None:
        self.hidden = False
        self._outside = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            _run(self.asyncio, self._stopping)
        finally:
            self.hidden = True
            asyncio._set_running_loop(self._outside)

    def hide(self) -> None:
        """Show other greenlets the thread without this loop."""
        self.task = asyncio.current_task(self.asyncio)
        if self.task is not None:
            asyncio.tasks._leave_task(self.asyncio, self.task)
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        asyncio._set_running_loop(self._outside)
        self.hidden = True

    def show(self) -> None:
        """Show this loop again to the code that runs on it."""
        self._outside = asyncio._get_running_loop()
        asyncio._set_running_loop(self.asyncio)
        sys.set_asyncgen_hooks(*self._hooks)
        if self.task is not None:
            asyncio.tasks._enter_task(self.asyncio, self.task)
        self.hidden = False

    def switch_out(self) -> None:
        """Hide the loop; called by gevent where code on the loop blocks the greenlet.

        gevent does not call the greenlet when it is switched in again, so a trace function, which
        stays only until then, shows the loop.
        """
        if not self.hidden:
            self.hide()
            self._tracer = greenlet.settrace(self._trace)

    def _trace(self, event: str, switch: Any) -> None:
        before = self._tracer
        if switch[1] is self and self.hidden:
            if greenlet.gettrace() == self._trace:  # not one that was set since, and calls this one
                greenlet.settrace(before)
            self.show()
        if before is not None:
            before(event, switch)
