"""The common behaviour of all servers, on the wire, with a real Redis."""

from __future__ import annotations

import itertools
import socket
import threading
import zlib
from contextlib import ExitStack

import pytest

from .support import SECONDS, Site, closed, eventually, on, until
from .wire import CONT, PING, PONG, TEXT, frame

pytestmark = pytest.mark.servers

MEBIBYTE = 2**20
BROADCAST = "subscribe-broadcast"
TALK = ("subscribe-broadcast", "publish-broadcast")


def test_a_message_published_elsewhere_arrives(server: Site, room: str) -> None:
    with server.connect(room, BROADCAST) as ws:
        assert server.broadcast(room, "grüße, 世界 🎉") == 1
        assert ws.recv(timeout=SECONDS) == "grüße, 世界 🎉"
        assert server.broadcast(room, {"a": [1, None]}) == 1
        assert ws.recv(timeout=SECONDS) == '{"a":[1,null]}'
        assert server.broadcast(room, "") == 1
        assert ws.recv(timeout=SECONDS) == ""


def test_a_view_publishes_to_websockets_of_its_own_site(server: Site, room: str) -> None:
    with server.connect(room, BROADCAST) as ws:
        response = server.request("POST", f"/publish/{room}", "from a view")
        assert (response.status, response.text) == (200, "1")  # type: ignore[attr-defined]
        assert ws.recv(timeout=SECONDS) == "from a view"


def test_with_echo_ones_own_message_comes_back(server: Site, room: str) -> None:
    with server.connect(room, *TALK, "echo") as alice, server.connect(room, BROADCAST) as bob:
        alice.send("mine")
        assert alice.recv(timeout=SECONDS) == "mine"
        assert bob.recv(timeout=SECONDS) == "mine"


def test_without_echo_an_equal_message_of_somebody_else_still_arrives(
    server: Site, room: str
) -> None:
    with (
        server.connect(room, *TALK, user="alice") as alice,
        server.connect(room, *TALK, user="bob") as bob,
        server.connect(room, BROADCAST, user="carol") as carol,
    ):
        for _ in range(10):
            alice.send("same")
            bob.send("same")
            assert [carol.recv(timeout=SECONDS) for _ in range(2)] == ["same", "same"]
        server.broadcast(room, "end")
        assert until(alice, "end") == ["same"] * 10
        assert until(bob, "end") == ["same"] * 10
        assert until(carol, "end") == []


def test_without_echo_only_ones_own_messages_are_left_out(server: Site, room: str) -> None:
    with (
        server.connect(room, *TALK) as alice,
        server.connect(room, *TALK, max_queue=None) as bob,
        server.connect(room, BROADCAST, max_queue=None) as carol,
    ):
        others = server.publisher(room, broadcast=True)
        for number in range(200):
            alice.send(f"alice {number}")
            others.publish(f"site {number}")
            bob.send(f"bob {number}")
        heard = [carol.recv(timeout=SECONDS) for _ in range(600)]
        server.broadcast(room, "end")
        for ws, name in ((alice, "alice"), (bob, "bob")):
            assert until(ws, "end") == [text for text in heard if not text.startswith(name)]
        for name in ("alice", "bob", "site"):
            own = [text for text in heard if text.startswith(name)]
            assert own == [f"{name} {number}" for number in range(200)]


def test_binary_messages_stay_binary_both_ways(server: Site, room: str) -> None:
    every_byte = bytes(range(256))
    with server.connect(room, *TALK, "echo") as ws:
        for payload in (every_byte, b"\xffB", b"", b"plain"):
            server.broadcast(room, payload)
            assert ws.recv(timeout=SECONDS) == payload
            ws.send(payload)
            assert ws.recv(timeout=SECONDS) == payload


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_mebibyte_passes_both_ways(server: Site, room: str, compression: str | None) -> None:
    text = "".join(map(chr, itertools.islice(itertools.cycle(range(32, 127)), MEBIBYTE)))
    with server.connect(room, *TALK, "echo", compression=compression) as ws:
        server.broadcast(room, text)
        assert ws.recv(timeout=SECONDS) == text
        ws.send(text)
        assert ws.recv(timeout=SECONDS) == text
        ws.send(b"\x00" * MEBIBYTE)
        assert ws.recv(timeout=SECONDS) == b"\x00" * MEBIBYTE


def test_a_message_one_byte_over_a_mebibyte_closes_with_1009(server: Site, room: str) -> None:
    with server.connect(room, *TALK, "echo", compression=None) as ws:
        ws.send("x" * (MEBIBYTE + 1))
        assert closed(ws) == 1009


def test_user_group_and_session_messages_reach_only_their_audience(server: Site, room: str) -> None:
    all_four = ("subscribe-broadcast", "subscribe-user", "subscribe-group", "subscribe-session")
    with (
        server.connect(room, *all_four, user="alice", groups=["editors"], session="one") as alice,
        server.connect(
            room, *all_four, user="bob", groups=["writers", "editors"], session="two"
        ) as bob,
        server.connect(room, BROADCAST, user="alice", groups=["editors"], session="one") as shy,
        server.connect(room, *all_four) as anonymous,
    ):
        server.publisher(room, users=["alice"]).publish("to alice")
        server.publisher(room, users=["bob", "alice"]).publish("to both")
        server.publisher(room, groups=["editors"]).publish("to editors")
        server.publisher(room, groups=["writers"]).publish("to writers")
        server.publisher(room, sessions=["two"]).publish("to session two")
        server.publisher(f"{room}x", users=["alice"], broadcast=True).publish("another room")
        server.broadcast(room, "end")
        assert until(alice, "end") == ["to alice", "to both", "to editors"]
        assert until(bob, "end") == ["to both", "to editors", "to writers", "to session two"]
        assert until(shy, "end") == []
        assert until(anonymous, "end") == []


def test_a_client_publishes_to_its_own_channels(server: Site, room: str) -> None:
    with (
        server.connect(room, "publish-user", "publish-group", user="a", groups=["g"]) as sender,
        server.connect(room, "subscribe-user", BROADCAST, user="a") as same_user,
        server.connect(room, "subscribe-group", BROADCAST, user="b", groups=["g"]) as member,
        server.connect(room, "subscribe-user", BROADCAST, user="b") as stranger,
    ):
        sender.send("hello")
        assert same_user.recv(timeout=SECONDS) == "hello"
        assert member.recv(timeout=SECONDS) == "hello"
        server.broadcast(room, "end")
        assert until(stranger, "end") == []


@pytest.mark.parametrize("audience", ["user", "group", "session"])
def test_an_anonymous_client_gets_no_user_group_or_session_channel(
    server: Site, room: str, audience: str
) -> None:
    with server.wire() as wire:
        assert wire.refused(f"/ws/{room}?subscribe-{audience}").status == 403


def test_the_retained_message_comes_first(server: Site, room: str) -> None:
    server.broadcast(room, "forgotten")
    server.broadcast(room, "retained", expire=60)
    server.publisher(room, users=["alice"]).publish(b"\x00retained", expire=60)
    with server.connect(room, BROADCAST, "subscribe-user", user="alice") as ws:
        server.broadcast(room, "live")
        assert set(until(ws, "live")) == {"retained", b"\x00retained"}


def test_who_comes_while_messages_flow_sees_each_once_and_in_order(server: Site, room: str) -> None:
    published = [-1]
    enough = threading.Event()
    to = server.publisher(room, broadcast=True)

    def flow() -> None:
        for number in itertools.count():
            to.publish(str(number), expire=60)
            published[0] = number
            if enough.is_set():
                break
        to.publish("end")

    publishing = threading.Thread(target=flow)
    with ExitStack() as stack:
        publishing.start()
        stack.callback(publishing.join)
        stack.callback(enough.set)
        eventually(lambda: published[0] >= 0, "the first message is out")
        listening = []
        for _ in range(15):
            ws = stack.enter_context(server.connect(room, BROADCAST, max_queue=None))
            listening.append((published[0], ws))
        enough.set()
        publishing.join()
        for after, ws in listening:
            numbers = list(map(int, until(ws, "end")))
            # What was retained when it came, or the next, or, of a server that lags behind, some
            # from before; nothing that it had to see is missing.
            assert numbers[0] <= after + 1
            assert numbers == list(range(numbers[0], published[0] + 1))


def test_the_first_supported_subprotocol_is_chosen(server: Site, room: str) -> None:
    with server.connect(room, BROADCAST, subprotocols=["odd", "chat.v1", "chat.v2"]) as ws:
        assert ws.subprotocol == "chat.v1"


@pytest.mark.parametrize("offer", ["odd", "chat.v1x", "CHAT.V1", "chat.v1;x", ","])
def test_an_unsupported_subprotocol_is_not_chosen(server: Site, room: str, offer: str) -> None:
    with server.wire() as wire:
        answer = wire.upgrade(f"/ws/{room}?{BROADCAST}", sec_websocket_protocol=offer)
        assert "sec-websocket-protocol" not in answer.headers


def test_the_answer_to_a_handshake_is_a_plain_101(server: Site, room: str) -> None:
    with server.wire() as wire:
        answer = wire.upgrade(
            f"/ws/{room}?{BROADCAST}", sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA=="
        )
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        assert answer.headers["sec-websocket-accept"] == "ICX+Yqv66kxgM0FcWaLWlFLwTAI="
        assert not {"content-length", "transfer-encoding", "content-type"} & set(answer.headers)


def test_a_broadcast_is_compressed_for_those_who_can(server: Site, room: str) -> None:
    text = "all the same " * 10_000
    with (
        server.connect(room, *TALK, "echo") as ws,
        server.connect(room, BROADCAST, compression=None) as plain,
        server.wire() as wire,
    ):
        answer = wire.upgrade(
            f"/ws/{room}?{BROADCAST}", sec_websocket_extensions="permessage-deflate"
        )
        agreed = answer.headers["sec-websocket-extensions"]
        assert {"permessage-deflate", "server_no_context_takeover"} <= set(agreed.split("; "))
        assert ws.response is not None
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        ws.send(text)
        assert ws.recv(timeout=SECONDS) == text
        assert plain.recv(timeout=SECONDS) == text
        first, payload = wire.receive()
        assert first == 0x80 | 0x40 | TEXT
        assert len(payload) < len(text) / 20
        inflated = zlib.decompress(payload + b"\x00\x00\xff\xff\x03\x00", wbits=-15)
        assert inflated.decode() == text


def test_a_thousand_messages_keep_their_order(server: Site, room: str) -> None:
    with server.connect(room, BROADCAST) as ws:
        to = server.publisher(room, broadcast=True)
        for number in range(1000):
            to.publish(str(number))
        assert [ws.recv(timeout=SECONDS) for _ in range(1000)] == list(map(str, range(1000)))


def test_a_thousand_messages_of_a_client_keep_their_order(server: Site, room: str) -> None:
    with (
        server.connect(room, *TALK, "echo", max_queue=None) as sender,
        server.connect(room, BROADCAST, max_queue=None) as other,
    ):
        for number in range(1000):
            sender.send(str(number))
        for ws in (sender, other):
            assert [ws.recv(timeout=SECONDS) for _ in range(1000)] == list(map(str, range(1000)))


def test_fragments_of_two_clients_are_not_mixed(server: Site, room: str) -> None:
    target = f"/ws/{room}?publish-broadcast"
    with (
        server.connect(room, BROADCAST) as ws,
        server.wire(target) as alice,
        server.wire(target) as bob,
    ):
        for wire, part in ((alice, b"Al"), (bob, b"B")):
            wire.send_frame(TEXT, part, fin=False)
            wire.send_frame(PING, b"here?")
            assert wire.receive() == (0x80 | PONG, b"here?")
        bob.send_frame(CONT, "ö".encode()[:1], fin=False)
        alice.send_frame(CONT, b"ic", fin=False)
        bob.send_frame(CONT, "ö".encode()[1:], fin=False)
        alice.send_frame(CONT, b"e")
        assert ws.recv(timeout=SECONDS) == "Alice"
        bob.send_frame(CONT, b"b")
        assert ws.recv(timeout=SECONDS) == "Böb"


def test_a_message_may_arrive_byte_by_byte(server: Site, room: str) -> None:
    with server.wire(f"/ws/{room}?{'&'.join(TALK)}&echo") as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(TEXT, b"x" * 130) + frame(TEXT, b"two"):
            wire.send(bytes([byte]))
        assert wire.receive_text() == "x" * 130
        assert wire.receive_text() == "two"


def test_a_ping_is_answered_with_its_payload(server: Site, room: str) -> None:
    with server.wire(f"/ws/{room}?{BROADCAST}") as wire:
        for payload in (b"", b"\x00\xff", b"p" * 125):
            wire.send_frame(PING, payload)
            assert wire.receive() == (0x80 | PONG, payload)


def test_a_heartbeat_from_a_client_is_discarded(server: Site, room: str) -> None:
    with (
        server.connect(room, *TALK, "echo") as sender,
        server.connect(room, BROADCAST) as other,
    ):
        sender.send("--heartbeat--")
        sender.send(["--heart", "beat--"])
        sender.send(b"--heartbeat--")
        sender.send(b"\xffB--heartbeat--")  # what binary looks like in Redis
        assert sender.recv(timeout=SECONDS) == b"\xffB--heartbeat--"
        assert other.recv(timeout=SECONDS) == b"\xffB--heartbeat--"
        sender.send("word")
        assert sender.recv(timeout=SECONDS) == "word"
        assert other.recv(timeout=SECONDS) == "word"


def test_plain_http_goes_on_beside_websockets(server: Site, room: str) -> None:
    with ExitStack() as stack:
        open_ones = [stack.enter_context(server.connect(room, BROADCAST)) for _ in range(20)]
        for number in range(20):
            assert server.get(f"/page/{number}") == (200, f"page /page/{number}")
        server.broadcast(room, "hello")
        assert [ws.recv(timeout=SECONDS) for ws in open_ones] == ["hello"] * 20


@on("pywsgi", "gunicorn-gevent", "gunicorn-gthread", "werkzeug", "wsgiref", "wsgiref-plain")
def test_what_follows_right_behind_the_handshake_is_kept(server: Site, room: str) -> None:
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?{'&'.join(TALK)}&echo", behind=frame(TEXT, b"early"))
        assert wire.receive_text() == "early"
        wire.send_frame(TEXT, b"later")
        assert wire.receive_text() == "later"


@on("uwsgi-gevent", "uwsgi-router", "uwsgi-threads")
def test_uwsgi_loses_what_follows_right_behind_the_handshake(server: Site, room: str) -> None:
    """It has read these bytes and shows them to nobody; RFC 6455 lets clients wait for the 101."""
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?{'&'.join(TALK)}&echo", behind=frame(TEXT, b"early"))
        wire.send_frame(TEXT, b"later")
        assert wire.receive_text() == "later"
