"""A hub in this process, with socket pairs, a loop and mostly the memory broker."""

from __future__ import annotations

import gc
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from websockets.frames import Frame, Opcode

from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.config import Config
from wsredis.endpoints import Endpoint, EndpointConnection
from wsredis.hub.hub import Hub
from wsredis.identity import ANONYMOUS, Identity
from wsredis.middleware import join
from wsredis.runtime.loop import Loop
from wsredis.transports.receivers import Receivers
from wsredis.transports.websocket import WebSocket

__all__ = ["CHANNEL", "Client", "Place", "Recorder", "calls", "complete", "until"]

CHANNEL = "ws:broadcast:news"

SECONDS = 30.0
"""After which something that should have happened counts as not happening."""


class Recorder(Endpoint):
    """A recorder of the events of one connection."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []
        self.codes: list[int] = []
        self.error: BaseException | None = None

    def received(self, connection: EndpointConnection, message: str | bytes) -> None:
        if self.error is not None:
            raise self.error
        self.got.append(message)

    def closed(self, connection: EndpointConnection, code: int) -> None:
        self.codes.append(code)


class Client:
    """The other end of a connection: a socket, and frames as a browser sends and reads them."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._bytes = b""

    def send(self, opcode: Opcode, data: bytes = b"") -> None:
        self.sock.sendall(Frame(opcode, data).serialize(mask=True))

    def read(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        head = self._take(2)
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8))[0]
        data = self._take(size)
        if head[0] & 0x40:
            data = zlib.decompressobj(wbits=-15).decompress(data + b"\x00\x00\xff\xff")
        return head[0] & 0x0F, data

    def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._bytes += data
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def close_code(self) -> int:
        """Skip to the close frame and return its code."""
        while True:
            opcode, data = self.read()
            if opcode == Opcode.CLOSE:
                return int(struct.unpack("!H", data[:2])[0])


class Place:
    """A hub on a separate thread, as on a threaded server.

    Args:
        broker: the source of the messages; by default one in memory.
        **options: the options of `Config`.
    """

    def __init__(self, broker: Any = None, **options: Any) -> None:
        self.broker: Any = broker if broker is not None else MemoryBroker()
        self.far_ends: list[socket.socket] = []
        self.loop = Loop()
        config = Config(**options)
        self.receivers = Receivers(config)
        self.hub = self.loop.run(lambda: Hub(config, self.broker, self.loop))

    def websocket(
        self, endpoint: Endpoint | None = None, identity: Identity = ANONYMOUS, bits: int = 0
    ) -> WebSocket:
        """Return a websocket that has joined nothing yet."""
        endpoint = endpoint if endpoint is not None else Recorder()
        return WebSocket(self.hub, self.receivers, endpoint, identity, None, bits)

    def join(self, connection: WebSocket, channels: Sequence[str], address: str = "") -> None:
        """Do for a websocket what a handshake does before its 101."""
        limits = self.hub.limits
        slots = limits.take(address)
        try:
            connection.slots = limits.take_user(slots, connection.identity.user)
        except BaseException:
            limits.release(slots)
            raise
        connection.endpoint.channels = channels
        self.loop.run(join, self.hub, connection)

    def connect(
        self, *channels: str, identity: Identity = ANONYMOUS, bits: int = 0, buffer: int = 0
    ) -> tuple[Client, WebSocket, Recorder]:
        endpoint = Recorder()
        connection = self.websocket(endpoint, identity, bits)
        self.join(connection, channels)
        near, far = self.pair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.loop.run(connection.open, near.detach())
        return Client(far), connection, endpoint

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return the server's and the client's end of a connection."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.settimeout(SECONDS)
        self.far_ends.append(far)
        return near, far

    def publish(self, text: str, channel: str = CHANNEL, expire: int = 0) -> None:
        self.broker.publish([channel], text.encode(), expire)

    def numbers(self) -> dict[str, int]:
        return self.loop.run(self.hub.numbers)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.loop.run(function, *args)


def calls(function: Callable[..., Any], *args: Any) -> int:
    """Return how many functions of Python and of C a call makes, without those of a collection.

    The finalizers of earlier tests' garbage would be counted, too.
    """
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()
    return count


def complete(steps: Iterable[object]) -> None:
    """Do all steps of some work without a break."""
    for _ in steps:
        pass


def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
