"""Work on many subscribers, done in steps so that other work of the loop runs in between.

Such work is a generator, which yields after each step. Its caller lets the loop do other work then:
the feed that delivers messages, a greenlet that sleeps for `NEXT_TURN`, or a `Repeated`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from ..runtime.loop import NEXT_TURN, Loop

__all__ = ["STEP", "Repeated", "first_due", "in_steps"]

STEP = 128
"""Maximum subscribers, or revocations, that are handled before other work may run."""

T = TypeVar("T")


def in_steps(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Divide items into steps of `STEP` items; the last step may have fewer."""
    rest = iter(items)
    while step := tuple(islice(rest, STEP)):
        yield step


def first_due(deadlines: Mapping[T, float], now: float) -> list[T]:
    """Return the items of the next step whose deadline has passed.

    Args:
        deadlines: items with their deadlines, the earliest first.
        now: the present time.
    """
    return [each for each, deadline in islice(deadlines.items(), STEP) if deadline <= now]


class Repeated:
    """Work that is done in steps again and again.

    Args:
        loop: the loop it runs on.
        seconds: time from the end of one run to the beginning of the next.
        work: returns the steps of a run, which must not block.
    """

    def __init__(self, loop: Loop, seconds: float, work: Callable[[], Iterator[object]]) -> None:
        self._pause = loop.gevent.timer(seconds, seconds, ref=False)
        self._turn = loop.gevent.timer(NEXT_TURN, ref=False)
        self._begin_work = work
        self._work: Iterator[object] = iter(())
        self._closed = False
        self._pause.start(self._begin)

    def close(self) -> None:
        """Stop, without the remaining steps of the current run."""
        self._closed = True
        for timer in (self._pause, self._turn):
            timer.stop()
            timer.close()

    def _begin(self) -> None:
        self._pause.stop()
        self._work = self._begin_work()
        self._go_on()

    def _go_on(self) -> None:
        """Do one step, and schedule the next one or the next run."""
        timer, callback = self._pause, self._begin
        try:
            for _ in self._work:
                timer, callback = self._turn, self._go_on
                break
        finally:  # also after an error
            if not self._closed:
                timer.start(callback)
