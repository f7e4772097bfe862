"""The life of a websocket in this process: bytes in, frames out, the close handshake."""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.frames import Frame, Opcode

from wsredis.identity import ANONYMOUS, Identity
from wsredis.transports.rate import MAX_UNACKED
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until


def test_a_connection_is_reached_from_any_thread(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    connection.soon(connection.send, "from afar")
    assert client.read() == (Opcode.TEXT, b"from afar")


class ScarceRead:
    """An `os.read` that fails for lack of memory, so many times for one descriptor."""

    def __init__(self, fd: int, number: int, times: int) -> None:
        self.read = os.read
        self.fd = fd
        self.number = number
        self.left = times
        self.calls = 0

    def __call__(self, fd: int, size: int) -> bytes:
        if fd == self.fd:
            self.calls += 1
            if self.left:
                self.left -= 1
                raise OSError(self.number, os.strerror(self.number))
        return self.read(fd, size)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_a_kernel_without_memory_to_read_is_asked_again_after_a_while(
    place: Place, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    read = ScarceRead(connection.fd, number, 2)
    monkeypatch.setattr(os, "read", read)
    client.send(Opcode.TEXT, b"hello")
    until(lambda: endpoint.got == ["hello"])
    assert read.calls == 3
    assert endpoint.codes == []


@pytest.mark.parametrize("ended", [True, False])
def test_one_that_pauses_or_ends_while_the_kernel_lacks_memory_is_not_read_again(
    place: Place, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    read = ScarceRead(connection.fd, errno.ENOBUFS, 1)
    monkeypatch.setattr(os, "read", read)
    again: list[Callable[[], None]] = []
    monkeypatch.setattr(gevent, "spawn_later", lambda seconds, call: again.append(call))
    client.send(Opcode.TEXT, b"hello")
    until(lambda: again)
    place.run(connection.abort if ended else connection.hold)
    place.run(again.pop())
    if ended:
        assert connection._reader is None
    else:
        assert not place.run(lambda: connection._reader.active)
        place.run(connection.release)
        until(lambda: endpoint.got == ["hello"])


def test_one_that_is_closed_while_joining_is_told_so_and_never_opened(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsredis.connection")
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(connection.close, 4000, "first")
    place.run(connection.close, 4001, "second")
    assert not place.run(connection.kick, 4002, "third")
    near, far = place.pair()
    place.run(connection.open, near.detach(), Frame(Opcode.TEXT, b"early").serialize(mask=True))
    client = Client(far)
    assert client.read() == (Opcode.CLOSE, (4000).to_bytes(2, "big") + b"first")
    client.sock.close()
    until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1].startswith(f"close user=- channels={CHANNEL} code=4000")
    assert connection.endpoint.codes == [4000]
    assert connection.endpoint.got == []


def test_one_that_is_not_there_any_more_leaves_no_line_in_the_log(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsredis.connection")
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(connection.abort)
    near, far = place.pair()
    place.run(connection.open, near.detach())
    assert far.recv(1) == b""
    assert caplog.messages == []
    assert connection.endpoint.codes == [1006]


def test_one_is_not_compressed_unless_the_handshake_says_so(place: Place) -> None:
    connection = WebSocket(place.hub, place.receivers, Recorder(), ANONYMOUS, "chat.v1")
    assert (connection.subprotocol, connection.window_bits) == ("chat.v1", 0)


def test_one_is_silent_from_a_ping_to_the_next_sign_of_life(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    assert place.numbers()["accepted"] == 1
    assert not connection.is_silent
    place.run(connection.ping)
    assert client.read() == (Opcode.PING, b"")
    assert connection.is_silent
    client.send(Opcode.PONG)
    until(lambda: not connection.is_silent)
    place.run(connection.ping)
    place.run(connection.publishing, MAX_UNACKED)
    assert connection.paused
    assert not connection.is_silent  # as nobody listens to it
    place.run(connection.on_ack, MAX_UNACKED)
    assert not connection.is_silent  # it could not be heard before
    place.run(connection.close)
    place.run(connection.ping)
    assert not connection.is_silent
    assert client.read() == (Opcode.PING, b"")
    assert client.read() == (Opcode.CLOSE, (1000).to_bytes(2, "big"))


def test_what_is_retained_goes_out_with_the_opening(places: Callable[..., Place]) -> None:
    place = places(ping_interval=3600)  # a ping would take it along
    place.publish("retained", expire=60)
    assert place.connect(CHANNEL)[0].read() == (Opcode.TEXT, b"retained")


def test_one_that_closes_is_read_again(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.publishing, MAX_UNACKED)
    assert connection.paused
    place.run(connection.close, 4000)
    assert client.close_code() == 4000
    client.send(Opcode.CLOSE, (4000).to_bytes(2, "big"))
    assert client.sock.recv(1) == b""
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert place.numbers()["timeouts"] == 0


def test_what_is_sent_to_one_is_text_or_binary_as_it_is_given(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    place.run(connection.send, "text")
    place.run(connection.send, b"binary")
    assert [client.read(), client.read()] == [(Opcode.TEXT, b"text"), (Opcode.BINARY, b"binary")]
    assert connection.sent == 2


def test_what_one_publishes_comes_back_and_is_not_retained(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    place.run(connection.publish, [CHANNEL], "hello")
    assert client.read()[1] == b"hello"
    newcomer = place.connect(CHANNEL)[0]
    place.publish("end")
    assert newcomer.read()[1] == b"end"


def test_to_kick_is_to_close_once(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    assert place.run(connection.kick, 4401, "")
    assert not place.run(connection.kick, 4403, "")
    assert client.close_code() == 4401
    place.run(connection.abort)
    assert not place.run(connection.kick, 4403, "")


def test_a_ping_is_answered_and_a_close_is_returned(place: Place) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    client.send(Opcode.PING, b"are you there")
    assert client.read() == (Opcode.PONG, b"are you there")
    client.send(Opcode.CLOSE, struct.pack("!H", 1001) + b"leaving")
    assert client.close_code() == 1001
    with pytest.raises(EOFError):
        client.read()
    assert place.numbers()["timeouts"] == 0
    client.sock.close()
    until(lambda: endpoint.codes == [1001])


def test_messages_before_a_close_in_the_same_bytes_are_heard(place: Place) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    text = Frame(Opcode.TEXT, b"last words").serialize(mask=True)
    close = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
    client.sock.sendall(text + close)
    assert client.close_code() == 1000
    assert endpoint.got == ["last words"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), gevent.Timeout(1)])
def test_an_endpoint_that_fails_costs_its_own_socket_only(
    place: Place, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    other, _, _ = place.connect(CHANNEL)
    endpoint.error = error
    client.send(Opcode.TEXT, b"boom")
    assert client.close_code() == 1011
    place.publish("on we go")
    assert other.read()[1] == b"on we go"
    assert "the endpoint failed" in caplog.text


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1010, 1015, 2999, 5000, 70_000, "1000"])
def test_a_code_that_a_server_may_not_send_is_an_error(place: Place, code: Any) -> None:
    client, connection, _ = place.connect(CHANNEL)
    with pytest.raises(ValueError, match=f"{code!r} is not a close code .* use 1000 to 1003"):
        place.run(connection.close, code)
    place.publish("on we go")
    assert client.read()[1] == b"on we go"


def test_a_client_that_does_not_answer_the_close_is_ended(places: Callable[..., Place]) -> None:
    place = places(close_timeout=0.2)
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.close, 1000)
    assert client.close_code() == 1000
    until(lambda: endpoint.codes == [1000])
    assert place.numbers()["timeouts"] == 1


def test_after_our_close_frame_nothing_more_is_sent_or_heard(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.close, 1000)
    client.send(Opcode.TEXT, b"too late")
    place.publish("too late")
    assert client.close_code() == 1000
    client.send(Opcode.CLOSE, struct.pack("!H", 1000))
    with pytest.raises(EOFError):
        client.read()
    assert endpoint.got == []


def test_what_follows_the_close_frame_of_the_client_is_ignored(
    places: Callable[..., Place],
) -> None:
    place = places(close_timeout=60)
    client, connection, endpoint = place.connect(CHANNEL)
    client.send(Opcode.CLOSE, struct.pack("!H", 4000))
    assert client.close_code() == 4000
    with pytest.raises(EOFError):
        client.read()
    place.run(setattr, connection, "alive", False)
    client.send(Opcode.TEXT, b"too late")
    until(lambda: connection.alive)  # it was read
    assert connection.state is State.CLOSING
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert endpoint.got == []


def test_a_close_of_both_sides_at_once_ends_at_once(places: Callable[..., Place]) -> None:
    place = places(close_timeout=60)
    client, connection, endpoint = place.connect(CHANNEL)
    endpoint.error = LookupError("the endpoint is broken")
    text = Frame(Opcode.TEXT, b"boom").serialize(mask=True)
    close = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
    client.sock.sendall(text + close)
    assert client.close_code() == 1011
    with pytest.raises(EOFError):
        client.read()
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    assert place.numbers()["send_buffer_bytes"] == 0


def test_an_endpoint_hears_of_the_opening_before_the_close(place: Place) -> None:
    heard: list[str] = []

    class Noting(Recorder):
        def opened(self, connection: WebSocket) -> None:
            heard.append("opened")

        def closed(self, connection: WebSocket, code: int) -> None:
            heard.append("closed")

    place.publish("retained", expire=60)
    near, far = place.pair()
    connection = place.websocket(Noting(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    far.close()
    place.run(connection.open, near.detach())
    until(lambda: len(heard) == 2)
    assert heard == ["opened", "closed"]


def test_early_bytes_of_the_client_are_heard(place: Place) -> None:
    near, _far = place.pair()
    endpoint = Recorder()
    connection = place.websocket(endpoint, ANONYMOUS)
    place.join(connection, [])
    early = Frame(Opcode.TEXT, b"early bird").serialize(mask=True)
    place.run(connection.open, near.detach(), early)
    assert endpoint.got == ["early bird"]


def test_a_log_line_tells_who_came_and_how_it_ended(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsredis.connection")
    client, _, _ = place.connect(CHANNEL, identity=Identity("alice\r\nroot"))
    place.publish("hello")
    client.read()
    client.send(Opcode.TEXT, b"one")
    client.send(Opcode.CLOSE, struct.pack("!H", 1000))
    client.close_code()
    client.sock.close()
    until(lambda: "close user=" in caplog.text)
    first, last = caplog.messages
    assert first == f"open user=alice%0D%0Aroot channels={CHANNEL}"
    start = f"close user=alice%0D%0Aroot channels={CHANNEL} code=1000"
    assert re.fullmatch(rf"{start} seconds=\d?\d\.\d received=1 sent=1", last)


def test_connections_and_their_descriptors_are_given_back(place: Place) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    place.connect(CHANNEL)[0].sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    before = descriptors()
    for _ in range(50):
        place.connect(CHANNEL)[0].sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert descriptors() <= before + 1


def test_the_parts_of_two_clients_are_not_mixed(place: Place) -> None:
    alice, hers, of_alice = place.connect(CHANNEL)
    bob, _, of_bob = place.connect(CHANNEL)
    text = Frame(Opcode.TEXT, b"of alice").serialize(mask=True)
    alice.sock.sendall(text[:7])
    until(lambda: hers._receiver is not None)
    for number in (1, 2):
        bob.send(Opcode.TEXT, b"of bob")
        until(lambda n=number: of_bob.got == ["of bob"] * n)
    assert len(place.receivers._spare[False]) == 1  # the one that bob has used twice
    alice.sock.sendall(text[7:])
    until(lambda: of_alice.got == ["of alice"])
    assert len(place.receivers._spare[False]) == 2


def test_one_that_sends_too_much_is_closed_and_not_read_any_more(
    places: Callable[..., Place],
) -> None:
    place = places(max_messages_per_second=3, close_timeout=0.2)
    client, _, endpoint = place.connect(CHANNEL)
    flood = Frame(Opcode.TEXT, b"hello").serialize(mask=True) * 10
    client.sock.sendall(flood)
    assert client.close_code() == 1008
    assert place.numbers()["over_limit"] == 1
    client.sock.sendall(flood)
    until(lambda: not connection_is_read(place))
    client.send(Opcode.CLOSE, (1008).to_bytes(2, "big"))
    until(lambda: endpoint.codes == [1008])
    assert place.numbers()["timeouts"] == 1  # its close frame was not read
    assert endpoint.got == []


def connection_is_read(place: Place) -> bool:
    return any(each._reader.active for each in place.run(lambda: [*place.hub.subscribers()]))


def test_what_messages_grow_by_counts(places: Callable[..., Place]) -> None:
    place = places(max_bytes_per_second=5000)
    client, connection, endpoint = place.connect(CHANNEL, bits=15)
    deflate = zlib.compressobj(wbits=-15)
    data = (deflate.compress(b"z" * 3000) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    plain = Frame(Opcode.TEXT, data).serialize(mask=True)
    frame = bytes([plain[0] | 0x40]) + plain[1:]  # RSV1: it is deflated
    for number in range(20):  # at least two of them in the same second
        if connection.state is State.OPEN:
            client.sock.sendall(frame)
            until(lambda n=number: len(endpoint.got) > n or connection.state is not State.OPEN)
    assert client.close_code() == 1008
    assert place.numbers()["over_limit"] == 1


def test_a_socket_far_ahead_of_the_broker_is_not_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    unacked: list[Callable[[bool], None]] = []
    monkeypatch.setattr(
        place.hub._feed,
        "publish",
        lambda channels, payload, expire, on_ack: unacked.append(on_ack),
    )

    def publish(connection: WebSocket, message: Any) -> None:
        connection.publish([CHANNEL], message)

    monkeypatch.setattr(endpoint, "received", publish)
    frame = Frame(Opcode.TEXT, b"z" * 10_000).serialize(mask=True)
    sender = threading.Thread(target=client.sock.sendall, args=(frame * 200,))
    sender.start()
    until(lambda: connection.paused)
    place.run(gevent.sleep, 0.05)  # in which all could be read
    assert len(unacked) < 60
    while sender.is_alive() or len(unacked):
        place.run(lambda: [unacked.pop()(True) for _ in list(unacked)])
        time.sleep(0.001)
    until(lambda: connection.received == 200 and not connection.paused)
    assert connection.state is State.OPEN


def test_it_is_read_again_when_the_broker_has_caught_up_and_not_before(place: Place) -> None:
    _, connection, _ = place.connect(CHANNEL)

    def publish() -> list[bool]:
        paused = []
        for size in (1, MAX_UNACKED, MAX_UNACKED):
            connection.publishing(size)
            paused.append(connection.paused)
        for _ in range(2):
            connection.on_ack(MAX_UNACKED)
            paused.append(connection.paused)
        return paused

    assert place.run(publish) == [False, True, True, True, False]


def test_an_endpoint_may_close_what_has_just_opened(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "opened", lambda self, connection: connection.close(4000))
    place.publish("retained", expire=60)
    near, far = place.pair()
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(connection.open, near.detach(), Frame(Opcode.TEXT, b"early").serialize(mask=True))
    client = Client(far)
    assert client.read() == (Opcode.TEXT, b"retained")
    assert client.close_code() == 4000
    assert connection.endpoint.got == []


def test_a_write_finds_out_that_the_client_has_gone(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)

    def go_and_write() -> None:  # before the loop sees the end of file
        client.sock.close()
        connection.send("hello")

    place.run(go_and_write)
    assert endpoint.codes == [1006]
    place.run(connection.send, "hello")
    assert endpoint.codes == [1006]


def test_the_rest_of_a_message_finds_out_that_the_client_has_gone(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL, buffer=4096)
    place.publish("x" * 300_000)
    until(lambda: connection.send_buffer_size)

    def go_and_write() -> None:  # before the loop sees the end of file
        client.sock.close()
        connection._flush()

    place.run(go_and_write)
    assert endpoint.codes == [1006]


def test_a_reset_is_the_end(place: Place) -> None:
    client, connection, endpoint = place.connect(CHANNEL)
    place.run(connection.send, "not read")
    client.sock.close()
    until(lambda: endpoint.codes == [1006])


def test_a_false_alarm_is_none(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    place.run(connection._readable)
    place.publish("still here")
    assert client.read() == (Opcode.TEXT, b"still here")


def test_one_that_is_ended_while_its_last_words_are_heard_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, endpoint = place.connect(CHANNEL)
    monkeypatch.setattr(endpoint, "received", lambda connection, message: connection.abort())
    text = Frame(Opcode.TEXT, b"last words").serialize(mask=True)
    client.sock.sendall(text + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
    with pytest.raises(EOFError):
        client.read()
    until(lambda: endpoint.codes == [1006])
