"""The doctor's own client, with the test as the server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event
from websockets.server import ServerProtocol

from wsredis.doctor.address import Address
from wsredis.doctor.client import Client, Gone, Socket, Wire

from ..servers.support import HOST, SECONDS

Serve = Callable[[bytes], "Other"]


class Other:
    """A server that accepts one websocket, sends bytes with the 101, and stores the reply."""

    def __init__(self, more: bytes) -> None:
        self.server = socket.create_server((HOST, 0))
        self.server.settimeout(SECONDS)
        self.more = more
        self.frames: list[Frame] = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        one, _ = self.server.accept()
        with one:
            one.settimeout(SECONDS)
            protocol = ServerProtocol()
            while data := one.recv(9999):
                protocol.receive_data(data)
                for event in protocol.events_received():
                    self.take(one, protocol, event)

    def take(self, one: socket.socket, protocol: ServerProtocol, event: Event) -> None:
        if isinstance(event, Request):
            protocol.send_response(protocol.accept(event))
            one.sendall(b"".join(protocol.data_to_send()) + self.more)
        else:
            assert isinstance(event, Frame)
            self.frames.append(event)

    def shake(self) -> Socket:
        port = self.server.getsockname()[1]
        client = Client(Address.parse(f"ws://{HOST}:{port}/ws/"), "http://example.com")
        client.resolve()
        opened = client.shake("/ws/news")
        assert isinstance(opened, Socket)
        return opened

    def heard(self) -> list[Opcode]:
        """Wait for the end and return what came."""
        self.thread.join(SECONDS)
        return [frame.opcode for frame in self.frames]


@pytest.fixture
def other() -> Iterator[Serve]:
    made: list[Other] = []

    def serve(more: bytes) -> Other:
        made.append(Other(more))
        return made[-1]

    yield serve
    for each in made:
        each.server.close()


def said(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=False)


def test_a_ping_that_comes_with_the_101_is_answered(other: Serve) -> None:
    server = other(said(Opcode.PING, b"there?"))
    ws = server.shake()
    assert [frame.opcode for frame in ws.receive(SECONDS)] == [Opcode.PING]
    ws.close()
    assert server.heard() == [Opcode.PONG, Opcode.CLOSE]
    assert server.frames[0].data == b"there?"


def test_a_close_that_comes_with_the_101_is_answered(other: Serve) -> None:
    server = other(said(Opcode.CLOSE, b"\x03\xf4restart"))
    ws = server.shake()
    ws.ping()
    ws.text("too late")
    with pytest.raises(Gone) as gone:
        ws.receive(SECONDS)
    ws.close()
    assert server.heard() == [Opcode.CLOSE]
    assert str(gone.value) == "closed with 1012 (restart)"


def test_a_connection_that_was_reset_shows_when_it_is_read() -> None:
    near, far = socket.socketpair()
    with near:
        wire = Wire(near)
        wire.send(b"not read")
        far.close()
        wire.send(b"nobody is there")
        assert wire.receive(SECONDS) == b""  # the reset, and
        assert wire.receive(SECONDS) == b""  # the end
