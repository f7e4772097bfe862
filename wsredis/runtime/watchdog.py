"""A thread that finds methods of endpoints which hold the loop, so that no websocket is served.

The code of a handshake runs in the greenlet of its request, where it may wait. `check_handshake`
finds out at its end whether it has held the loop instead.

The thread looks at short intervals which call the loop has noted, because clock readings around
each call would cost time for every message. When it finds a call, it asks the loop to call back:
until then, the same call has held the loop. A call that begins and ends between two looks is not
seen, nor is one in C that keeps Python's global lock.

It does not look at the frames of the loop's thread: walking the stack of a thread that switches
greenlets crashes the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent.monkey

from .logs import Seldom, get_logger
from .loop import Loop, in_gevent, iteration_age

__all__ = ["LIMIT", "Watchdog", "check_handshake"]

log = get_logger("wsredis.watchdog")

LIMIT = 0.2
"""Seconds for which a call may hold the loop."""

PERIOD = 0.05
"""Seconds between two looks."""

HELD = (
    "The endpoint held the loop for at least %d ms: %s. Meanwhile this process served no"
    " websocket. Do slow work in a thread, or in a monkey-patched process with gevent.spawn, and"
    " return to the loop with connection.soon. (Once a minute for each function.)"
)

HANDSHAKE = (
    "A handshake held the loop for %d ms, in %s. Meanwhile this process served no websocket."
    " Code that waits, such as a query by a database driver in C, holds the loop of a gevent server"
    " unless it waits in gevent: use a driver in Python in a monkey-patched process, or"
    " gevent.get_hub().threadpool. (Once a minute for each function.)"
)

TOLERANCE = 0.01
"""Seconds by which the times of the loop may be wrong, which are rounded."""

Call = tuple[Callable[..., Any]]

_sleep: Callable[[float], None] = gevent.monkey.get_original("time", "sleep")
_start_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")


class Calling(Protocol):
    """What notes the calls of application code.

    Attributes:
        calling: the function that is called, in a tuple of its own for each call; None if there is
            no call.
    """

    calling: Call | None


class Sighting:
    """A call that was seen, and the times at which it was first and last seen."""

    __slots__ = ("call", "since", "until")

    def __init__(self, call: Call, since: float) -> None:
        self.call = call
        self.since = self.until = since


class Watchdog:
    """The watch over one loop.

    Args:
        loop: the loop of the hub.
        hub: notes the calls.
        clock: returns the time in seconds.

    Attributes:
        stopped: whether its thread is to end; set by the owner.
        also: functions that look at other loops, to be called at each look.
    """

    def __init__(
        self, loop: Loop, hub: Calling, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stopped = False
        self.also: list[Callable[[], None]] = []
        self._loop = loop
        self._hub = hub
        self._clock = clock
        self._seldom = Seldom(clock)
        self._sighting: Sighting | None = None

    def start(self) -> None:
        """Start the thread: one of the system, also in a monkey-patched process."""
        _start_thread(self._run, ())

    def _run(self) -> None:
        while not self.stopped:
            self.look()
            for look in self.also:
                look()
            _sleep(PERIOD)

    def look(self) -> None:
        """Look once at what the loop does."""
        if (call := self._hub.calling) is None:
            return
        if (sighting := self._sighting) is None:
            self._sighting = sighting = Sighting(call, self._clock())
            self._loop.soon(self._free, sighting)
        elif sighting.call is call:
            sighting.until = self._clock()

    def _free(self, sighting: Sighting) -> None:
        """Report a call that has held the loop; called on the loop, which is free again."""
        self._sighting = None
        if self._hub.calling is sighting.call:
            return  # it waits in its greenlet, so something else has held the loop
        held = sighting.until - sighting.since
        if held < LIMIT:
            return
        function = getattr(sighting.call[0], "__func__", sighting.call[0])
        if self._seldom.passes(getattr(function, "__code__", None)):
            log.warning(HELD, held * 1000, name_of(function))


_seldom = Seldom()


def check_handshake(took: float, called: dict[str, Callable[..., Any]]) -> None:
    """Report the code of a handshake if it has held the loop all the time.

    If it has waited in its greenlet, other code may have held the loop, so nothing is reported.

    Args:
        took: seconds that the code took, at least `LIMIT`.
        called: what was called, by the name of its argument.
    """
    if called and in_gevent() and iteration_age() >= took - TOLERANCE:
        names = " or ".join(f"{name}={name_of(each)}" for name, each in called.items())
        if _seldom.passes(names):
            log.warning(HANDSHAKE, took * 1000, names)


def name_of(function: Any) -> str:
    """Return the name of a function, or of the class of a callable object, with its place."""
    function = getattr(function, "__func__", function)
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}.{named.__qualname__}"
    code = getattr(function if named is function else named.__call__, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"
