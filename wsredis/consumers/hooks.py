"""The functions that adapters add around the handlers of synchronous consumers.

Django's adapter closes database connections there, as it does around requests.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["after_handlers", "around_handlers"]

around_handlers: list[Callable[[], None]] = []
"""Functions to call before and after each handler."""

after_handlers: list[Callable[[], None]] = []
"""Functions to call at the end of each greenlet or thread that has run handlers."""
