"""A low-level websocket client, for bytes that a well-behaved one never sends."""

from __future__ import annotations

import base64
import os
import socket
import struct
from dataclasses import dataclass

__all__ = ["BINARY", "CLOSE", "CONT", "PING", "PONG", "TEXT", "Answer", "Wire", "frame"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

SECONDS = 30.0
"""After which something that should have happened counts as not happening."""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    size: int | None = None,
) -> bytes:
    """Return a frame (RFC 6455 section 5.2), also one that lies about its size."""
    size = len(payload) if size is None else size
    head = bytes([fin << 7 | reserved << 4 | opcode])
    bit = masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + key + mixed.to_bytes(len(payload), "big")


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: str


class Wire:
    """A TCP connection to a server.

    Args:
        port: the port of the server.
        receive_buffer: the size of the system's receive buffer in bytes; 0 for the default.
        source: the client's address; "" for the default.
    """

    def __init__(self, port: int, receive_buffer: int = 0, source: str = "") -> None:
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.port = port
        self._held = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def abort(self) -> None:
        """Go away with a reset, as a machine does that loses its mind."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # The handshake

    def request(
        self,
        target: str,
        *,
        method: str = "GET",
        version: str = "HTTP/1.1",
        more: tuple[tuple[str, str], ...] = (),
        **headers: str | None,
    ) -> bytes:
        """Return a good handshake with some headers replaced, or left out where None.

        Underscores stand for dashes: ``sec_websocket_key="short"``. ``more`` is added as it is.
        """
        fields: dict[str, str | None] = {
            "host": f"127.0.0.1:{self.port}",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
            "sec-websocket-version": "13",
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        pairs = [(name, value) for name, value in fields.items() if value is not None]
        lines = [f"{name}: {value}\r\n" for name, value in (*pairs, *more)]
        return f"{method} {target} {version}\r\n{''.join(lines)}\r\n".encode("latin-1")

    def upgrade(self, target: str, behind: bytes = b"", **headers: str) -> Answer:
        """Open a websocket, with ``behind`` in the same packet as the handshake."""
        self.send(self.request(target, **headers) + behind)
        answer = self.answer()
        assert answer.status == 101, answer
        return answer

    def refused(self, target: str, **options: object) -> Answer:
        """Send a handshake that is not accepted and return the answer."""
        self.send(self.request(target, **options))  # type: ignore[arg-type]
        answer = self.answer()
        assert answer.status != 101, answer
        return answer

    def answer(self) -> Answer:
        """Read an HTTP answer, its body too if it announces one."""
        head = self._line_by_line()
        status, *lines = head.split("\r\n")
        pairs = (line.split(":", 1) for line in lines if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = self._take(int(headers.get("content-length", 0))).decode()
        return Answer(int(status.split()[1]), headers, body)

    def _line_by_line(self) -> str:
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    # Frames

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_frame(self, opcode: int, payload: bytes = b"", **options: object) -> None:
        self.send(frame(opcode, payload, **options))  # type: ignore[arg-type]

    def receive(self) -> tuple[int, bytes]:
        """Return the first byte and the payload of the next frame.

        Raises:
            EOFError: there is no more.
        """
        first, second = self._take(2)
        assert not second & 0x80, "a server does not mask"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first, self._take(size)

    def receive_text(self) -> str:
        first, payload = self.receive()
        assert first == 0x80 | TEXT, (first, payload)
        return payload.decode()

    def close_code(self) -> int:
        """Read up to the close frame, answer it, and return its code once the server hung up.

        1006 if the connection ended without one. Our end is closed too.
        """
        try:
            while True:
                first, payload = self.receive()
                if first == 0x80 | CLOSE:
                    break
        except (EOFError, ConnectionError):
            return 1006
        assert len(payload) <= 125
        try:
            self.send_frame(CLOSE, payload[:2])
            while True:
                self._more()
        except (EOFError, ConnectionError):
            self.socket.close()
            return int.from_bytes(payload[:2], "big")

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        self._held += data
