"""The end of websockets on all servers: the close handshake, slow readers, aborts, log lines."""

from __future__ import annotations

import itertools
import os
import resource
import sys
from pathlib import Path

import pytest
from redis import Redis

from .support import SECONDS, Site, eventually
from .wire import CLOSE, TEXT, Wire, frame

pytestmark = pytest.mark.servers

BROADCAST = "subscribe-broadcast"
TALK = ("subscribe-broadcast", "publish-broadcast")


def test_a_client_that_never_reads_is_closed_and_delays_no_other(server: Site, room: str) -> None:
    dropped = server.stats()["slow_consumers"]
    message = "x" * 2**18
    with (
        server.wire(f"/ws/{room}?{BROADCAST}", receive_buffer=4096) as stuck,
        server.connect(room, BROADCAST, compression=None) as quick,
    ):
        for number in itertools.count():
            assert number < 400, "100 MiB wait somewhere"
            server.broadcast(room, message)
            assert quick.recv(timeout=SECONDS) == message
            if server.stats()["slow_consumers"] > dropped:
                break
        server.broadcast(room, "go on")
        assert quick.recv(timeout=SECONDS) == "go on"
        assert server.stats()["slow_consumers"] == dropped + 1
        assert stuck.close_code() in (1013, 1006)
        eventually(lambda: server.lines(f"close .*{room} code=1013"), "the end is in the log")
        assert not server.lines(f"close .*{room} code=(?!1013)")
    eventually(lambda: not server.stats()["send_buffer_bytes"], "nothing waits any more")


def test_a_reader_that_is_only_slow_gets_everything(server: Site, room: str) -> None:
    message = "y" * 2**16
    with server.wire(f"/ws/{room}?{BROADCAST}", receive_buffer=4096) as slow:
        for _ in range(12):  # less than the send buffer holds
            server.broadcast(room, message)
        server.broadcast(room, "end")
        assert [slow.receive_text() for _ in range(13)] == [*[message] * 12, "end"]


@pytest.mark.parametrize("code", [1000, 1001, 4321])
def test_a_close_frame_is_answered_and_the_socket_ends(server: Site, room: str, code: int) -> None:
    with server.wire(f"/ws/{room}?{BROADCAST}") as wire:
        wire.send_frame(CLOSE, code.to_bytes(2, "big") + b"bye")
        assert wire.close_code() == code
    eventually(lambda: server.lines(f"close .*{room} code={code}"), "the close is in the log")


def test_the_log_has_one_line_for_the_opening_and_one_for_the_closing(
    server: Site, room: str
) -> None:
    with server.connect(room, *TALK, "echo", user="eve open:*") as ws:
        for text in ("secret words", "--heartbeat--", "more"):
            ws.send(text)
        assert [ws.recv(timeout=SECONDS) for _ in range(2)] == ["secret words", "more"]
    eventually(lambda: server.lines(f"close .*{room}"), "the close is in the log")
    who = rf"user=eve%20open%3A%2A channels=ws:broadcast:{room}"
    assert len(server.lines(f"wsredis.*open {who}$")) == 1
    assert len(server.lines(rf"close {who} code=1000 seconds=\d+\.\d received=2 sent=2$")) == 1
    assert len(server.lines(f"wsredis.*{room}")) == 2
    assert "secret words" not in server.log()


def test_disconnected_clients_leave_nothing_behind(server: Site, room: str) -> None:
    redis: Redis = Redis.from_url(server.redis)
    target = f"/ws/{room}?{'&'.join(TALK)}"

    def vanish(number: int) -> None:
        wire = Wire(server.port)
        request = wire.request(target)
        if number % 4 == 0:
            wire.send(request[: len(request) // 2])
        elif number % 4 == 1:
            wire.send(request)
        else:
            wire.upgrade(target)
            half = frame(TEXT, b"half a message") if number % 4 == 2 else b""
            wire.send(half[:9])
        wire.abort()

    def channels() -> list[bytes]:
        return redis.pubsub_channels(f"*{room}*")

    with redis, server.connect(room, BROADCAST) as steady:
        for number in range(8):  # whatever a server keeps for later, it has afterwards
            vanish(number)
        eventually(lambda: server.stats()["connections"] == 1, "the first have been forgotten")
        before = sum(map(open_files, server.pids()))
        for number in range(80):
            vanish(number)
        eventually(lambda: server.stats()["connections"] == 1, "all have been forgotten")
        eventually(
            lambda: sum(map(open_files, server.pids())) <= before + 2, "their sockets are closed"
        )
        assert server.broadcast(room, "still here") == 1
        assert steady.recv(timeout=SECONDS) == "still here"
        assert channels() == [f"ws:broadcast:{room}".encode()]
    eventually(lambda: not channels(), "the last channel is given up")
    eventually(lambda: not server.stats()["connections"], "nobody is counted")
    eventually(lambda: not server.stats()["channels"], "no channel is counted")
    assert server.get("/")[0] == 200


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux reports the size of the descriptor table"
)
def test_no_crowd_has_to_wait_for_room_for_its_descriptors(server: Site, room: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with server.connect(room, BROADCAST):
        holders = [pid for pid, stats in server.each_worker().items() if stats["connections"]]
        assert len(holders) == 1
        status = Path(f"/proc/{holders[0]}/status").read_text()
    assert int(status.partition("FDSize:")[2].split()[0]) >= min(limit - 128, 1 << 14)


def open_files(pid: int) -> int:
    """Return how many descriptors a process holds; 0 where the system does not tell."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
