"""The watch over the asyncio loop: it names the task that holds it, so that no application runs.

It looks in the thread of `wsredis.runtime.watchdog`, at the same intervals. When it finds a task,
it asks the loop to call back: until then, the same task has held the loop.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..runtime.logs import Seldom, get_logger
from ..runtime.loop import Loop
from ..runtime.watchdog import LIMIT
from .loop import AsyncioLoop

__all__ = ["TaskWatch"]

log = get_logger("wsredis.watchdog")

FRAMES = 8
"""How many frames of the stack are logged."""

HELD = (
    "An ASGI application held the asyncio loop for at least %d ms: the task %r (%s). No other"
    " ASGI application of this process could run in that time. Do slow work in a thread, for"
    " example with asyncio.to_thread. (Once a minute for each function.)%s"
)


class TaskWatch:
    """The watch over the asyncio loop of a process.

    Args:
        loop: the asyncio loop.
        hub_loop: the loop of the hub, which writes the log.
        clock: returns the time in seconds.
    """

    def __init__(
        self, loop: AsyncioLoop, hub_loop: Loop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._hub_loop = hub_loop
        self._clock = clock
        self._seldom = Seldom(clock)
        self._seen: Any = None  # a task, from the first look at it until the loop is free
        self._since = 0.0

    def look(self) -> None:
        """Look once at what the loop does; called in the watchdog's thread."""
        task = self._loop.current_task()
        if task is None:
            return
        if self._seen is None:
            self._seen, self._since = task, self._clock()
            with suppress(RuntimeError):  # of a loop that has been closed meanwhile
                self._loop.call(self._free)
        elif self._seen is task and (held := self._clock() - self._since) >= LIMIT:
            stack, place = self._stack()
            self._hub_loop.soon(self._report, task, held, stack, place)
            self._seen = self  # this task is reported, until the loop is free

    def _free(self) -> None:
        self._seen = None

    def _stack(self) -> tuple[str, object]:
        """Return the stack of the loop's thread and its innermost code.

        A thread that switches greenlets is not looked at: that crashes the interpreter.
        """
        thread = self._loop.thread
        frame = None if thread is None else sys._current_frames().get(thread)
        if frame is None:
            return "", None
        return "\n" + "".join(traceback.format_stack(frame, FRAMES)).rstrip(), frame.f_code

    def _report(self, task: Any, held: float, stack: str, place: object) -> None:
        coroutine = task.get_coro()
        if self._seldom.passes(place or getattr(coroutine, "cr_code", None)):
            name = getattr(coroutine, "__qualname__", "?")
            log.warning(HELD, held * 1000, task.get_name(), name, stack)
