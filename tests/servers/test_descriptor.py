"""The handling of file descriptors, as seen by the kernel, and their limit."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from wsredis.servers import descriptor

REPORT = """
import os, resource, sys
from wsredis.servers import descriptor

def look():
    with open("/proc/self/status") as status:
        room = next(int(line.split()[1]) for line in status if line.startswith("FDSize"))
    return room, len(os.listdir("/proc/self/fd"))

os.close(0)
room, held = look()
count, limit, most = (int(room * float(word)) for word in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
descriptor.MOST_RESERVED = most
descriptor.reserve(count)
print(look()[0] / room, look()[1] - held)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux reports the size of the descriptor table"
)
@pytest.mark.parametrize(
    ("count", "limit", "most", "expected"),
    [(2, 4, 8, 2), (1.6, 4, 8, 2), (8, 2, 8, 2), (8, 4, 2, 2), (4, 4, 4, 4), (0.5, 4, 8, 1)],
)
def test_room_for_many_is_made_at_once_and_none_of_it_is_taken(
    count: float, limit: float, most: float, expected: float
) -> None:
    """All in multiples of the room that a new process has; a shell's child has no other's."""
    words = [sys.executable, "-c", REPORT, str(count), str(limit), str(most)]
    said = subprocess.run(
        ["sh", "-c", '"$@"; exit', "sh", *words],
        capture_output=True,
        check=True,
        text=True,
    )
    assert said.stdout == f"{float(expected)} 0\n"


INFINITE = resource.RLIM_INFINITY


class Limit:
    """A stand-in for the limit of descriptors of this process."""

    def __init__(self, soft: int, hard: int, most: int = 10**9) -> None:
        self.limits = soft, hard
        self._most = most

    def get(self, kind: int) -> tuple[int, int]:
        assert kind == resource.RLIMIT_NOFILE
        return self.limits

    def set(self, kind: int, limits: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_NOFILE
        if limits[0] > self._most or limits[0] > limits[1] != INFINITE:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("limit", "wanted", "own", "room", "soft"),
    [
        (Limit(1024, 4096), None, 0, 896, 1024),
        (Limit(1024, 4096), None, 1000, 896, 2024),
        (Limit(1024, 1500), None, 1000, 372, 1500),
        (Limit(1024, 1024), None, 1000, 16, 1024),
        (Limit(64, 64), None, 0, 16, 64),
        (Limit(1024, 4096), 500, 0, 896, 1024),
        (Limit(1024, 4096), 896, 0, 896, 1024),
        (Limit(1024, 4096), 897, 0, 897, 1025),
        (Limit(1024, 4096), 2000, 1000, 2000, 3128),
        (Limit(1024, 4096), 5000, 0, 3968, 4096),
        (Limit(1024, INFINITE), 5000, 0, 5000, 5128),
        (Limit(256, INFINITE, most=1000), 5000, 0, 128, 256),  # as on macOS
        (Limit(INFINITE, INFINITE), 5000, 1000, sys.maxsize, INFINITE),
    ],
    ids=lambda value: str(value.limits) if isinstance(value, Limit) else str(value),
)
def test_the_limit_is_raised_for_what_is_wanted_and_the_server_may_take(
    monkeypatch: pytest.MonkeyPatch,
    limit: Limit,
    wanted: int | None,
    own: int,
    room: int,
    soft: int,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    hard = limit.limits[1]
    assert descriptor.make_room(wanted, own) == room
    assert limit.limits == (soft, hard)
