"""Redis fails in all possible ways, and all clients are told that messages may be missing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from wsredis.brokers.redis import role
from wsredis.embedded import EmbeddedRedis

from ..servers.support import each, eventually
from ..servers.wire import TEXT, Wire
from .checker import Findings, check
from .conftest import Stage

pytestmark = [pytest.mark.servers, each("uwsgi-gevent", "gunicorn-gthread")]

MakeStage = Callable[..., Stage]


def killed_and_restarted(stage: Stage) -> None:
    stage.redis.kill()
    stage.gap()
    stage.redis.start()


def frozen(stage: Stage) -> None:
    stage.redis.freeze()
    stage.gap()
    stage.redis.thaw()


def black_holed(stage: Stage) -> None:
    stage.proxy.hole()
    stage.publish_some()
    stage.gap()
    stage.proxy.heal()


def reset_and_refusing(stage: Stage) -> None:
    stage.proxy.refuse()
    stage.proxy.reset()
    stage.gap()
    stage.publish_some()
    stage.proxy.accept()


def killed_subscriber(stage: Stage) -> None:
    stage.proxy.refuse()
    assert stage.admin.client_kill_filter(_type="pubsub") == 1
    stage.gap()
    stage.publish_some()
    stage.proxy.accept()


def demoted(stage: Stage) -> None:
    stage.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    stage.gap()
    stage.publish_some()
    stage.admin.execute_command("REPLICAOF", "NO", "ONE")


def all_are_told(stage: Stage) -> Findings:
    """Wait until Redis is there again; order holds, and each was closed because of this gap."""
    stage.back()
    stage.all_hear()
    stage.end()
    found = check(stage.crowd.clients, stage.numbers)
    assert found.codes == {1012: len(stage.crowd.clients)}
    stats = stage.site.stats()
    assert (stats["gaps"], stats["reconnects"], stats["slow_consumers"]) == (1, 1, 0)
    return found


LOSSES = (black_holed, reset_and_refusing, killed_subscriber)
"""Redis takes numbers while these last, so that some are lost for certain."""


@pytest.mark.parametrize(
    "fault", [killed_and_restarted, frozen, demoted, *LOSSES], ids=lambda fault: fault.__name__
)
def test_order_holds_and_everybody_is_told_of_the_gap(
    stage: MakeStage, setup: object, fault: Callable[[Stage], None]
) -> None:
    there = stage(setup)
    began = time.monotonic()
    fault(there)
    repaired = time.monotonic()
    found = all_are_told(there)
    print(f"noticed and repaired after {repaired - began:.2f} s,", end=" ")
    print(f"told {found.ended - repaired:.2f} s after that, away for {found.away:.2f} s")
    print(f"missed {max(map(len, found.missed))} of {len(there.numbers.confirmed)} numbers")
    if fault in LOSSES:
        assert all(found.missed)
    assert len(there.site.lines("WARNING .*lost Redis")) == 1
    assert len(there.site.lines("WARNING .*Redis is back")) == 1


def test_another_redis_at_the_same_address_is_found_and_everybody_is_told(
    stage: MakeStage, setup: object
) -> None:
    with EmbeddedRedis() as other:
        there = stage(setup, direct=False)
        there.proxy.lead_to(other.port)
        there.redis.kill()
        all_are_told(there)


def test_another_redis_at_the_same_address_is_found_although_the_old_one_still_serves(
    stage: MakeStage, setup: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role, "AGAIN", 1.0)
    # Of the publisher's connection; the site has its own.
    monkeypatch.setattr(role, "LIFETIME", 1.0)
    with EmbeddedRedis() as other:
        there = stage(setup, direct=False)
        began = time.monotonic()
        there.proxy.lead_to(other.port)
        all_are_told(there)
        print(f"told {time.monotonic() - began:.2f} s after the change", end=" ")
        assert there.site.lines("WARNING .*lost Redis.*leads to another server now")


def test_another_address_of_the_same_name_is_found_and_everybody_is_told(
    stage: MakeStage, setup: object
) -> None:
    with (
        TemporaryDirectory(prefix="wsredis-") as folder,  # a socket's path must be short
        EmbeddedRedis(args=("--unixsocket", f"{folder}/old")) as old,
        EmbeddedRedis(args=("--unixsocket", f"{folder}/new")),
    ):
        name = Path(folder, "redis.sock")
        name.symlink_to("old")
        there = stage(setup, direct=False, redis=f"unix://{name}")
        name.unlink()
        name.symlink_to("new")
        old.kill()
        all_are_told(there)


def test_a_process_too_slow_for_redis_is_cut_off_and_tells_everybody(
    stage: MakeStage, setup: object
) -> None:
    there = stage(setup, clients=3, padding=30_000, max_send_buffer=2**26)
    (worker,) = there.site.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        there.admin.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        eventually(lambda: not there.admin.client_list(_type="pubsub"), "Redis cuts it off")
        there.publish_some()
        there.admin.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert all(all_are_told(there).missed)


def test_whose_site_keeps_them_stay_and_the_gap_is_counted(stage: MakeStage, setup: object) -> None:
    there = stage(setup, on_gap="keep")
    killed_subscriber(there)
    there.back()
    there.all_hear()
    there.end()
    found = check(there.crowd.clients, there.numbers, holes=1)
    assert not found.codes
    assert all(found.missed)
    assert found.holes == [1] * len(there.crowd.clients)
    assert there.site.stats()["gaps"] == 1
    assert len(there.site.lines("WARNING .*lost Redis")) == 1


def test_what_sockets_say_into_the_gap_is_counted_and_they_are_told(
    stage: MakeStage, setup: object
) -> None:
    there = stage(setup, publish=False)
    crowd, numbers = there.crowd, there.numbers
    target = crowd.target.replace("subscribe", "publish")

    def say(wire: Wire, count: int) -> int:
        numbers.publish = lambda text: wire.send_frame(TEXT, text.encode())
        return [numbers.next() for _ in range(count)][-1]

    with there.site.wire(target) as wire:
        crowd.wait_for(say(wire, 30))
        there.proxy.hole()
        say(wire, 20)
        del numbers.confirmed[30:]  # nobody has confirmed these
        assert wire.close_code() == 1013
        assert there.site.stats()["unpublished"] == 20
        there.proxy.heal()
        there.back()
    with there.site.wire(target) as wire:
        crowd.wait(lambda client: len(client.sessions) == 2 and client.is_open, "all are back")
        crowd.wait_for(say(wire, 30))
    found = check(crowd.clients, numbers)
    assert found.codes == {1012: len(crowd.clients)}
    assert not any(found.missed), "what was lost is what the speaker was told of"


# What is no gap


def nothing_is_missing(stage: Stage) -> None:
    stage.all_hear()
    stage.end()
    found = check(stage.crowd.clients, stage.numbers)
    assert not found.codes
    assert not any(found.missed)
    stats = stage.site.stats()
    assert (stats["gaps"], stats["slow_consumers"], stats["timeouts"]) == (0, 0, 0)


def test_a_slow_way_to_redis_costs_time_and_nothing_else(stage: MakeStage, setup: object) -> None:
    there = stage(setup)
    there.proxy.pause = 0.3
    there.publish_some(500)
    nothing_is_missing(there)


def test_a_process_that_is_stopped_goes_on_where_it_was(stage: MakeStage, setup: object) -> None:
    there = stage(setup)
    (worker,) = there.site.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        there.publish_some(700)  # for longer than the deadline, at two milliseconds each
    finally:
        os.kill(worker, signal.SIGCONT)
    nothing_is_missing(there)
