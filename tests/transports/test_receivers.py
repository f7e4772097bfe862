"""The parsers of a process, each used by one websocket until its message is complete."""

from __future__ import annotations

import gc
import weakref
import zlib
from collections.abc import Callable

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from wsredis.config import Config
from wsredis.protocol.frames import Receiver
from wsredis.transports.receivers import SPARE_RECEIVERS, Receivers
from wsredis.transports.stream import State

from ..place import CHANNEL, Place, until


def masked(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


TEXT = masked(Opcode.TEXT, b"hello")


def spare(place: Place, deflate: bool = False) -> list[Receiver]:
    return list(place.receivers._spare[deflate])


# The pool


def test_what_is_taken_back_is_lent_again_to_the_same_kind_of_client() -> None:
    pool = Receivers(Config())
    plain, deflating = pool.lend(False), pool.lend(True)
    assert (plain.deflate, deflating.deflate) == (False, True)
    assert pool.lend(False) is not plain
    pool.take_back(plain)
    pool.take_back(deflating)
    assert pool.lend(True) is deflating
    assert pool.lend(True) not in (plain, deflating)
    assert pool.lend(False) is plain


def test_only_so_many_are_held_for_the_next_ones() -> None:
    pool = Receivers(Config())
    for deflate in (False, True):
        lent = [pool.lend(deflate) for _ in range(SPARE_RECEIVERS + 5)]
        for receiver in lent:
            pool.take_back(receiver)
        assert pool._spare[deflate] == lent[:SPARE_RECEIVERS]


@pytest.mark.parametrize(
    ("options", "wire", "code"),
    [
        ({"max_message_size": 4}, TEXT, 1009),
        ({"max_fragments": 1}, masked(Opcode.TEXT, fin=False) + masked(Opcode.CONT), 1008),
        ({"binary": False}, masked(Opcode.BINARY), 1003),
    ],
    ids=["size", "fragments", "binary"],
)
def test_they_have_the_limits_of_the_config(
    options: dict[str, int], wire: bytes, code: int
) -> None:
    for deflate in (False, True):
        receiver = Receivers(Config(**options)).lend(deflate)
        assert receiver.feed(wire) == []
        assert (receiver.closing, receiver.code) == (True, code)
        receiver = Receivers(Config()).lend(deflate)
        receiver.feed(wire)
        assert not receiver.closing


@pytest.mark.parametrize(("most", "code"), [(100, 1008), (None, 1006)])
def test_they_have_the_limit_for_what_grows_when_it_is_inflated(
    most: int | None, code: int
) -> None:
    deflate = PerMessageDeflate(True, True, 15, 15)
    receiver = Receivers(Config(max_bytes_per_second=most)).lend(True)
    receiver.feed(Frame(Opcode.TEXT, b"a" * 1000).serialize(mask=True, extensions=[deflate]))
    assert receiver.grown > 900
    assert receiver.code == code


# What websockets do with them


def test_a_websocket_has_one_only_in_the_middle_of_a_message(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    assert connection._receiver is None
    client.sock.sendall(TEXT)
    until(lambda: endpoint.got == ["hello"])
    assert connection._receiver is None
    (receiver,) = spare(place)
    client.sock.sendall(TEXT[:-1])
    until(lambda: connection._receiver is receiver)
    assert spare(place) == []
    client.sock.sendall(TEXT[-1:])
    until(lambda: endpoint.got == ["hello"] * 2)
    until(lambda: connection._receiver is None)
    assert spare(place) == [receiver]


def test_one_after_the_other_uses_the_same(place: Place) -> None:
    clients = [place.connect(bits=15) for _ in range(5)]
    fragments = masked(Opcode.TEXT, b"two ", fin=False) + masked(Opcode.CONT, b"fragments")
    for client, _, endpoint in clients:
        client.sock.sendall(fragments)
        until(lambda endpoint=endpoint: endpoint.got == ["two fragments"])
    until(lambda: len(spare(place, True)) == 1)
    assert spare(place) == []


def test_what_many_need_who_send_at_once_is_not_held_for_ever(place: Place) -> None:
    clients = [place.connect() for _ in range(SPARE_RECEIVERS + 1)]
    for client, _, _ in clients:
        client.sock.sendall(TEXT[:-1])
    until(lambda: all(connection._receiver for _, connection, _ in clients))
    for client, _, _ in clients:
        client.sock.sendall(TEXT[-1:])
    until(lambda: all(endpoint.got for _, _, endpoint in clients))
    until(lambda: len(spare(place)) == SPARE_RECEIVERS)


BROKEN: dict[str, tuple[bytes, int]] = {
    "a protocol error": (b"\xff\x80", 1002),
    "a close frame": (masked(Opcode.CLOSE, (1000).to_bytes(2)), 1000),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_that_has_seen_the_end_of_a_websocket_is_lent_to_nobody_else(
    place: Place, case: str
) -> None:
    wire, code = BROKEN[case]
    client, connection, _ = place.connect(CHANNEL)
    client.sock.sendall(wire)
    assert client.close_code() == code
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    assert spare(place) == []
    assert connection._receiver is None


def test_one_with_half_a_message_of_somebody_who_has_gone_is_lent_to_nobody_else(
    place: Place,
) -> None:
    client, connection, _ = place.connect(CHANNEL)
    client.sock.sendall(TEXT[:-1])
    until(lambda: connection._receiver is not None)
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    assert spare(place) == []
    other, _, endpoint = place.connect(CHANNEL)
    other.sock.sendall(TEXT)
    until(lambda: endpoint.got == ["hello"])


def deflated(payload: bytes, fin: bool) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    frame = bytearray(Frame(Opcode.TEXT, data[:-4], fin=fin).serialize(mask=True))
    frame[0] |= 0x40
    return bytes(frame)


UNFINISHED: dict[str, bytes] = {
    "half of a frame": masked(Opcode.TEXT, b"x" * 5000)[:3000],
    "a fragment": masked(Opcode.TEXT, b"x" * 5000, fin=False),
    "a deflated fragment": deflated(b"x" * 5000, fin=False),
    "half of a deflated frame": deflated(b"x" * 5000, fin=True)[:-3],
    "an invalid frame": b"\xff\x80",
    "invalid UTF-8": masked(Opcode.TEXT, b"\xff\xff"),
    "a frame that is too large": b"\x81\xff" + (1 << 40).to_bytes(8) + bytes(4),
    "a message that is too large": deflated(b"x" * (1 << 21), fin=True),
    "a close frame": masked(Opcode.CLOSE, (1000).to_bytes(2)),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_what_an_ended_client_has_sent_is_freed_without_the_garbage_collector(
    place: Place, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, _ = place.connect(CHANNEL, bits=15)
    receivers: list[weakref.ref[Receiver]] = []

    def lend(deflate: bool) -> Receiver:
        receiver = Receivers(Config()).lend(deflate)
        receivers.append(weakref.ref(receiver))
        return receiver

    monkeypatch.setattr(place.receivers, "lend", lend)
    gc.disable()
    try:
        client.sock.sendall(UNFINISHED[case])
        until(lambda: receivers)
        client.sock.close()
        until(lambda: connection.state is State.CLOSED)
        until(lambda: place.run(receivers[0]) is None)
    finally:
        gc.enable()


@pytest.mark.parametrize("data", [TEXT, TEXT + TEXT[:-1]], ids=["message", "message and more"])
def test_one_whose_websocket_was_aborted_by_its_endpoint_is_lent_to_nobody_else(
    place: Place, data: bytes
) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(setattr, endpoint, "received", lambda c, m: (endpoint.got.append(m), c.abort()))
    client.sock.sendall(TEXT[:-1])  # so that it has one when it ends
    until(lambda: connection._receiver is not None)
    client.sock.sendall(TEXT[-1:] + data[len(TEXT) :])
    until(lambda: endpoint.got == ["hello"])
    place.run(int)  # the loop has left `received`
    assert connection._receiver is None
    assert spare(place) == []
    assert place.numbers()["buffer_memory"] == 0
    other, _, endpoint = place.connect(CHANNEL)
    other.sock.sendall(TEXT)
    until(lambda: endpoint.got == ["hello"])


def test_each_process_object_has_its_own(places: Callable[..., Place]) -> None:
    one, other = places(), places(max_message_size=4)
    client, _, endpoint = one.connect()
    client.sock.sendall(TEXT)
    until(lambda: endpoint.got == ["hello"])
    refused, _, _ = other.connect()
    refused.sock.sendall(TEXT)
    assert refused.close_code() == 1009
    assert len(spare(one)) == 1
