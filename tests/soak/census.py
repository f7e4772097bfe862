"""The census of a worker, its current objects and resources, which a soak run compares.

No number is estimated. Objects are counted by the garbage collector after a collection,
descriptors and memory by the kernel, and blocks of memory by their allocators.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import greenlet

from wsredis.config import Config
from wsredis.layers import get_channel_layer
from wsredis.runtime.loop import Loop

__all__ = ["census", "containers", "listening", "rooms"]

WATCHERS = ("timer", "io")
"""Kinds of gevent's watchers, by the names of their classes."""

_libc = ctypes.CDLL(None)


class _MallInfo(ctypes.Structure):
    """The result of glibc's mallinfo2(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def census(application: Any) -> dict[str, Any]:
    """Count the objects and resources of this worker.

    Args:
        application: a `WebSocketMiddleware`.
    """
    gc.collect()
    held = _objects() | _descriptors()
    held["threads"] = sum(each.name.startswith("wsredis") for each in threading.enumerate())
    for room in [*rooms(application._process_here()), get_channel_layer()]:
        name = type(room).__name__
        held |= {f"{name}.{attribute}": size for attribute, size in containers(room)}
    return {**listening(application), "held": held, "memory": _memory()}


def listening(application: Any) -> dict[str, Any]:
    """Return the subscriptions of this worker; quick enough while many clients are connected."""
    hub = application._process_here().hub
    return {
        "pid": os.getpid(),
        "channels": sorted(hub._channels),
        "wanted": sorted(hub._feed._channels),
        "stats": application.stats(),
    }


def _objects() -> Counter[str]:
    """Count greenlets, tasks, watchers, and the objects of each class of wsredis."""
    kinds = ("greenlets", "tasks", *(f"{kind} watchers" for kind in WATCHERS))
    found = Counter(dict.fromkeys(kinds, 0))
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, greenlet.greenlet):
            found["greenlets"] += bool(thing)
        elif issubclass(kind, asyncio.Task):
            found["tasks"] += not thing.done()
        elif kind.__name__ in WATCHERS and kind.__module__.startswith("gevent."):
            found[f"{kind.__name__} watchers"] += 1
        elif str(kind.__module__).startswith("wsredis."):
            found[f"{kind.__name__} objects"] += 1
    return found


def rooms(process: Any) -> list[Any]:
    """Return a `wsredis.process.Process` and all objects of which it consists, each once."""
    found = [process]
    for room in found:
        for name in _attributes(room):
            part = getattr(room, name, None)
            kind = type(part)
            foreign = isinstance(part, _FOREIGN) or not str(kind.__module__).startswith("wsredis.")
            if not foreign and all(part is not known for known in found):
                found.append(part)
    return found


_FOREIGN = (Config, Loop)
"""Parts without data of websockets."""


def _attributes(room: Any) -> list[str]:
    slots = [name for kind in type(room).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(room, "__dict__", ())]


def containers(room: Any) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of an object's containers.

    For a container of containers, such as buckets, the sizes of the inner ones are added up.
    Numbers that count what still has to be released are yielded as well.
    """
    for name in _attributes(room):
        value = getattr(room, name, None)
        if isinstance(value, str | bytes | memoryview | bytearray):
            continue
        if isinstance(value, Sized) and isinstance(value, Iterable):
            parts = list(value.values() if isinstance(value, dict) else value)
            nested = [part for part in parts if isinstance(part, set | list | dict)]
            yield name, sum(map(len, nested)) if nested else len(parts)
        elif name in _OWED:
            yield name, value


_OWED = ("_unacked", "count", "size")


def _descriptors() -> Counter[str]:
    """Count open descriptors of connections to Redis, of other sockets, and of other files."""
    kinds = Counter[str]()
    redis = urlsplit(os.environ.get("WSREDIS_REDIS", "")).port
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the descriptor of the folder itself
            continue
        kind = "descriptors"
        if target.startswith("socket:"):
            kind = "connections to Redis" if _peer(number) == redis else "descriptors of sockets"
        kinds[kind] += 1
    return kinds


def _peer(number: str) -> int:
    """Return the port of the peer of a socket; 0 if it has none."""
    with suppress(OSError), socket.fromfd(int(number), socket.AF_INET, socket.SOCK_STREAM) as sock:
        peer = sock.getpeername()
        return int(peer[1]) if isinstance(peer, tuple) else 0
    return 0


def _memory() -> dict[str, int]:
    """Return the memory in use: Python's blocks, malloc's bytes, and the kernel's anonymous bytes.

    The first two count live objects. The last counts pages, and a page stays allocated as long as
    it contains a single live object. Free memory is returned to the system first, if possible.
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
