"""A client behind TLS that a Python server ends itself (gunicorn's certfile, pywsgi, Werkzeug).

The state of such a connection lives in the server's `SSLSocket` and cannot leave it. So the object
is taken as it is, its server sees a dead one, and a `Tunnel` on the hub's loop carries the bytes
between it and a plain socket, which the hub then treats like any other.

It uses the object below, ``_sslobj``, which the standard library and gevent share: their own
methods differ in how they say that nothing can be read or written at the moment.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

from ..runtime.loop import READ, WRITE
from .descriptor import ready, shutdown

__all__ = ["Tunnel", "is_tls"]

READ_SIZE = 1 << 14
"""Bytes carried at once: what a TLS record holds at the most (RFC 8446 section 5.1)."""

PATIENCE = 30.0
"""Seconds in which a client takes at least something of what is left when the hub has hung up."""


def is_tls(sock: Any) -> bool:
    """Return whether a socket is encrypted, be it the standard library's or gevent's."""
    return getattr(sock, "_sslobj", None) is not None


class Tunnel:
    """A carrier of bytes between a TLS client and a plain socket.

    Each direction holds one chunk at most: the next is read when that has gone on. To read never
    waits for room to write: who asks for new keys (RFC 8446 section 4.6.3) is answered with the
    next chunk, and OpenSSL 3 lets no client negotiate TLS 1.2 anew. Made in the request's own
    thread or greenlet; `start` and all that follows run on the hub's loop.

    Args:
        sock: the server's `SSLSocket`, its 101 sent.

    Attributes:
        fd: the other end of the plain socket, for the hub.
    """

    def __init__(self, sock: Any) -> None:
        self._tls = sock
        sock.setblocking(False)
        ready(sock.fileno())
        self._lock = threading.Lock()
        self._holders = 2  # the hub and the server, which closes it when the request has ended
        self._bury()
        self._plain, far = socket.socketpair()
        self._plain.setblocking(False)
        self.fd = far.detach()
        self._in = b""  # on its way to the hub
        self._out = b""  # on its way to the client
        self._stuck = b""  # what of this was there at the last look
        self._watchers: list[Any] = []

    def start(self, loop: Any) -> None:
        """Begin to carry, on a gevent loop."""
        tls, plain = self._tls.fileno(), self._plain.fileno()
        self._tls_readable, self._tls_writable = loop.io(tls, READ), loop.io(tls, WRITE)
        self._plain_readable, self._plain_writable = loop.io(plain, READ), loop.io(plain, WRITE)
        self._patience = loop.timer(PATIENCE, PATIENCE, ref=False)
        self._watchers = [
            *(self._tls_readable, self._tls_writable),
            *(self._plain_readable, self._plain_writable),
            self._patience,
        ]
        self._tls_readable.start(self._carry_in)
        self._plain_readable.start(self._carry_out)
        self._carry_in()

    def _carry_in(self) -> None:
        """Decrypt until there is nothing more: what the TLS object holds wakes no watcher."""
        try:
            while True:
                if not self._in:
                    self._in = self._tls._sslobj.read(READ_SIZE)
                    if not self._in:
                        self._end()
                        return
                self._in = self._in[self._plain.send(self._in) :]
        except ssl.SSLWantReadError:
            self._plain_writable.stop()
            self._tls_readable.start(self._carry_in)
        except BlockingIOError:
            self._tls_readable.stop()
            self._plain_writable.start(self._carry_in)
        except OSError:
            self._end()

    def _carry_out(self) -> None:
        try:
            while True:
                if not self._out:
                    self._out = self._plain.recv(READ_SIZE)
                    if not self._out:
                        self._end()
                        return
                # OpenSSL wants the very same bytes again after it could not send them.
                self._out = self._out[self._tls._sslobj.write(self._out) :]
        except ssl.SSLWantWriteError:
            self._plain_readable.stop()
            self._tls_writable.start(self._carry_out)
            if not self._patience.active:
                self._patience.start(self._look)
        except BlockingIOError:
            self._patience.stop()
            self._tls_writable.stop()
            self._plain_readable.start(self._carry_out)
        except OSError:
            self._end()

    def _look(self) -> None:
        """End a client that has taken nothing since the last look, if the hub has hung up.

        What is left may go on for as long as it likes, but nobody would notice that it stands.
        """
        if self._out is self._stuck:
            try:
                self._plain.send(b"")
            except OSError:
                self._end()
        self._stuck = self._out

    def _end(self) -> None:
        """End both sides; the hub has sent its last byte, or nobody is left to read it."""
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._watchers = []
        self._plain.close()
        with suppress(OSError, ValueError):
            # One alert says that nothing is missing (RFC 8446 section 6.1); the answer is not
            # waited for.
            self._tls._sslobj.shutdown()
        shutdown(self._tls.fileno(), socket.SHUT_RDWR)
        self._let_go()

    def _let_go(self) -> None:
        """Close the socket once neither the hub nor the server needs its number any more."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                os.close(self._tls.detach())

    def _bury(self) -> None:
        """Make the object look closed to the server, which goes on using it."""

        def gone(*args: Any) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        def close() -> None:
            sock.close = ignore
            self._let_go()

        def ignore(*args: Any) -> None:
            pass

        sock = self._tls
        sock.close = close
        sock.setblocking = sock.settimeout = ignore
        sock.shutdown = sock.unwrap = sock.send = sock.sendall = gone
        sock.recv = lambda *args: b""
        sock.recv_into = lambda *args: 0
