"""The handling of file descriptors, as seen by the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much room there is")
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
