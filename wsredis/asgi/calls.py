"""Calls from one of the two loops to the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..runtime.logs import get_logger

__all__ = ["Calls"]

log = get_logger("wsredis.asgi")


class Calls:
    """The calls that a loop is to make, in their order; it is woken once for several of them.

    Args:
        soon: calls a function on the loop, from any thread.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self._soon = soon
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._scheduled = False

    def add(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function on the loop, after those of earlier calls; from any thread."""
        self._calls.append((function, args))
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._call_all)

    def _call_all(self) -> None:
        self._scheduled = False  # before the calls are taken, so that none is left behind
        calls = self._calls
        for _ in range(len(calls)):
            function, args = calls.popleft()
            try:
                function(*args)
            except Exception:
                log.exception("a call between the loops failed")
