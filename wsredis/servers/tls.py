"""Connections whose TLS a Python server terminates (gunicorn's certfile, pywsgi, Werkzeug).

The TLS state of such a connection is inside the server's `SSLSocket` and cannot be moved. So the
object itself is taken over: to the server it looks closed, and a `Tunnel` on the hub's loop copies
bytes between it and a plain socket, which the hub treats like any other.

The tunnel uses the inner object ``_sslobj``, which the standard library and gevent share; their
own methods differ in how they signal that a read or write would block.
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
"""Bytes copied at once: the maximum of a TLS record (RFC 8446 section 5.1)."""

PATIENCE = 30.0
"""Seconds in which a client must read some of the remaining bytes after the hub has hung up."""


def is_tls(sock: Any) -> bool:
    """Return whether a socket of the standard library or of gevent is encrypted."""
    return getattr(sock, "_sslobj", None) is not None


class Tunnel:
    """A copier of bytes between a TLS client and a plain socket.

    Each direction buffers one chunk at most and reads the next one after the chunk was written.
    Reading never waits for writing: a request for new keys (RFC 8446 section 4.6.3) is answered
    with the next chunk, and OpenSSL 3 does not allow renegotiation of TLS 1.2 by clients. The
    tunnel is made in the request's own thread or greenlet; `start` and everything after it run on
    the hub's loop.

    Args:
        sock: the server's `SSLSocket`, after the 101 was sent.

    Attributes:
        fd: the hub's end of the plain socket.
    """

    def __init__(self, sock: Any) -> None:
        self._tls = sock
        sock.setblocking(False)
        self._client = ready(sock.fileno())
        self._lock = threading.Lock()
        self._holders = 2  # the hub, and the server, which closes it at the end of the request
        self._bury()
        self._plain, far = socket.socketpair()
        self._plain.setblocking(False)
        self.fd = far.detach()
        self._in = b""  # to be written to the hub
        self._out = b""  # to be written to the client
        self._stuck = b""  # the value of _out at the last `_look`
        self._watchers: list[Any] = []

    def start(self, loop: Any) -> None:
        """Begin to copy, on a gevent loop."""
        tls, plain = self._client, self._plain.fileno()
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
        """Decrypt until nothing is left: bytes buffered in the TLS object wake no watcher."""
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
                # After a failed write OpenSSL requires the same bytes again.
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
        """End a client that has read nothing since the last look, if the hub has hung up.

        Without the hub, no other timeout would notice that the client has stopped reading.
        """
        if self._out is self._stuck:
            try:
                self._plain.send(b"")
            except OSError:
                self._end()
        self._stuck = self._out

    def _end(self) -> None:
        """End both sides: the hub has sent its last byte, or the client has disconnected."""
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._watchers = []
        self._plain.close()
        with suppress(OSError, ValueError):
            # Send the close_notify alert, which proves that nothing was truncated (RFC 8446 section
            # 6.1), and do not wait for the reply.
            self._tls._sslobj.shutdown()
        shutdown(self._client, socket.SHUT_RDWR)
        self._let_go()

    def _let_go(self) -> None:
        """Close the socket once neither the hub nor the server needs its descriptor."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                if self._below is not None:
                    self._tls._sock = self._below
                os.close(self._tls.detach())

    def _bury(self) -> None:
        """Make the object look closed to the server, which continues to use it."""

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
        self._below = getattr(sock, "_sock", None)
        if self._below is not None:  # gevent's inner socket, which pywsgi reads from and closes
            sock._sock = _Closed()


class _Closed:
    """A closed socket, in place of the one inside gevent's `SSLSocket`."""

    def recv(self, size: int) -> bytes:
        return b""

    def close(self) -> None:
        pass
