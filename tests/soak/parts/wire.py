"""Efficient websocket framing for thousands of clients, from bytes in chunks of any size."""

from __future__ import annotations

import base64
import os
import zlib

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "Reader", "WireError", "frame", "handshake"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

COMPRESSED = 0x40


class WireError(Exception):
    """The error for bytes of a server that are not a valid frame."""


def handshake(port: int, target: str, headers: dict[str, str], deflate: bool) -> bytes:
    """Return a request for a websocket (RFC 6455 section 4.1)."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a masked frame (RFC 6455 section 5.2) of less than 64 KiB."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    key = os.urandom(4)
    pad = (key * (size // 4 + 1))[:size]
    return head + key + (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(size)


class Reader:
    """A parser of the frames in a server's bytes.

    Args:
        deflate: whether permessage-deflate without context was negotiated (RFC 7692).
    """

    __slots__ = ("_deflate", "_held")

    def __init__(self, deflate: bool) -> None:
        self._deflate = deflate
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Parse bytes and return the opcodes and payloads of the frames that are complete.

        Raises:
            WireError: a frame is masked, fragmented, or compressed without negotiation.
        """
        data = self._held + data
        frames: list[tuple[int, bytes]] = []
        start, end = 0, len(data)
        while end - start >= 2:
            first, size = data[start], data[start + 1]
            at = start + 2
            if size > 125:
                more = {126: 2, 127: 8}.get(size)
                if more is None:
                    raise WireError(f"a masked frame, or one of size {size}")
                size = int.from_bytes(data[at : at + more])
                at += more
            if at + size > end:
                break
            start = at + size
            payload = data[at:start]
            if first & COMPRESSED and self._deflate:
                payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                first &= ~COMPRESSED
            opcode = first & 0x0F
            if first & 0xF0 != 0x80 or opcode not in (TEXT, CLOSE, PING, PONG):
                raise WireError(f"a frame that begins with {first:#x}")
            frames.append((opcode, payload))
        self._held = data[start:]
        return frames
