"""The clients of a soak run."""

from __future__ import annotations

from collections import Counter
from random import Random

from wsredis.access.requests import parse_channel_request

from .parts.member import CONSUMERS, GROUPS, HEAVY, Kind, Plan, draw


def plans(seed: int, count: int = 400) -> list[Plan]:
    random = Random(seed)
    return [draw(random, number, 200) for number in range(count)]


def test_a_seed_repeats_the_plans() -> None:
    assert plans(1) == plans(1)
    assert plans(1) != plans(2)


def test_each_kind_is_among_twenty_clients() -> None:
    kinds = Counter(plan.kind for plan in plans(3))
    assert kinds == {Kind.USUAL: 340, Kind.STUCK: 20, Kind.HASTY: 20, Kind.MUTE: 20}


def test_each_requested_key_has_a_channel() -> None:
    for plan in plans(4):
        if plan.consumer:
            continue
        asked = parse_channel_request(plan.target().partition("?")[2]).requested
        assert len(asked) == len(plan.subscribe) + bool(plan.publish)
        assert len(plan.channels(plan.subscribe)) == len(plan.subscribe) > 0
        assert plan.publish is None or len(plan.channels([plan.publish])) == 1


def test_clients_of_each_kind_of_consumer_share_groups() -> None:
    members = {(plan.facility, plan.consumer) for plan in plans(6) if plan.consumer}
    assert members == {(f"group{n}", kind) for n in range(GROUPS) for kind in CONSUMERS}
    (channel,) = {
        name for plan in plans(6) if plan.facility == "group1" for name in plan.channels(())
    }
    assert channel == "soak:asgi__group__group1"


def test_stuck_clients_subscribe_to_the_busy_channel_and_publish_nothing() -> None:
    stuck = [plan for plan in plans(5) if plan.kind is Kind.STUCK]
    assert {plan.facility for plan in stuck} == {HEAVY}
    assert not any(plan.publish or plan.deflate for plan in stuck)
