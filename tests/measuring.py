"""A patch for coverage, which may hang Python 3.11 when threads and greenlets start and end.

A thread that has seen greenlets leaves one behind. The main thread destroys it later, in a "pending
call" of Python, and coverage, which has a `WeakKeyDictionary` of greenlets for each thread, lets
that forget it: by a function written in Python. If another thread ends at that very moment, one
more pending call waits. A traced function of Python 3.11 does not begin before there is none, and
this one cannot be made before the first has ended: the main thread goes round for ever, and no
signal ends it.
"""

from __future__ import annotations

import functools
import operator
import weakref
from typing import Any

from greenlet import greenlet

__all__ = ["forget_greenlets_quietly"]


class _Dictionary(weakref.WeakKeyDictionary[Any, Any]):
    """A dictionary that removes greenlets without calling a Python function."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, greenlet):
            self.data[weakref.ref(key, functools.partial(operator.delitem, self.data))] = value
        else:
            super().__setitem__(key, value)


def forget_greenlets_quietly() -> None:
    """Let coverage take other dictionaries for the threads that begin from now on."""
    weakref.WeakKeyDictionary = _Dictionary  # type: ignore[misc]
