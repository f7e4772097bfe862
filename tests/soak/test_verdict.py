"""The verdict on censuses: each kind of leak must be reported."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from .parts.verdict import CONTROL, OWN, left_behind, mismatches, not_given_back

NEWS = "soak:broadcast:news"
QUIET: dict[str, Any] = {
    "pid": 100,
    "channels": [],
    "wanted": [CONTROL],
    "stats": {"connections": 0, "channels": 0, "send_buffer_bytes": 0, "accepted": 1000},
    "held": {"greenlets": 5, "timer watchers": 6, "Keepalive._closing": 0, "Receivers._spare": 3},
    "memory": {"blocks": 180_000, "malloc": 9_000_000, "anonymous": 30_000_000},
}


def worker(**changes: Any) -> dict[str, Any]:
    """Return a quiet census with changes: ``stats__connections=1``."""
    census = copy.deepcopy(QUIET)
    for path, value in changes.items():
        place = census
        *folders, name = path.split("__")
        for folder in folders:
            place = place[folder]
        place[name] = value
    return census


def test_nothing_is_left_if_nothing_has_changed() -> None:
    assert left_behind([QUIET, QUIET], [QUIET, QUIET], {CONTROL: 2}) == []


def test_fewer_objects_and_spare_receivers_are_no_leak() -> None:
    now = worker(held__greenlets=2)
    now["held"]["Receivers._spare"] = 128
    assert left_behind([QUIET], [now], {CONTROL: 1}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pid": 7}, "another process"),
        ({"stats__connections": 1}, "connections is 1"),
        ({"stats__channels": 2}, "channels is 2"),
        ({"stats__send_buffer_bytes": 3}, "send_buffer_bytes is 3"),
        ({"wanted": [CONTROL, NEWS]}, NEWS),
        ({"held__greenlets": 6}, "greenlets is 6, was 5"),
        ({"held__timer watchers": 7}, "timer watchers is 7, was 6"),
        ({"held__Keepalive._closing": 1}, "Keepalive._closing is 1, was 0"),
        ({"held__Receivers._spare": 129}, "Receivers._spare is 129, was 128"),
        ({"held__descriptors": 1}, "descriptors is 1, was 0"),
    ],
)
def test_what_is_left_is_named(changes: dict[str, Any], words: str) -> None:
    (line,) = left_behind([QUIET, QUIET], [QUIET, worker(**changes)], {CONTROL: 2})
    assert line.startswith("worker 2")
    assert words in line


@pytest.mark.parametrize("redis", [{}, {CONTROL: 1}, {CONTROL: 2, NEWS: 1}])
def test_a_subscription_that_is_left_is_named(redis: dict[str, int]) -> None:
    (line,) = left_behind([QUIET, QUIET], [QUIET, QUIET], redis)
    assert line.startswith("Redis has subscriptions")


def test_equal_subscriptions_are_no_mismatch() -> None:
    one = worker(channels=[NEWS], wanted=[NEWS, CONTROL], stats__connections=2)
    two = worker(channels=[NEWS, "x"], wanted=["x", NEWS, CONTROL], stats__connections=1)
    redis = {NEWS: 2, "x": 1, CONTROL: 2}
    assert mismatches({NEWS, "x"}, 3, [one, two], redis) == []


@pytest.mark.parametrize("open_", [0, 1, 2])
def test_each_asynchronous_consumer_has_one_channel(open_: int) -> None:
    own = f"{OWN}1"
    there = worker(channels=[NEWS, own], wanted=[NEWS, own, CONTROL], stats__connections=1)
    found = mismatches({NEWS}, 1, [there], {NEWS: 1, own: 1, CONTROL: 1}, open_)
    wrong = [f"{open_} asynchronous consumers are open, and have 1 channels"]
    assert found == ([] if open_ == 1 else wrong)


@pytest.mark.parametrize(
    ("wanted", "sockets", "changes", "redis", "words"),
    [
        ({NEWS}, 2, {}, {}, "2 clients"),
        ({NEWS, "x"}, 1, {}, {}, "clients and workers differ in 1 channels, such as x"),
        ({NEWS}, 1, {"wanted": [NEWS, "x", CONTROL]}, {}, "hub and feed differ"),
        ({NEWS}, 1, {}, {"x": 1}, "workers and Redis differ in 1 channels, such as x"),
        ({NEWS}, 1, {}, {NEWS: 2}, "workers and Redis differ"),
        ({NEWS}, 1, {}, {CONTROL: 0}, "workers and Redis differ"),
    ],
)
def test_a_mismatch_is_named(
    wanted: set[str], sockets: int, changes: dict[str, Any], redis: dict[str, int], words: str
) -> None:
    there = {"channels": [NEWS], "wanted": [NEWS, CONTROL], "stats__connections": 1}
    now = worker(**{**there, **changes})
    (line,) = mismatches(wanted, sockets, [now], {NEWS: 1, CONTROL: 1, **redis})
    assert words in line


@pytest.mark.parametrize(
    ("name", "allowed", "too_much"),
    [
        ("blocks", 6000, 6200),
        ("malloc", 2**21, 2**21 + 16_001),
        ("anonymous", 2**23, 2**23 + 64_001),
    ],
)
def test_memory_returns_to_the_baseline(name: str, allowed: int, too_much: int) -> None:
    more = {"stats__accepted": 2000}
    start = QUIET["memory"][name]
    fits = worker(**more, **{f"memory__{name}": start + allowed})
    fails = worker(**more, **{f"memory__{name}": start + too_much})
    assert not_given_back([QUIET], [fits]) == []
    (line,) = not_given_back([QUIET], [fails])
    assert f"{too_much:,} more" in line
    assert "1,000 sockets" in line
