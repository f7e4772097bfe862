"""Values that expire, in the memory of one process, and a `Store` based on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

__all__ = ["Expiring", "MemoryStore"]

SWEEP_FROM = 1000
"""Number of values above which expired ones are removed."""


class Expiring:
    """A mapping of keys to values that expire. The caller holds a lock.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[str, tuple[float, bytes]] = {}
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        return len(self._values)

    def put(self, keys: Iterable[str], value: bytes, seconds: float) -> None:
        """Set a value under several keys."""
        now = self._clock()
        self._values.update(dict.fromkeys(keys, (now + seconds, value)))
        if len(self._values) > self._sweep_at:
            self._values = {k: v for k, v in self._values.items() if v[0] > now}
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._values))

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        expires, value = self._values.get(key, (0.0, b""))
        return value if expires > self._clock() else None

    def pop(self, key: str) -> bytes | None:
        """Return the value of a key, or None, and delete it."""
        value = self.get(key)
        self._values.pop(key, None)
        return value


class MemoryStore:
    """One-time values inside one process (see `Store`).

    Args:
        clock: returns seconds; determines when values expire.
    """

    _named: ClassVar[dict[str, MemoryStore]] = {}

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._values = Expiring(clock)

    @classmethod
    def named(cls, url: str) -> MemoryStore:
        """Return the store of this process for a ``memory://`` URL."""
        return cls._named.setdefault(url, cls())

    def put(self, key: str, value: bytes, seconds: int) -> None:
        with self._lock:
            self._values.put([key], value, seconds)

    def take(self, key: str) -> bytes | None:
        with self._lock:
            return self._values.pop(key)
