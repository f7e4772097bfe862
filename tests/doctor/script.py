"""A server that handles each connection as scripted by the test."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from ..servers.support import HOST, SECONDS

__all__ = ["Act", "Script", "look", "reset", "say", "tls", "websocket"]

Act = Callable[[socket.socket], None]
"""Takes a connection, which is closed afterwards."""


class Script:
    """A server for one connection after the other, which stops listening after the last."""

    def __init__(self, *acts: Act) -> None:
        self._acts = acts
        self._server = socket.create_server((HOST, 0))
        self._server.settimeout(SECONDS)
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        left = len(self._acts)
        for act in self._acts:
            one, _ = self._server.accept()
            left -= 1
            if not left:
                self._server.close()
            with one:
                one.settimeout(SECONDS)
                act(one)

    def close(self) -> None:
        """Wait until all has been played."""
        self._thread.join(SECONDS)
        self._server.close()
        assert not self._thread.is_alive()


def look(one: socket.socket) -> None:
    """Let somebody see that there is a server."""


def say(data: bytes) -> Act:
    """Answer a request with these bytes."""

    def act(one: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += one.recv(1 << 16)
        one.sendall(data)

    return act


def reset(one: socket.socket) -> None:
    """Take a request and break off, as a machine does that has crashed."""
    say(b"")(one)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tls(context: ssl.SSLContext) -> Act:
    """Begin TLS, and hang up."""

    def act(one: socket.socket) -> None:
        with suppress(OSError):
            context.wrap_socket(one, server_side=True).close()

    return act


def websocket(
    first: bytes = b"", replies: dict[Opcode, bytes] | None = None, mute: bool = False
) -> Act:
    """Hold a websocket until the client goes, and keep the protocol.

    Args:
        first: what is sent behind the 101.
        replies: what is sent when a frame of a kind has come.
        mute: whether nothing else is sent, no pong for one.
    """

    def answer(protocol: ServerProtocol, data: bytes) -> bytes:
        protocol.receive_data(data)
        more = b""
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
                more += b"".join(protocol.data_to_send()) + first
            elif isinstance(event, Frame):
                more += (replies or {}).get(event.opcode, b"")
        said = b"".join(protocol.data_to_send())
        return more if mute else more + said

    def act(one: socket.socket) -> None:
        protocol = ServerProtocol()
        with suppress(OSError):  # the client has seen enough
            while data := one.recv(1 << 16):
                one.sendall(answer(protocol, data))

    return act
