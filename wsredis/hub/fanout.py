"""The innermost loop of a broadcast: writing the same bytes to many sockets.

Most of the cost of a broadcast is sending in the kernel; the rest is this loop. So there is a C
version, `_fanout.c`, besides the Python version; it is built if there is a compiler, and used if it
was built. tests/hub/test_fanout.py checks that both behave the same.

Invariant: a socket is written to only while its ``send_buffer`` is None, so bytes never overtake
bytes that wait for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from operator import itemgetter

from .encoding import Encoded
from .subscriber import Subscriber

__all__ = ["NO_MEMORY", "Unsent", "write_all", "write_each", "write_each_in_python"]

NO_MEMORY = (errno.ENOBUFS, errno.ENOMEM)
"""Errors of a socket for which the kernel lacks memory at the moment; the connection is intact."""

Unsent = list[tuple[Subscriber, int]]
"""Subscribers whose socket did not take all bytes, with the number it took, or -1 if it failed."""


def write_each_in_python(subscribers: Sequence[Subscriber], data: bytes) -> Unsent:
    """Write bytes to each socket without a send buffer.

    Args:
        subscribers: the subscribers; those with a send buffer are returned with 0 bytes.
        data: complete frames or events, at least one byte.

    Returns:
        The subscribers whose socket did not take all bytes.
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
            except OSError as exc:
                sent = 0 if exc.errno in NO_MEMORY else -1
        unsent.append((subscriber, sent))
    return unsent


try:
    from ._fanout import write_each
except ImportError:  # installed without a compiler
    write_each = write_each_in_python


def write_all(
    subscribers: Sequence[Subscriber], data: bytes, encoded: Encoded | None = None
) -> None:
    """Write bytes to each socket; bytes that it does not take wait in its send buffer.

    Args:
        subscribers: subscribers in any state; those that are closing get nothing.
        data: complete frames or events, at least one byte.
        encoded: the messages of a channel that the bytes contain, or None.
    """
    unsent = write_each(subscribers, data)
    if unsent:
        # First the sockets with a partly written frame: handling others may close these as well.
        unsent.sort(key=itemgetter(1), reverse=True)
        for subscriber, sent in unsent:
            subscriber.on_partial_write(sent, data, encoded)
