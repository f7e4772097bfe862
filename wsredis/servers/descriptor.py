"""Operations on sockets of which only the descriptor is known, and the limit of descriptors."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import sys
from _socket import socket as Socket  # the C base class, which monkey-patching does not replace
from contextlib import suppress

__all__ = ["SPARE", "hang_up", "make_room", "ready", "reserve", "shutdown", "swap"]

SPARE = 128
"""Descriptors that websockets leave free, besides those of the server's own connections."""

LEAST = 16
"""Descriptors that websockets may take in any case."""

MOST_RESERVED = 1 << 14
"""Maximum descriptors to reserve; the kernel needs 8 bytes for each."""


def make_room(wanted: int | None, own: int) -> int:
    """Return how many descriptors websockets may take, and raise the soft limit if necessary.

    Args:
        wanted: the number that should be possible; None for the soft limit minus `SPARE`.
        own: descriptors that the server may take for its own connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    needed = own + (soft if wanted is None else wanted + SPARE)
    if needed > soft:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):  # macOS has a limit below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return max(LEAST, soft - SPARE - own)


def reserve(count: int) -> None:
    """Make the kernel allocate this process's table of descriptors at once.

    Otherwise the kernel doubles the table whenever it is full. In a process with several threads
    it then waits until no CPU reads the old table: 6 to 20 ms in which no request is served.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError):  # then the table grows on demand
        one = os.open(os.devnull, os.O_RDONLY)
        try:
            os.close(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, min(count, limit, MOST_RESERVED) - 1))
        finally:
            os.close(one)


def _socket(fd: int) -> Socket:
    """Return a socket object for any kind of connection; explicit arguments save system calls."""
    return Socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fd)


def ready(fd: int) -> int:
    """Make a socket's descriptor non-blocking and disable Nagle's algorithm."""
    sock = _socket(fd)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:  # a Unix socket has no such option
        pass
    return sock.detach()


def shutdown(fd: int, how: int) -> None:
    """Shut down a connection with all copies of its descriptor, so that a FIN is sent.

    Closing one copy would send no FIN while the server has another one open. A connection that has
    already ended is ignored.
    """
    sock = _socket(fd)
    with suppress(OSError):
        sock.shutdown(how)
    sock.detach()


def hang_up(fd: int) -> None:
    """End a connection at once and close its descriptor."""
    shutdown(fd, socket.SHUT_RDWR)
    os.close(fd)


def swap(fd: int) -> int:
    """Return a copy of a descriptor and replace the original with a socket at end of file.

    Later operations of the server on the original, such as a shutdown, do not reach the client.
    """
    near, far = socket.socketpair()
    far.close()
    with near:
        copy = os.dup(fd)
        os.dup2(near.fileno(), fd)
    return copy
