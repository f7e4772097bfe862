"""A client in plain Python, to measure the time until a message, a pong and a page arrive."""

from __future__ import annotations

import socket
import time
from typing import Self

__all__ = ["Probe", "page_seconds"]

SECONDS = 20.0
HANDSHAKE = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


class Probe:
    """A websocket to a server.

    Args:
        port: the port of the server.
        target: the request target and, after tabs, more header lines.

    Raises:
        RuntimeError: the server does not answer with 101.
    """

    def __init__(self, port: int, target: str) -> None:
        path, *headers = target.split("\t")
        lines = "".join(f"{header}\r\n" for header in headers)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = HANDSHAKE.format(target=path, port=port, headers=lines)
        self._socket.sendall(request.encode())
        self._held = b""
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"the probe was refused: {head[:40]!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def ping(self) -> None:
        """Send a ping without a payload, masked with zeroes."""
        self._socket.sendall(b"\x89\x80\0\0\0\0")

    def say(self, text: str) -> None:
        """Send a text of at most 125 bytes, masked with zeroes."""
        payload = text.encode()
        self._socket.sendall(bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload)

    def part(self) -> None:
        """Close with a close handshake: send a close frame, and read the reply and the end."""
        self._socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        self.wait_for(8)
        if self._socket.recv(65536):
            raise RuntimeError("the server sent data after its close frame")
        self._socket.close()

    def wait_for(self, opcode: int) -> None:
        """Read until a frame with that opcode arrives (1 is text, 10 is pong)."""
        while self._frame() != opcode:
            pass

    def hears(self, seconds: float) -> bool:
        """Return whether a text message arrives within some seconds."""
        self._socket.settimeout(seconds)
        try:
            self.wait_for(1)
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(SECONDS)
        return True

    def _frame(self) -> int:
        while len(self._held) < 2:
            self._more()
        head, size = 2, self._held[1] & 127
        if size == 126:
            head = 4
            while len(self._held) < head:
                self._more()
            size = int.from_bytes(self._held[2:4], "big")
        while len(self._held) < head + size:
            self._more()
        opcode = self._held[0] & 15
        self._held = self._held[head + size :]
        return opcode

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the server closed the probe's connection")
        self._held += data


def page_seconds(port: int) -> float:
    """Return how many seconds a request for a page takes on a new connection."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        if not client.recv(65536):
            raise RuntimeError("the server closed a connection without a response")
    return time.monotonic() - began
