"""The innermost loop: the same bytes to many sockets.

Nearly all that a broadcast costs is the kernel's work of sending. What remains is this loop, so
there is one in C beside the one in Python, `_fanout.c`, which is built where there is a compiler
and used where it is. Both do the same, and tests/hub/test_fanout.py checks them against each other.

Invariant: a socket is written to only while its ``send_buffer`` is None, so bytes never overtake
those that wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import itemgetter

from .encoding import Encoded
from .subscriber import Subscriber

__all__ = ["Unsent", "write_all", "write_each", "write_each_in_python"]

Unsent = list[tuple[Subscriber, int]]
"""Subscribers that did not take everything: with the bytes they took, or -1 if they are dead."""


def write_each_in_python(subscribers: Sequence[Subscriber], data: bytes) -> Unsent:
    """Write bytes to each socket for which nothing waits, and return who did not take them all.

    Args:
        subscribers: those with a send buffer are not written to and come back with 0 bytes.
        data: whole frames or events, at least one byte.
    """
    write, size = os.write, len(data)
    unsent: Unsent = []
    for subscriber in subscribers:
        sent = 0
        if subscriber.send_buffer is None:
            try:
                sent = write(subscriber.fd, data)
                if sent == size:
                    continue
            except BlockingIOError:
                pass
            except OSError:
                sent = -1
        unsent.append((subscriber, sent))
    return unsent


try:
    from ._fanout import write_each
except ImportError:  # no compiler when it was installed
    write_each = write_each_in_python


def write_all(
    subscribers: Sequence[Subscriber], data: bytes, encoded: Encoded | None = None
) -> None:
    """Write bytes to each socket; what one does not take now waits in its send buffer.

    Args:
        subscribers: in any state; those that are closing get nothing.
        data: whole frames or events, at least one byte.
        encoded: the messages of a channel that they carry, if they do.
    """
    unsent = write_each(subscribers, data)
    if unsent:
        # Those in the middle of a frame first: handling the others may close these as well.
        unsent.sort(key=itemgetter(1), reverse=True)
        for subscriber, sent in unsent:
            subscriber.on_partial_write(sent, data, encoded)
