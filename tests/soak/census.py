"""What one worker holds at this moment, counted inside it: the page that a soak run compares.

Nothing of it is estimated. Objects are counted by the garbage collector after a collection,
descriptors and memory by the kernel, and blocks of memory by those who hand them out.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

import greenlet

from wsredis.connection import Connection
from wsredis.listeners import Listeners

__all__ = ["census", "containers"]

WATCHERS = ("timer", "io")
"""Kinds of gevent's watchers, by the names of their classes."""

_libc = ctypes.CDLL(None)


class _MallInfo(ctypes.Structure):
    """What glibc's mallinfo2(3) returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def census(application: Any) -> dict[str, Any]:
    """Count what this worker holds.

    Args:
        application: a `WebSocketMiddleware`.
    """
    gc.collect()
    names = Counter[str]()
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, greenlet.greenlet):
            names["greenlets"] += bool(thing)
        elif kind.__name__ in WATCHERS and kind.__module__.startswith("gevent."):
            names[f"{kind.__name__} watchers"] += 1
        elif kind is Connection:
            names["Connection objects"] += 1
        elif kind is Listeners:
            names["Listeners objects"] += 1
    held = {name: names[name] for name in _KINDS}
    hub = application._hub()[0]
    feed = hub._feed
    held |= _descriptors()
    rooms = {"hub": hub, "admission": hub._admission, "validity": hub._validity, "feed": feed}
    if feed._link is not None:
        rooms["link"] = feed._link
    for name, room in rooms.items():
        held |= {f"{name}.{attribute}": size for attribute, size in containers(room)}
    return {
        "pid": os.getpid(),
        "channels": sorted(hub._channels),
        "wanted": sorted(feed._channels),
        "stats": application.stats(),
        "held": held,
        "memory": _memory(),
    }


_KINDS = (
    "greenlets",
    *(f"{kind} watchers" for kind in WATCHERS),
    "Connection objects",
    "Listeners objects",
)


def containers(room: Any) -> Iterator[tuple[str, int]]:
    """Go through what an object holds in containers of its own: the names and the sizes.

    Of a container of containers their sizes count, so that buckets are seen as what is in them.
    Numbers that are called after what is owed count as well.
    """
    names = [*getattr(room, "__slots__", ()), *getattr(room, "__dict__", ())]
    for name in names:
        value = getattr(room, name, None)
        if isinstance(value, str | bytes | memoryview | bytearray):
            continue
        if isinstance(value, Sized):
            parts = list(value.values() if isinstance(value, dict) else value)
            nested = [part for part in parts if isinstance(part, set | list | dict)]
            yield name, sum(map(len, nested)) if nested else len(parts)
        elif name in _OWED:
            yield name, value


_OWED = ("_unanswered", "count")


def _descriptors() -> dict[str, int]:
    """Count open descriptors by what they lead to."""
    kinds = Counter[str]()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that listed them
            continue
        kinds["descriptors of sockets" if target.startswith("socket:") else "descriptors"] += 1
    return {name: kinds[name] for name in ("descriptors of sockets", "descriptors")}


def _memory() -> dict[str, int]:
    """Return what is in use: Python's blocks, malloc's bytes, and the kernel's anonymous bytes.

    The first two are what is held; the last is what the system has given, which keeps whole pages
    for a single live object on each. What is free and can be given back is given back first.
    """
    _libc.malloc_trim(0)
    _libc.mallinfo2.restype = _MallInfo
    info = _libc.mallinfo2()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (anonymous,) = (int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return {
        "blocks": sys.getallocatedblocks(),
        "malloc": info.uordblks + info.hblkhd,
        "anonymous": anonymous * 1024,
    }
