"""Blocking calls that do not block the gevent loop.

In a greenlet of a process that is not monkey-patched they run in gevent's thread pool, so that a
slow server never blocks the loop.
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
    """Register a module whose blocking calls use its global name ``socket``.

    If that name was replaced with gevent's module, its calls do not block the loop, as with
    monkey-patching.
    """
    _socket_users.append(module)


_without_pool = False
"""Whether this is a child forked by a greenlet, in which the pool's threads do not exist."""


def _after_fork() -> None:
    global _without_pool
    _without_pool = in_gevent()


os.register_at_fork(after_in_child=_after_fork)


_undisturbed: set[Callable[[], bool]] = set()


def stay_while(busy: Callable[[], bool]) -> None:
    """Make `blocking` block the loop while a function returns that no other greenlet may run.

    For an adapter whose framework keeps state of one request per thread, such as a transaction.
    """
    _undisturbed.add(busy)


def blocking(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks its thread, without blocking a gevent loop of the caller."""
    if not in_gevent() or _is_patched() or _without_pool:
        return function(*args)
    if any(busy() for busy in _undisturbed):
        return function(*args)

    def work() -> tuple[Any, Exception | None]:  # the pool would print exceptions
        try:
            return function(*args), None
        except Exception as exc:
            return None, exc

    result, error = gevent.get_hub().threadpool.apply(work)
    if error is not None:
        raise error
    return cast(T, result)


def _is_patched() -> bool:
    """Return whether gevent's sockets are used: by monkey-patching, or in a registered module."""
    return gevent.monkey.is_module_patched("socket") or any(
        getattr(module, "socket", None) is gevent.socket for module in _socket_users
    )
