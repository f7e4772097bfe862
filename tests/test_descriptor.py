"""What is done to descriptors, as the kernel sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest

REPORT = """
import os, resource, sys
from wsredis.servers.descriptor import reserve

count, limit = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.close(0)

def look():
    with open("/proc/self/status") as status:
        room = next(int(line.split()[1]) for line in status if line.startswith("FDSize"))
    return room, len(os.listdir("/proc/self/fd"))

room, held = look()
reserve(count)
print(look()[0], room, look()[1] - held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much room there is")
@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [(1000, 2048, 1024), (5000, 512, 512), (60_000, 4096, 4096), (3, 4096, 0)],
)
def test_room_for_many_is_made_at_once_and_none_of_it_is_taken(
    count: int, limit: int, expected: int
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", REPORT, str(count), str(limit)],
        capture_output=True,
        check=True,
        text=True,
    )
    room, before, taken = map(int, said.stdout.split())
    assert before <= 256
    assert room == max(before, expected)
    assert taken == 0
