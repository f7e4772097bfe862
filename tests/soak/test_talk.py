"""The checker for missing messages: accepted and rejected sequences."""

from __future__ import annotations

import pytest

from .parts.talk import Hearing, Talk

NEWS = "soak:broadcast:news"
ALICE = "soak:user:alice:news"


@pytest.fixture
def talk() -> Talk:
    return Talk()


def hear(talk: Talk, hearing: Hearing, *messages: str) -> None:
    for message in messages:
        talk.hear(hearing, message.encode())


def listen(talk: Talk, name: str = "bob", *, echo: bool = False) -> Hearing:
    return talk.opened(name, [NEWS], echo)


def test_all_in_order_is_well(talk: Talk) -> None:
    bob = listen(talk)
    hear(talk, bob, *(talk.next(NEWS) for _ in range(5)), talk.next(NEWS, "carol"))
    assert not talk.violations
    assert talk.heard == 6
    assert talk.settled([bob]) == []


def test_who_comes_later_may_begin_with_what_was_on_its_way(talk: Talk) -> None:
    before = [talk.next(NEWS), talk.next(NEWS)]
    early, late = listen(talk, "early"), listen(talk, "late")
    hear(talk, early, before[1], third := talk.next(NEWS))
    hear(talk, late, third)
    assert not talk.violations


def test_what_was_published_after_the_101_must_come(talk: Talk) -> None:
    talk.next(NEWS)
    bob = listen(talk)
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.violations == {"a hole": 1}
    assert "P's 3" in talk.shown[0]


def test_who_was_there_when_a_websocket_began_to_speak_must_hear_its_first(talk: Talk) -> None:
    talk.next(NEWS, "old")
    bob = listen(talk)
    talk.next(NEWS, "new")
    hear(talk, bob, talk.next(NEWS, "old"))
    assert not talk.violations
    hear(talk, bob, talk.next(NEWS, "new"))
    assert talk.violations == {"a hole": 1}


def test_a_hole_is_a_violation_however_small(talk: Talk) -> None:
    bob = listen(talk)
    hear(talk, bob, talk.next(NEWS))
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.violations == {"a hole": 1}
    assert talk.shown == [f"a hole: bob got P's 3 in {NEWS} after 1"]


@pytest.mark.parametrize(
    ("drops", "slow", "dropped"), [(True, True, 2), (True, False, 0), (False, True, 0)]
)
def test_an_overflow_policy_excuses_holes_of_slow_readers_only(
    drops: bool, slow: bool, dropped: int
) -> None:
    talk = Talk(drops)
    bob = talk.opened("bob", [NEWS], False, slow)
    hear(talk, bob, talk.next(NEWS))
    talk.next(NEWS)
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.dropped == dropped
    assert talk.violations == ({} if dropped else {"a hole": 1})


def test_nothing_comes_twice_or_out_of_order(talk: Talk) -> None:
    bob = listen(talk)
    one, two = talk.next(NEWS), talk.next(NEWS)
    hear(talk, bob, one, two, two, one)
    assert talk.violations == {"twice or out of order": 2}


def test_nobody_hears_what_is_for_others(talk: Talk) -> None:
    hear(talk, listen(talk), talk.next(ALICE))
    assert talk.violations == {"a message for others": 1}


@pytest.mark.parametrize(
    ("echo", "violations"), [(True, {}), (False, {"an echo that nobody wanted": 1})]
)
def test_an_echo_comes_to_those_who_want_it(
    talk: Talk, echo: bool, violations: dict[str, int]
) -> None:
    hear(talk, listen(talk, "alice", echo=echo), talk.next(NEWS, "alice"))
    assert talk.violations == violations


@pytest.mark.parametrize("text", ["hello", f"{NEWS} P x", ""])
def test_what_is_no_message_of_the_run_is_found(talk: Talk, text: str) -> None:
    hear(talk, listen(talk), text)
    assert talk.violations == {"not a message of ours": 1}


def test_what_nobody_has_sent_is_found(talk: Talk) -> None:
    hear(talk, listen(talk), f"{NEWS} P 1")
    assert "a message that nobody sent" in talk.violations


def test_the_last_message_is_missed_where_it_lacks(talk: Talk) -> None:
    talk.next(NEWS)
    bob, carol = listen(talk), listen(talk, "carol", echo=True)
    assert talk.settled([bob, carol]) == []
    last, own = talk.next(NEWS), talk.next(NEWS, "carol")
    hear(talk, bob, last)
    hear(talk, carol, last)
    assert [line.split(" in ")[0] for line in talk.settled([bob, carol])] == [
        "bob has carol's 0 of 1",
        "carol has carol's 0 of 1",
    ]
    hear(talk, bob, own)
    hear(talk, carol, own)
    assert talk.settled([bob, carol]) == []


def test_nothing_is_missed_of_those_who_have_gone(talk: Talk) -> None:
    bob = listen(talk)
    talk.next(NEWS, "carol")
    assert talk.settled([bob]) == []


def test_many_violations_are_counted_and_few_are_told(talk: Talk) -> None:
    bob = listen(talk)
    message = talk.next(NEWS)
    hear(talk, bob, *[message] * 100)
    assert talk.violations == {"twice or out of order": 99}
    assert len(talk.shown) == 5
