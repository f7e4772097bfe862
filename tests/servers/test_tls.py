"""Servers that terminate TLS themselves: their websockets are encrypted like their pages."""

from __future__ import annotations

import random
import resource
import signal
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from .support import Site, eventually
from .wire import BINARY, CLOSE, PING, PONG, TEXT, Wire, frame

pytestmark = pytest.mark.servers

REQUESTABLE = ("subscribe-broadcast", "publish-broadcast", "echo")

SECURE = ("gunicorn-gevent", "gunicorn-gthread", "pywsgi", "werkzeug")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return who signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture
def start_secure(
    authority: trustme.CA, tmp_path: Path, start: Callable[..., Site]
) -> Callable[..., Site]:
    """Give a function that starts a server with a certificate."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    def start_secure(name: str, **options: Any) -> Site:
        words = [str(chain), str(key)]
        if name.startswith("gunicorn"):
            words = ["--certfile", words[0], "--keyfile", words[1]]
        return start(name, options=words, trust=trust, close_timeout=5, **options)

    return start_secure


@pytest.fixture(params=SECURE)
def secure(request: pytest.FixtureRequest, start_secure: Callable[..., Site]) -> Site:
    """Start a server with a certificate."""
    return start_secure(request.param)


def test_pages_and_websockets_share_an_encrypted_port(secure: Site, room: str) -> None:
    with open_wire(secure, room) as alice, open_wire(secure, room) as bob:
        alice.send_frame(TEXT, b"hello")
        assert alice.receive_text() == bob.receive_text() == "hello"
        assert secure.get("/")[0] == 200
        secure.broadcast(room, "from a view")
        assert bob.receive_text() == "from a view"


@pytest.mark.parametrize("name", SECURE)
def test_a_websocket_outlives_its_request_behind_a_wrapper(
    start_secure: Callable[..., Site], room: str, name: str
) -> None:
    site = start_secure(name, app="tracked.py")
    wires = [open_wire(site, room) for _ in range(5)]
    for number, wire in enumerate(wires):
        site.broadcast(room, f"{number}")
        assert site.get("/")[0] == 200
        for other in wires:
            assert other.receive_text() == f"{number}"
        wire.send_frame(PING, b"there")
        assert wire.receive() == (0x80 | PONG, b"there")
    for wire in wires:
        wire.socket.close()


@pytest.mark.parametrize("name", SECURE)
def test_a_handshake_is_answered_later(start_secure: Callable[..., Site], name: str) -> None:
    site = start_secure(name, app="answering.py")
    with encrypted(site) as wire:
        wire.upgrade("/ws/later", sec_websocket_protocol="one")
        assert [wire.receive_text() for _ in range(2)] == ["sent before", "opened with one"]
    with encrypted(site) as wire:
        assert wire.refused("/ws/refused-later").status == 409


def test_large_messages_arrive_whole(secure: Site, room: str) -> None:
    with open_wire(secure, room) as alice:
        for size in (1 << 14, 500_000, 1 << 20):
            noise = random.randbytes(size)
            alice.send_frame(BINARY, noise)
            assert alice.receive() == (0x80 | BINARY, noise)


def test_what_comes_in_crumbs_is_read(secure: Site, room: str) -> None:
    with open_wire(secure, room) as alice:
        for byte in frame(TEXT, b"crumbs"):
            alice.send(bytes([byte]))
        assert alice.receive_text() == "crumbs"


def test_a_slow_reader_is_closed_and_others_are_not(secure: Site, room: str) -> None:
    with open_wire(secure, room, receive_buffer=4096) as slow:
        for _ in range(64):
            secure.broadcast(room, random.randbytes(300_000))
        eventually(lambda: secure.stats()["slow_consumers"] == 1, "the slow reader is given up")
        with open_wire(secure, f"{room}b") as alice:  # not behind what the other one gets
            alice.send_frame(TEXT, b"still here")
            assert alice.receive_text() == "still here"
        assert slow.close_code() == 1013


def test_a_close_goes_both_ways(secure: Site, room: str) -> None:
    with open_wire(secure, room) as alice:
        alice.send_frame(CLOSE, (1000).to_bytes(2))
        assert alice.close_code() == 1000
    with open_wire(secure, room) as bob:
        bob.abort()
    eventually(lambda: secure.stats()["connections"] == 0, "nobody is left")


def test_the_end_of_the_server_is_told(secure: Site, room: str) -> None:
    with open_wire(secure, room) as alice:
        secure.signal(signal.SIGTERM)
        assert alice.close_code() == 1012


def test_closed_websockets_leave_no_descriptor(secure: Site, room: str) -> None:
    def descriptors() -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in secure.pids())

    with open_wire(secure, room):
        secure.get("/")
        before = descriptors()
        for turn in range(20):
            with open_wire(secure, room) as bob:
                bob.send_frame(TEXT, str(turn).encode())
                assert bob.receive_text() == str(turn)
        eventually(lambda: descriptors() <= before + 1, "the descriptors are back")


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="the limit of another process cannot be set"
)
def test_the_descriptors_of_tls_tunnels_count_towards_the_limit(secure: Site, room: str) -> None:
    for pid in secure.pids():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (128 + 17, 128 + 17))
    with ExitStack() as stack:
        wires = [stack.enter_context(open_wire(secure, room)) for _ in range(5)]
        with encrypted(secure) as late:
            assert late.refused(f"/ws/{room}?{REQUESTABLE[0]}").status == 503
        assert secure.get("/")[0] == 200
        wires.pop().abort()
        eventually(lambda: secure.stats()["connections"] == 4, "one has gone")
        with open_wire(secure, room) as wire:
            wire.send_frame(TEXT, b"hello")
            assert wire.receive_text() == "hello"


def open_wire(site: Site, room: str, receive_buffer: int = 0) -> Wire:
    """Return an encrypted raw client whose handshake has been accepted."""
    wire = encrypted(site, receive_buffer)
    wire.upgrade(f"/ws/{room}?{'&'.join(REQUESTABLE)}")
    return wire


def encrypted(site: Site, receive_buffer: int = 0) -> Wire:
    """Return an encrypted raw client.

    Not the client of `websockets.sync`: it reads and writes one TLS object from two threads, which
    before Python 3.12.8 now and then loses what is sent (CPython issue 124984).
    """
    assert site.trust is not None
    wire = Wire(site.port, receive_buffer)
    wire.socket = site.trust.wrap_socket(wire.socket, server_hostname="127.0.0.1")
    return wire
