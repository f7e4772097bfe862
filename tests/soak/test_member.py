"""The clients of a soak run."""

from __future__ import annotations

from collections import Counter
from random import Random

from wsredis.access.requests import parse_channel_request

from .parts.member import HEAVY, Kind, Plan, draw


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
        asked = parse_channel_request(plan.target().partition("?")[2]).requested
        assert len(asked) == len(plan.subscribe) + bool(plan.publish)
        assert len(plan.channels(plan.subscribe)) == len(plan.subscribe) > 0
        assert plan.publish is None or len(plan.channels([plan.publish])) == 1


def test_stuck_clients_subscribe_to_the_busy_channel_and_publish_nothing() -> None:
    stuck = [plan for plan in plans(5) if plan.kind is Kind.STUCK]
    assert {plan.facility for plan in stuck} == {HEAVY}
    assert not any(plan.publish or plan.deflate for plan in stuck)
