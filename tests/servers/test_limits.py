"""Limits on the wire: of connections, of rates, and of times."""

from __future__ import annotations

import itertools
import resource
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from .support import Setup, Site, each, eventually
from .wire import CLOSE, CONT, PING, PONG, TEXT, Wire, frame

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
TALK = "subscribe-broadcast&publish-broadcast&echo"

some_servers = each("uwsgi-gevent", "uwsgi-threads", "gunicorn-gthread", "pywsgi")


def status(site: Site, target: str, **headers: str) -> int:
    """Try a handshake and return the status of its answer."""
    with site.wire() as wire:
        wire.send(wire.request(target, **headers))
        answer = wire.answer()
        if answer.status != 101:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["x-refused-by"] == "wsredis"
        return answer.status


# How many


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can set the limit of another process"
)
@pytest.mark.parametrize(("hard", "most"), [(1500, 128), (256, 16)], ids=["raised", "not-raised"])
def test_idle_connections_to_a_threaded_worker_cost_no_websocket_its_place(
    start: Start, room: str, hard: int, most: int
) -> None:
    """The worker may open 256 files at first, and accepts 1000 connections by default."""
    site = start("gunicorn-gthread")
    target = f"/ws/{room}?{BROADCAST}"
    (worker,) = workers = site.workers()
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (256, hard))
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire(target)) for _ in range(most)]
        assert status(site, target) == 503
        with ExitStack() as idle:
            for _ in range(160):
                idle.enter_context(site.wire())
            held = Path(f"/proc/{worker}/fd")
            eventually(lambda: len(list(held.iterdir())) > most + 160, "they are accepted")
            site.broadcast(room, "still here")
            for wire in wires:
                assert wire.receive_text() == "still here"
        assert site.get("/")[0] == 200
        assert site.workers() == workers
    warned = bool(
        site.lines(r"may open 256 files \(ulimit -n\), of which the server may take 1000")
    )
    assert warned is (hard == 256)


@some_servers
def test_more_websockets_than_files_are_refused_and_a_warning_says_so(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, max_connections=1000)
    target = f"/ws/{room}?{BROADCAST}"
    for pid in site.pids():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, 200))
    with ExitStack() as stack:
        opened = 0
        while status_of(stack, site, target) == 101:
            opened += 1
        assert opened == (16 if setup.name == "gunicorn-gthread" else 72)
        assert site.get("/")[0] == 200
    said = site.lines("max_connections=1000 needs more files .* of 200 ")
    assert len(said) == 1
    assert f"websockets get {opened}" in said[0]


def status_of(stack: ExitStack, site: Site, target: str) -> int:
    """Try a handshake, and keep the websocket if there is one."""
    wire = stack.enter_context(site.wire())
    wire.send(wire.request(target))
    return wire.answer().status


def leave(site: Site, wires: list[Wire], target: str, **headers: str) -> None:
    """Let them go in every way there is, and see that each makes room for one."""
    wires.pop().abort()
    eventually(lambda: status(site, target, **headers) == 101, "a reset has made room")
    wires.pop().socket.close()
    eventually(lambda: status(site, target, **headers) == 101, "an end of file has made room")
    wires[-1].send_frame(CLOSE, b"\x03\xe8")
    assert wires.pop().close_code() == 1000
    eventually(lambda: status(site, target, **headers) == 101, "a close has made room")
    eventually(lambda: site.stats()["connections"] == len(wires), "the others have gone")
    for _ in range(10):
        with site.wire() as wire:
            wire.send(wire.request(target, **headers))
            wire.abort()
    eventually(lambda: site.stats()["connections"] == len(wires), "the hasty are forgotten")


@some_servers
def test_a_user_over_the_limit_gets_429_and_others_are_accepted(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, max_connections_per_user=3)
    target = f"/ws/{room}?{BROADCAST}"
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire(target, x_user="alice")) for _ in range(3)]
        for _ in range(3):
            assert status(site, target, x_user="alice") == 429
        assert status(site, target, x_user="bob") == 101
        assert status(site, target) == 101
        eventually(lambda: site.stats()["connections"] == 3, "the others have gone")
        leave(site, wires, target, x_user="alice")
        for _ in range(3):
            stack.enter_context(site.wire(target, x_user="alice"))
        assert status(site, target, x_user="alice") == 429


@some_servers
def test_an_address_over_the_limit_gets_429_and_others_are_accepted(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, max_connections_per_address=3, trusted_proxies="127.0.0.1")
    target = f"/ws/{room}?{BROADCAST}"
    here, there = {"x_forwarded_for": "192.0.2.1"}, {"x_forwarded_for": "192.0.2.2"}
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire(target, **here)) for _ in range(3)]
        assert status(site, target, **here) == 429
        assert status(site, target, x_forwarded_for="192.0.2.9, 192.0.2.1") == 429
        assert status(site, target, x_user="alice", **here) == 429
        assert status(site, target, **there) == 101
        eventually(lambda: site.stats()["connections"] == 3, "the other has gone")
        leave(site, wires, target, **here)


@some_servers
def test_without_a_trusted_proxy_a_client_cannot_choose_its_address(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, max_connections_per_address=1)
    target = f"/ws/{room}?{BROADCAST}"
    with site.wire(target, x_forwarded_for="192.0.2.1"):
        assert status(site, target, x_forwarded_for="192.0.2.2") == 429


@some_servers
def test_a_full_process_answers_503_until_a_client_leaves(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, max_connections=3)
    target = f"/ws/{room}?{BROADCAST}"
    with ExitStack() as stack:
        wires = [stack.enter_context(site.wire(target)) for _ in range(3)]
        assert status(site, target, x_user="alice") == 503
        assert site.get("/page")[0] == 200
        leave(site, wires, target)


@some_servers
def test_the_resolver_runs_after_the_limits_of_process_and_address_and_before_that_of_the_user(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(
        setup,
        app="guarded.py",
        trusted_proxies="127.0.0.1",
        max_connections=3,
        max_connections_per_address=1,
        max_connections_per_user=1,
    )
    target = f"/ws/{room}?{BROADCAST}"
    first, second, third, fourth = (f"192.0.2.{number}" for number in range(1, 5))

    def asked(name: str, user: str, address: str) -> tuple[int, bool]:
        """Return the status, and whether the resolver has been asked."""
        headers = {"x_user": user, "x_forwarded_for": address, "x_hold": name}
        code = status(site, target, x_hold_for="0", **headers)
        return code, (site.folder / name).exists()

    with (
        site.wire(target, x_user="alice", x_forwarded_for=first),
        site.wire(target, x_user="bob", x_forwarded_for=second),
    ):
        assert asked("address", "carol", first) == (429, False)
        assert asked("user", "alice", third) == (429, True)
        with site.wire(target, x_user="carol", x_forwarded_for=third):  # whose slots are free
            assert asked("process", "dave", fourth) == (503, False)


# How fast

# Each is many times too much, wherever a second of the clock ends.
FLOODS = {
    "max_messages_per_second": (
        50,
        {
            "messages": frame(TEXT, b"hello") * 500,
            "pings": frame(PING) * 500,
            "pongs": frame(PONG) * 500,
        },
    ),
    "max_bytes_per_second": (
        20_000,
        {
            "bytes": frame(TEXT, b"x" * 180_000),
            "fragments": frame(TEXT, fin=False) + frame(CONT, fin=False) * 800,
        },
    ),
}


@each("uwsgi-gevent", "uwsgi-threads", "uwsgi-workers", "gunicorn-gthread", "pywsgi")
@pytest.mark.parametrize("option", FLOODS)
def test_a_client_over_a_rate_limit_is_closed_with_1008_and_others_are_not(
    start: Start, setup: Setup, room: str, option: str
) -> None:
    most, floods = FLOODS[option]
    site = start(setup, **{option: most})
    with site.wire(f"/ws/{room}?{TALK}") as other:
        for number, (name, flood) in enumerate(floods.items(), 1):
            with site.wire(f"/ws/{room}flood?publish-broadcast") as wire:
                wire.send(flood)
                assert wire.close_code() == 1008, name
            other.send_frame(TEXT, name.encode())
            assert other.receive_text() == name
            assert site.stats()["over_limit"] == number
    eventually(lambda: site.stats()["connections"] == 0, "all have gone")


@some_servers
def test_a_client_within_the_rate_limits_is_not_closed(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup)
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        wire.send(b"".join(frame(TEXT, b"%d" % number) for number in range(900)))
        assert [wire.receive_text() for _ in range(900)] == [str(n) for n in range(900)]
        wire.send_frame(TEXT, b"x" * 2**20)
        assert len(wire.receive_text()) == 2**20
    assert site.stats()["over_limit"] == 0


# How long


@some_servers
def test_a_slow_resolver_gets_503_and_delays_no_other_client(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, app="guarded.py", handshake_timeout=3)
    target = f"/ws/{room}?{BROADCAST}"
    # Nothing can end a thread's work, so there it must end by itself.
    seconds = "4" if "threads" in setup.name or "gthread" in setup.name else "60"
    with site.wire() as slow:
        slow.send(slow.request(target, x_hold="slow", x_hold_for=seconds))
        eventually((site.folder / "slow").exists, "the resolver is asked")
        with site.wire(target) as quick:
            site.broadcast(room, "meanwhile")
            assert quick.receive_text() == "meanwhile"
        answer = slow.answer()
    assert answer.status == 503
    assert answer.body == "Identifying the client took too long; try again.\n"
    assert int(answer.headers["retry-after"]) > 0
    eventually(lambda: site.stats()["connections"] == 0, "nobody is left")


# All of it, where the rest of the machinery is another


@each("uwsgi-router", "gunicorn-gevent", "werkzeug", "wsgiref")
def test_every_limit_applies_on_the_other_servers(start: Start, setup: Setup, room: str) -> None:
    site = start(
        setup,
        app="guarded.py",
        trusted_proxies="127.0.0.1",
        max_connections=5,
        max_connections_per_user=2,
        max_connections_per_address=2,
        max_messages_per_second=50,
        max_bytes_per_second=20_000,
        handshake_timeout=3,
        close_timeout=0.5,
    )
    target = f"/ws/{room}?{BROADCAST}"
    here, *others = ({"x_forwarded_for": f"192.0.2.{number}"} for number in range(1, 6))
    with ExitStack() as stack:
        slow = stack.enter_context(site.wire())
        slow.send(slow.request(target, x_hold="slow", x_hold_for="4"))
        eventually((site.folder / "slow").exists, "the resolver is asked")
        for _ in range(2):
            stack.enter_context(site.wire(target, x_user="alice", **here))
        assert status(site, target, x_user="alice", **others[0]) == 429
        assert status(site, target, x_user="bob", **here) == 429
        with site.wire(target, x_user="bob", **others[0]) as other:
            for option, (_, floods) in FLOODS.items():
                for name, flood in floods.items():
                    with site.wire(f"/ws/{room}flood?publish-broadcast", **others[1]) as wire:
                        wire.send(flood)
                        assert wire.close_code() == 1008, (option, name)
                    eventually(lambda: site.stats()["connections"] == 3, "the flood has gone")
            site.broadcast(room, "hello")
            assert other.receive_text() == "hello"
            assert site.stats()["over_limit"] == 5
            assert slow.answer().status == 503  # and so it has no slot any more
            for _ in range(2):
                stack.enter_context(site.wire(target, **others[2]))
            assert status(site, target, x_user="carol", **others[3]) == 503


# How much may wait


@each("uwsgi-gevent", "uwsgi-threads", "gunicorn-gthread", "pywsgi")
@pytest.mark.parametrize("overflow", ["close", "drop-oldest", "keep-latest"])
def test_each_overflow_policy_applies_and_delays_no_other_client(
    start: Start, setup: Setup, room: str, overflow: str
) -> None:
    site = start(setup, overflow=overflow, max_send_buffer=2**20)
    message = "news {} " + "x" * 2**18
    target = f"/ws/{room}?{BROADCAST}&subscribe-user"
    with (
        site.wire(target, receive_buffer=4096, x_user="alice") as stuck,
        site.wire(target, x_user="bob") as quick,
    ):
        numbers = itertools.count(1)

        def broadcast() -> int:
            number = next(numbers)
            assert number < 400, "100 MiB wait somewhere"
            site.broadcast(room, message.format(number))
            assert quick.receive_text().split()[1] == str(number)
            return number

        while site.stats()["send_buffer_bytes"] < 2**19:
            broadcast()
        for text in ("mine 1", "mine 2"):
            site.publisher(room, users=["alice"]).publish(text)
        while not (site.stats()["messages_dropped"] or site.stats()["slow_consumers"]):
            broadcast()
        last = [broadcast() for _ in range(8)][-1]
        stats = site.stats()
        if overflow == "close":
            assert (stats["slow_consumers"], stats["messages_dropped"]) == (1, 0)
            assert stuck.close_code() in (1013, 1006)
            eventually(lambda: site.lines("close user=alice.* code=1013"), "it was told why")
            return
        eventually(lambda: site.stats()["delivered"] == 2 + 2 * last, "all is on its way")
        stats = site.stats()
        assert stats["slow_consumers"] == 0
        assert stats["send_buffer_bytes"] <= 2**20 + 2**18 + 100  # and what it is in the middle of
        came = [
            stuck.receive_text().split()[:2] for _ in range(last + 2 - stats["messages_dropped"])
        ]
        eventually(lambda: not site.stats()["send_buffer_bytes"], "nothing waits any more")
        site.broadcast(room, "go on")
        assert stuck.receive_text() == quick.receive_text() == "go on"
    news, mine = ([int(each[1]) for each in came if each[0] == name] for name in ("news", "mine"))
    assert news == sorted(set(news))
    assert news[-1] == last
    assert mine == sorted(set(mine))
    if overflow == "keep-latest":
        assert mine[-1] == 2
    eventually(lambda: site.lines(f"close user=alice.* sent={len(came) + 1}$"), "it is counted")
