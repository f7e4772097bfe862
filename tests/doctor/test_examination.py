"""The doctor's findings for misbehaving servers; all steps except the first ones."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from websockets.frames import Frame, Opcode

from wsredis.doctor.address import Address
from wsredis.doctor.client import Client
from wsredis.doctor.connection import judge_tls
from wsredis.doctor.examination import Examination
from wsredis.doctor.report import Fault, Remedy, Report
from wsredis.embedded import free_port

from ..servers.support import HOST
from .conftest import Seen
from .script import look, say, websocket

Doctor = Callable[..., Seen]
Play = Callable[..., int]

polite = websocket()
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


def closing(code: int) -> bytes:
    return Frame(Opcode.CLOSE, code.to_bytes(2)).serialize(mask=False)


def text(words: str) -> bytes:
    return Frame(Opcode.TEXT, words.encode()).serialize(mask=False)


def examination(url: str) -> Examination:
    address = Address.parse(url)
    client = Client(address, address.origin)
    client.resolve()
    return Examination(client, 0, False, lambda line: None)


def test_a_way_that_ends_after_the_first_look() -> None:
    with pytest.raises(Fault) as fault:
        examination(f"ws://{HOST}:{free_port()}/ws/")._handshake()
    assert fault.value.diagnosis.fault == "refused"


def test_tls_that_ends_after_the_first_look(play: Play) -> None:
    port = play(lambda one: one.sendall(one.recv(1 << 16) and REFUSED))
    with pytest.raises(Fault) as fault:
        examination(f"wss://{HOST}:{port}/ws/")._handshake()
    assert fault.value.diagnosis.fault == "no-tls"


def test_silence_during_tls_is_no_fault_of_tls() -> None:
    fault = judge_tls(Address.parse("wss://example.com"), TimeoutError())
    assert fault.diagnosis.fault == "filtered"


def test_a_server_that_waits_for_plain_text_does_not_answer_tls(doctor: Doctor) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        seen = doctor(f"wss://{HOST}:{port}/ws/", "--timeout", "0.2")
    assert seen.fault == "no-tls"
    assert seen.steps["TLS"] == "no answer to the TLS handshake"


def test_a_remedy_without_lines_is_a_sentence() -> None:
    said: list[str] = []
    fault = Fault("seen", "name", "This is wrong.", Remedy("Do this"), Remedy("nginx", ("line;",)))
    Report("ws://example.com/ws/", said.append).failed("step", fault)
    assert said[1:] == ["\nThis is wrong.", "\nDo this.", "\nnginx:\n", "    line;"]


def test_only_the_101_comes_through(play: Play, doctor: Doctor) -> None:
    port = play(look, polite, websocket(mute=True))
    seen = doctor(port, "--timeout", "3", "--wait", "0.2")
    assert seen.fault == "no-frames"


def test_what_the_server_says_comes_through_and_what_the_client_says_does_not(
    play: Play, doctor: Doctor
) -> None:
    port = play(look, polite, websocket(text("hello"), mute=True))
    assert doctor(port, "--timeout", "3").fault == "one-way"


@pytest.mark.parametrize(("code", "fault"), [(1012, "restarted"), (4000, "closed")])
def test_a_websocket_is_closed_at_once(play: Play, doctor: Doctor, code: int, fault: str) -> None:
    seen = doctor(play(look, polite, websocket(closing(code), mute=True)))
    assert (seen.fault, seen.last) == (fault, ("frames", False))


def test_a_frame_is_compressed_that_should_not_be(play: Play, doctor: Doctor) -> None:
    seen = doctor(play(look, polite, websocket(b"\xc1\x02hi")))
    assert (seen.fault, seen.last) == ("deflate-mangled", ("frames", False))


def test_a_websocket_is_closed_while_compression_is_tried(play: Play, doctor: Doctor) -> None:
    seen = doctor(play(look, polite, polite, websocket(closing(1011), mute=True)))
    assert (seen.fault, seen.last) == ("closed", ("compression", False))


def test_who_wants_to_publish_is_refused(play: Play, doctor: Doctor) -> None:
    seen = doctor(play(look, *[polite] * 4, say(REFUSED)), "--publish")
    assert seen.fault is None
    assert seen.skipped >= {"message"}
    assert seen.steps["message"].startswith(
        "not tested: the site refuses clients that request to publish (403"
    )


def test_a_message_does_not_come_back(play: Play, doctor: Doctor) -> None:
    others = text("of somebody else") + Frame(Opcode.PING, b"").serialize(mask=False)
    port = play(look, *[polite] * 4, websocket(replies={Opcode.TEXT: others}))
    seen = doctor(port, "--publish", "--timeout", "3")
    assert seen.fault is None
    assert seen.skipped >= {"message"}
    assert seen.steps["message"] == "sent, but the site's endpoint sent nothing back"


def test_a_message_ends_the_websocket(play: Play, doctor: Doctor) -> None:
    last = websocket(replies={Opcode.TEXT: closing(1011)}, mute=True)
    seen = doctor(play(look, *[polite] * 4, last), "--publish")
    assert (seen.fault, seen.last) == ("closed", ("message", False))
