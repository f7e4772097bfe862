"""What is done to a socket of which only the descriptor is known."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from _socket import socket as Socket  # the one under all others, which nothing patches
from contextlib import suppress

__all__ = ["hang_up", "ready", "reserve", "shutdown", "swap"]

MOST_RESERVED = 1 << 14
"""Descriptors there is room for from the start; the kernel takes 8 bytes for each."""


def reserve(count: int) -> None:
    """Make room in the kernel for so many descriptors of this process, all at once.

    By itself it doubles the room whenever that is full, and in a process with several threads each
    time waits until no CPU reads the old table any more: 6 to 20 ms in which nobody is served.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError):  # then it grows by itself
        one = os.open(os.devnull, os.O_RDONLY)
        try:
            os.close(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, min(count, limit, MOST_RESERVED) - 1))
        finally:
            os.close(one)


def _socket(fd: int) -> Socket:
    """Return an object for a connection, whatever its kind; with all three named, none is asked."""
    return Socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fd)


def ready(fd: int) -> int:
    """Make a socket's descriptor non-blocking and let small frames go at once."""
    sock = _socket(fd)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:  # a Unix socket has no such option
        pass
    return sock.detach()


def shutdown(fd: int, how: int) -> None:
    """Shut a connection down, if it still is one: all copies of it, and with a FIN.

    To close one copy would send none while a server holds another.
    """
    sock = _socket(fd)
    with suppress(OSError):
        sock.shutdown(how)
    sock.detach()


def hang_up(fd: int) -> None:
    """End a connection at once and give its descriptor back."""
    shutdown(fd, socket.SHUT_RDWR)
    os.close(fd)


def swap(fd: int) -> int:
    """Return a copy of a descriptor and leave its number to a socket at its end of file.

    Whatever the server still does to its number, like a shutdown, no longer reaches the client.
    """
    copy = os.dup(fd)
    near, far = socket.socketpair()
    far.close()
    os.dup2(near.fileno(), fd)
    near.close()
    return copy
