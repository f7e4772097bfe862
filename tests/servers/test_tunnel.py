"""The tunnel behind a server's own TLS, with a client's TLS that the test controls."""

from __future__ import annotations

import _ssl
import ctypes
import random
import socket
import ssl
from collections.abc import Callable, Iterator

import gevent
import pytest
import trustme

from wsredis.runtime.loop import Loop
from wsredis.servers.tls import Tunnel

Eventually = Callable[[Callable[[], object]], None]

OPENSSL = ctypes.CDLL(getattr(_ssl, "__file__", None))


class Ends:
    """The tunnel, its client and the end that the hub would have."""

    def __init__(self, loop: Loop, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        serving, visiting = contexts
        near.setblocking(False)
        self.server = serving.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
        far.setblocking(False)
        self.client = visiting.wrap_socket(
            far, server_hostname="127.0.0.1", do_handshake_on_connect=False
        )
        waiting = [self.client, self.server]
        while waiting:
            side = waiting.pop(0)
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(side)
        self.loop = loop
        self.tunnel = Tunnel(self.server)
        self.hub = socket.socket(fileno=self.tunnel.fd)
        self.hub.setblocking(False)

    def start(self) -> None:
        self.loop.run(self.tunnel.start, self.loop.gevent)

    def fill(self, send: Callable[[bytes], int]) -> bytes:
        """Send, to somebody who reads nothing, until nothing more goes; return what went."""
        sent = bytearray()
        for _ in range(100):
            data = random.randbytes(1 << 14)
            try:
                sent += data[: send(data)]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.turn()
        return bytes(sent)

    def turn(self, times: int = 5) -> None:
        """Let the loop go round."""

        def go() -> None:
            for _ in range(times):
                gevent.sleep(0)

        self.loop.run(go)

    def close(self) -> None:
        self.server.close()
        self.client.close()
        self.hub.close()
        self.turn()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    visiting = ssl.create_default_context()
    authority.configure_trust(visiting)
    return serving, visiting


@pytest.fixture
def ends(loop: Loop, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Ends]:
    made = Ends(loop, contexts)
    yield made
    made.close()


def ask_for_new_keys(sock: ssl.SSLSocket) -> None:
    """Let a client change its key and ask the other side to do so (RFC 8446 section 4.6.3)."""
    # The standard library has no such function, but its object holds OpenSSL's behind two others.
    own = ctypes.c_void_p.from_address(id(sock._sslobj) + object.__basicsize__ + 8)  # type: ignore[attr-defined]
    assert OPENSSL.SSL_key_update(own, 1) == 1


def take(receive: Callable[[int], bytes], size: int, eventually: Eventually) -> bytes:
    """Receive so many bytes."""
    got = bytearray()

    def more() -> bool:
        try:
            got.extend(receive(1 << 14))
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        return len(got) >= size

    eventually(more)
    return bytes(got)


@pytest.mark.skipif(
    not hasattr(OPENSSL, "SSL_key_update"), reason="Python's OpenSSL library cannot be called"
)
def test_a_client_that_wants_new_keys_and_reads_nothing_is_heard_and_gets_all_in_the_end(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    sent = ends.fill(ends.hub.send)
    ask_for_new_keys(ends.client)
    ends.client.send(b"hello")
    assert take(ends.hub.recv, 5, eventually) == b"hello"
    assert take(ends.client.recv, len(sent), eventually) == sent
    ends.hub.send(b"and back")
    assert take(ends.client.recv, 8, eventually) == b"and back"


def test_what_the_hub_takes_late_arrives_whole(ends: Ends, eventually: Eventually) -> None:
    ends.start()
    piece = random.randbytes(1 << 14)  # always the same, as OpenSSL may have a part of it already
    sent = ends.fill(lambda _: ends.client.send(piece))
    assert ends.tunnel._in
    count = len(sent) >> 14
    assert take(ends.hub.recv, count << 14, eventually)[: count << 14] == piece * count


def over(sock: socket.socket) -> bool:
    """Tell whether a socket is at its end."""
    try:
        return not sock.recv(1 << 16)
    except BlockingIOError:
        return False


def test_a_client_that_says_so_ends_both_sides_and_is_told_so(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    ends.client.setblocking(True)
    with ends.client.unwrap() as plain:  # it has got the alert that nothing was cut off
        assert over(plain)
    eventually(lambda: over(ends.hub))


def test_a_client_that_hangs_up_without_a_word_ends_both_sides(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    ends.client.shutdown(socket.SHUT_RDWR)  # of TCP alone; it does not say that this is all
    eventually(lambda: over(ends.hub))


def test_the_last_words_of_the_hub_arrive_and_then_the_end(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    ends.hub.send(b"goodbye")
    ends.hub.close()
    assert take(ends.client.recv, 7, eventually) == b"goodbye"
    ends.client.setblocking(True)
    assert ends.client.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ends.server.send(b"what the server still has to say")
    # Its number is free only when the server has let go of it, too.
    assert ends.loop.run(ends.server.fileno) >= 0
    ends.loop.run(ends.server.close)
    assert ends.server.fileno() < 0


def test_a_client_that_has_gone_ends_what_is_written_to_it(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    ends.fill(ends.client.send)  # so that nobody reads from the client any more
    ends.client.close()
    ends.hub.send(b"are you there?")
    eventually(lambda: over(ends.hub))


def test_a_client_that_takes_nothing_more_is_ended_once_the_hub_has_hung_up(
    ends: Ends, eventually: Eventually
) -> None:
    def look() -> bool:
        ends.loop.run(ends.tunnel._look)
        return bool(ends.tunnel._watchers)

    ends.start()
    sent = ends.fill(ends.hub.send)
    assert ends.tunnel._patience.active
    assert look()
    assert look()  # the hub decides
    ends.hub.close()
    got = take(ends.client.recv, len(sent) // 4, eventually)
    eventually(lambda: ends.tunnel._out is not ends.tunnel._stuck)
    assert look()  # it takes something
    assert not look()
    ends.client.setblocking(True)
    got += b"".join(iter(lambda: ends.client.recv(1 << 16), b""))
    assert sent.startswith(got)
    assert len(got) < len(sent)


def test_a_client_that_has_taken_all_is_waited_for_no_more(
    ends: Ends, eventually: Eventually
) -> None:
    ends.start()
    sent = ends.fill(ends.hub.send)
    take(ends.client.recv, len(sent), eventually)
    eventually(lambda: not ends.tunnel._patience.active)
