"""The faults again, for members of a group: native consumers, asynchronous and shared ones.

Each member gets every event of its group in order, or its websocket is closed before it misses
one; an event for which a consumer has no room is counted. When all have gone, nothing is left of
them: neither members nor subscriptions, and no more greenlets and threads than before.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import redis

from wsredis.embedded import EmbeddedRedis
from wsredis.layers import RedisChannelLayer

from ..servers.support import Setup, Site, each, eventually
from ..servers.wire import TEXT, Wire
from .checker import Findings, Numbers, check
from .clients import Client, Crowd
from .conftest import Stage
from .proxy import Proxy
from .test_redis import (
    LOSSES,
    demoted,
    frozen,
    killed_and_restarted,
    killed_subscriber,
)

KINDS = ("sync", "async", "shared")

MEMBERS = 3
"""Clients of each kind."""

PAUSE = 0.01
"""Seconds between two events: a consumer has room for those of one second."""

CONSUMERS = each("uwsgi-gevent", "gunicorn-gevent")
"""A process in which handlers run in threads, and one in which they run in greenlets."""

pytestmark = [pytest.mark.servers, CONSUMERS]


@dataclass
class Group(Stage):
    """A site with consumers of all kinds in one group.

    Attributes:
        crowds: the clients of each kind.
        before: the counters when the members of an earlier group had gone.
    """

    crowds: dict[str, Crowd]
    before: dict[str, int]

    @property
    def clients(self) -> list[Client]:
        return [client for crowd in self.crowds.values() for client in crowd.clients]

    def all_hear(self) -> None:
        self.wait_for(self.numbers.wait_confirmed())

    def end(self) -> None:
        self.wait_for(self.numbers.end())

    def wait_for(self, number: int) -> None:
        for crowd in self.crowds.values():
            crowd.wait_for(number)

    def all_return(self) -> None:
        for crowd in self.crowds.values():
            crowd.wait(lambda client: len(client.sessions) > 1 and client.is_open, "all are back")

    def all_are_told(self) -> Findings:
        """Wait until Redis is there again; each was closed because of this gap."""
        self.back()
        self.all_hear()
        self.end()
        found = self.check()
        assert found.codes == {1012: len(self.clients)}
        stats = self.site.stats()
        assert (stats["gaps"], stats["reconnects"]) == (1, 1)
        return found

    def check(self) -> Findings:
        """Check the order and the end; what is missing otherwise was counted as dropped.

        A busy machine may stop the site for so long that too many events arrive at once.
        """
        check(self.crowds["shared"].clients, self.numbers)  # these are never dropped
        found = check(self.clients, self.numbers, holes=math.inf)
        assert sum(found.within) <= self.site.stats()["dropped"]
        return found

    def nothing_is_missing(self) -> None:
        self.all_hear()
        self.end()
        found = self.check()
        assert not found.codes
        stats = self.site.stats()
        assert sum(map(len, found.missed)) == stats["dropped"]
        assert (stats["gaps"], stats["slow_consumers"]) == (0, 0)


def rest(stats: dict[str, int]) -> dict[str, int]:
    """Return what must be as before when all members have gone."""
    return {
        name: stats[name]
        for name in ("connections", "consumers", "in layer", "channels", "greenlets", "threads")
    }


@pytest.fixture
def group(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    proxy: Proxy,
    admin: redis.Redis,
    room: str,
) -> Iterator[Callable[..., Group]]:
    """Give a function that lets members join a group, to which numbers are sent.

    When a test has ended, all leave, and nothing may be left of them.
    """
    with ExitStack() as stack:

        def make(
            setup: Setup,
            *,
            memory: bool = False,
            publish: bool = True,
            padding: int = 0,
            **config: object,
        ) -> Group:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            config = {"redis": url, "redis_deadline": 2, "handler_threads": 4, **config}
            site = start(setup, app="numbered.py", **config)
            site.redis = own_redis.url
            before = warmed(site, room)
            layer = RedisChannelLayer(
                hosts=[own_redis.url], prefix="ws:asgi", serializer_format="json"
            )

            def send(text: str) -> None:
                if memory:
                    site.get(f"/send/{room}/{text}")
                else:
                    layer.group_send(room, {"type": "number", "text": text})

            numbers = stack.enter_context(Numbers(send, PAUSE, padding))

            def nothing_is_left() -> None:
                numbers.__exit__()
                for crowd in crowds.values():
                    crowd.__exit__(None, None, None)
                expect_rest(site, admin, before)

            crowds = {
                kind: Crowd(site.port, f"/{kind}/{room}", MEMBERS, begun=numbers.last)
                for kind in KINDS
            }
            for crowd in crowds.values():
                crowd.__enter__()
            stack.callback(nothing_is_left)
            for crowd in crowds.values():
                crowd.wait_open()
            made = Group(site, own_redis, proxy, admin, crowds["sync"], numbers, crowds, before)
            if publish:
                numbers.begin()
                made.all_hear()
            return made

        yield make


def warmed(site: Site, room: str) -> dict[str, int]:
    """Let members of each kind come, say something and go; return the counters after that."""
    for _ in range(2):
        with ExitStack() as stack:
            wires = [
                stack.enter_context(site.wire(f"/{kind}/{room}warm"))
                for kind in KINDS
                for _ in range(MEMBERS)
            ]
            for wire in wires:
                wire.send_frame(TEXT, b"0")
            for wire in wires:
                for _ in wires:
                    assert wire.receive_text() == "0"
        eventually(
            lambda: not site.stats()["consumers"] + site.stats()["in layer"], "all have gone"
        )
    return rest(site.stats())


def expect_rest(site: Site, admin: redis.Redis, before: dict[str, int]) -> None:
    """Wait until nothing is left of members."""
    after: dict[str, int] = {}

    def is_as_before() -> bool:
        after.update(rest(site.stats()))
        return all(after[name] <= before[name] for name in before)

    try:
        eventually(is_as_before, "nothing is left of the members")
    except AssertionError:
        assert after == before
        raise

    def is_unsubscribed() -> bool:
        """Look at the newest link only; Redis does not know yet that an earlier one has broken."""
        links = sorted(admin.client_list(_type="pubsub"), key=lambda link: int(link["id"]))
        return not links or int(links[-1]["sub"]) <= 1  # the control channel

    eventually(is_unsubscribed, "nothing is subscribed")


@pytest.mark.parametrize(
    "fault", [killed_and_restarted, frozen, demoted, *LOSSES], ids=lambda fault: fault.__name__
)
def test_each_member_is_told_of_a_gap_before_it_misses_an_event(
    group: Callable[..., Group], setup: Setup, fault: Callable[[Stage], None]
) -> None:
    there = group(setup)
    fault(there)
    found = there.all_are_told()
    if fault in LOSSES:
        assert all(found.missed)


def test_members_of_a_site_that_keeps_them_stay_and_the_gap_is_counted(
    group: Callable[..., Group], setup: Setup
) -> None:
    there = group(setup, on_gap="keep")
    killed_subscriber(there)
    there.back()
    there.all_hear()
    there.end()
    found = check(there.clients, there.numbers, holes=1)
    assert not found.codes
    assert all(found.missed)
    assert there.site.stats()["gaps"] == 1


def test_a_consumer_that_cannot_send_is_closed_and_the_others_miss_nothing_else(
    group: Callable[..., Group], setup: Setup
) -> None:
    there = group(setup, publish=False)
    numbers = there.numbers

    def say(wire: Wire, count: int) -> int:
        numbers.publish = lambda text: wire.send_frame(TEXT, text.encode())
        return [numbers.next() for _ in range(count)][-1]

    target = there.crowd.target
    with there.site.wire(target) as wire:
        there.wait_for(say(wire, 30))
        there.proxy.hole()
        say(wire, 20)
        del numbers.confirmed[30:]  # nobody has confirmed these
        assert wire.close_code() == 1013
        there.proxy.heal()
        there.back()
    there.all_return()
    with there.site.wire(target) as wire:
        there.wait_for(say(wire, 30))
    found = check(there.clients, numbers)
    assert found.codes == {1012: len(there.clients)}
    assert not any(found.missed)


def test_a_slow_way_to_redis_costs_time_and_nothing_else(
    group: Callable[..., Group], setup: Setup
) -> None:
    there = group(setup)
    there.proxy.pause = 0.1
    there.publish_some(200)
    there.nothing_is_missing()


@pytest.mark.parametrize("memory", [False, True], ids=["redis", "memory"])
def test_a_process_that_is_stopped_goes_on_where_it_was(
    group: Callable[..., Group], setup: Setup, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory:
        monkeypatch.setenv("LAYER", "memory")
    there = group(setup, memory=memory)
    (worker,) = there.site.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        if not memory:  # else they are sent by this process
            there.publish_some(80)
    finally:
        os.kill(worker, signal.SIGCONT)
    there.publish_some(100)
    there.nothing_is_missing()


def test_events_for_which_a_consumer_has_no_room_are_counted_and_the_newest_order_holds(
    group: Callable[..., Group], setup: Setup
) -> None:
    there = group(setup, publish=False)
    there.wait_for(there.numbers.next())
    (worker,) = there.site.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        for _ in range(700):
            there.numbers.next()
    finally:
        os.kill(worker, signal.SIGCONT)
    there.crowds["shared"].wait_for(701)
    last = there.numbers.begun

    def all_have_room() -> bool:
        there.numbers.next()
        return all(client.last > last for client in there.clients)

    eventually(all_have_room, "each consumer has handled what waited")
    there.wait_for(there.numbers.next())
    found = there.check()
    assert not found.codes
    assert sum(found.within) == there.site.stats()["dropped"]
    assert there.site.lines("WARNING .*messages dropped")


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_never_reads_delays_no_other_and_its_lost_events_are_counted(
    group: Callable[..., Group], setup: Setup, kind: str
) -> None:
    there = group(setup, publish=False, padding=2**16, max_send_buffer=2**18)
    numbers = there.numbers
    there.wait_for(numbers.next())

    def lost() -> tuple[int, int]:
        stats = there.site.stats()
        return stats["dropped"], stats["slow_consumers"]

    with there.site.wire(there.crowds[kind].target, receive_buffer=4096) as stuck:
        while not any(lost()):
            for _ in range(20):
                there.wait_for(numbers.next())
        dropped, closed = lost()
        if kind == "shared":
            assert (dropped, closed) == (0, 1)
            assert stuck.close_code() in (1013, 1006)  # the close frame waits behind the rest
        else:
            assert (dropped > 0, closed) == (True, 0)
            heard = [
                int(stuck.receive_text().split()[0]) for _ in range(numbers.begun - 1 - dropped)
            ]
            assert heard == sorted(set(heard)), "order holds for what has come"
    found = check(there.clients, numbers)
    assert not any(found.missed)


def test_members_are_told_of_a_reload(group: Callable[..., Group], setup: Setup) -> None:
    there = group(setup)
    (old,) = there.site.workers()
    there.site.reload()
    there.all_return()
    there.all_hear()
    there.end()
    assert set(there.check().codes) == {1012}
    assert there.site.workers() != {old}


def test_members_of_a_killed_process_return(group: Callable[..., Group], setup: Setup) -> None:
    there = group(setup)
    (victim,) = there.site.workers()
    there.site.excused.add("DAMN")  # uWSGI's word for it
    os.kill(victim, signal.SIGKILL)
    there.all_return()
    there.all_hear()
    there.end()
    found = check(there.clients, there.numbers, told=(1006,))
    assert found.codes == {1006: len(there.clients)}
