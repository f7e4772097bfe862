"""Calls that block a thread, made beside the gevent loop.

In a greenlet of a process that is not monkey-patched they run in gevent's thread pool, so that a
slow server never holds up the loop. Nothing here knows what is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

import gevent
import gevent.monkey
import gevent.socket

from .loop import in_gevent

__all__ = ["blocking", "stay_while", "uses_sockets"]

T = TypeVar("T")

_socket_users: list[ModuleType] = []


def uses_sockets(module: ModuleType) -> None:
    """Register a module whose blocking calls go through its own name ``socket``.

    Where somebody has put gevent's there, as without monkey-patching, its calls do not block.
    """
    _socket_users.append(module)


_without_pool = False
"""Whether this is a child that a greenlet has forked: the pool's threads are not in it."""


def _after_fork() -> None:
    global _without_pool
    _without_pool = in_gevent()


os.register_at_fork(after_in_child=_after_fork)


_undisturbed: set[Callable[[], bool]] = set()


def stay_while(busy: Callable[[], bool]) -> None:
    """Make `blocking` hold up the loop as long as a function says that no other greenlet may run.

    For an adapter whose framework keeps something for a thread that is one request's alone, such
    as a transaction.
    """
    _undisturbed.add(busy)


def blocking(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks a thread without holding up the gevent loop we may be on."""
    if not in_gevent() or _is_patched() or _without_pool:
        return function(*args)
    if any(busy() for busy in _undisturbed):
        return function(*args)

    def work() -> tuple[Any, Exception | None]:  # the pool prints what is raised in it
        try:
            return function(*args), None
        except Exception as exc:
            return None, exc

    result, error = gevent.get_hub().threadpool.apply(work)
    if error is not None:
        raise error
    return cast(T, result)


def _is_patched() -> bool:
    """Return whether sockets are gevent's: by monkey-patching, or set in a registered module."""
    return gevent.monkey.is_module_patched("socket") or any(
        getattr(module, "socket", None) is gevent.socket for module in _socket_users
    )
