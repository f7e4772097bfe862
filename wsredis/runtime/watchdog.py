"""A thread that finds application code which holds the loop, so that no websocket is served.

It looks at the stack of the loop's thread at short intervals, because clock readings around each
call would cost time for every message. When it finds application code, it asks the loop to call
back: until then, the same call of a function has held the loop. A call that begins and ends between
two looks is not seen, nor is one in C that keeps Python's global lock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

import gevent.monkey

from .logs import Seldom, get_logger
from .loop import Loop

__all__ = ["LIMIT", "Watchdog", "calls_application"]

log = get_logger("wsredis.watchdog")

LIMIT = 0.2
"""Seconds for which a call may hold the loop."""

PERIOD = 0.05
"""Seconds between two looks."""

HELD = (
    "%s held the loop for at least %d ms: %s (%s:%d). Meanwhile this process served no websocket."
    " Do slow work in a thread, or with sockets that gevent has patched. (Once a minute for each"
    " function.)"
)

PASSED = ("wsredis", "ws4redis", "contextlib")
"""Packages whose functions only pass a call on to the application."""

Function = TypeVar("Function", bound=Callable[..., Any])

_sleep: Callable[[float], None] = gevent.monkey.get_original("time", "sleep")
_start_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")
_callers: dict[CodeType, str] = {}


def calls_application(what: str) -> Callable[[Function], Function]:
    """Mark a function that calls application code, without a wrapper around it.

    Args:
        what: the name of what it calls, for the log.
    """

    def mark(function: Function) -> Function:
        _callers[function.__code__] = what
        return function

    return mark


class Sighting:
    """A call of application code on the loop.

    Args:
        frame: the frame of the call.
        what: the kind of function that is called.
        since: the time at which it was first seen.

    Attributes:
        until: the time at which it was last seen.
    """

    __slots__ = ("code", "frame", "line", "module", "since", "until", "what")

    def __init__(self, frame: FrameType, what: str, since: float) -> None:
        self.frame: FrameType | None = frame
        self.what = what
        self.since = self.until = since
        self.code = frame.f_code
        self.module = frame.f_globals.get("__name__", "?")
        self.line = frame.f_lineno


class Watchdog:
    """The watch over one loop.

    Args:
        loop: the loop of the hub.
        clock: returns the time in seconds.

    Attributes:
        stopped: whether its thread is to end; set by the owner.
    """

    def __init__(self, loop: Loop, clock: Callable[[], float] = time.monotonic) -> None:
        self.stopped = False
        self._loop = loop
        self._clock = clock
        self._seldom = Seldom(clock)
        self._sighting: Sighting | None = None

    def start(self) -> None:
        """Start the thread: one of the system, also in a monkey-patched process."""
        _start_thread(self._run, ())

    def _run(self) -> None:
        while not self.stopped:
            self.look()
            _sleep(PERIOD)

    def look(self) -> None:
        """Look once at what the loop does."""
        frame, what = _application(sys._current_frames().get(self._loop.thread))
        if frame is None:
            return
        if (sighting := self._sighting) is None:
            self._sighting = sighting = Sighting(frame, what, self._clock())
            self._loop.soon(self._free, sighting)
        elif sighting.frame is frame:
            sighting.line = frame.f_lineno
            sighting.until = self._clock()

    def _free(self, sighting: Sighting) -> None:
        """Report a call that has held the loop; called on the loop, which is free again."""
        self._sighting = sighting.frame = None
        held = sighting.until - sighting.since
        if held >= LIMIT and self._seldom.passes(sighting.code):
            name = f"{sighting.module}.{sighting.code.co_qualname}"
            place = sighting.code.co_filename, sighting.line
            log.warning(HELD, sighting.what, held * 1000, name, *place)


def _application(innermost: FrameType | None) -> tuple[FrameType | None, str]:
    """Return the first frame of the application in a stack, and what kind of function it is."""
    found, frame = None, innermost
    while frame is not None:
        if (what := _callers.get(frame.f_code)) is not None:
            return found, what
        if frame.f_globals.get("__name__", "").partition(".")[0] not in PASSED:
            found = frame
        frame = frame.f_back
    return None, ""
