"""The innermost loop: the same bytes to many sockets.

Nearly all that a broadcast costs is the kernel's work of sending. What remains is this loop, so
there is one in C beside the one in Python, `_fanout.c`, which is built where there is a compiler
and used where it is. Both do the same, and tests/test_fanout.py holds them to it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection
    from .listeners import Frames

__all__ = ["Left", "write_all", "write_each", "write_each_in_python"]

Left = list[tuple["Connection", int]]
"""Connections that did not take everything: with the bytes they took, or -1 if they are dead."""


def write_each_in_python(connections: Sequence[Connection], data: bytes) -> Left:
    """Write whole frames to each socket for which nothing waits, and return who is left.

    Args:
        connections: those with an outbox are not written to and come back with 0 bytes.
        data: the frames, at least one byte.
    """
    write, size = os.write, len(data)
    left: Left = []
    for connection in connections:
        sent = 0
        if connection.outbox is None:
            try:
                sent = write(connection.fd, data)
                if sent == size:
                    continue
            except BlockingIOError:
                pass
            except OSError:
                sent = -1
        left.append((connection, sent))
    return left


try:
    from ._fanout import write_each
except ImportError:  # no compiler when it was installed
    write_each = write_each_in_python


def write_all(connections: Sequence[Connection], data: bytes, frames: Frames | None = None) -> None:
    """Write whole frames to each socket; what one does not take now waits in its outbox.

    Args:
        connections: in any state; who closes gets nothing.
        data: the frames, at least one byte.
        frames: the messages of a channel that they were made from, if they were.
    """
    left = write_each(connections, data)
    if left:
        # Who is in the middle of a frame first: what becomes of the others may end its socket too.
        left.sort(key=itemgetter(1), reverse=True)
        for connection, sent in left:
            connection.left_with(sent, data, frames)
