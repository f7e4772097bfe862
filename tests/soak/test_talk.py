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


def test_messages_in_order_are_accepted(talk: Talk) -> None:
    bob = listen(talk)
    hear(talk, bob, *(talk.next(NEWS) for _ in range(5)), talk.next(NEWS, "carol"))
    assert not talk.violations
    assert talk.heard == 6
    assert talk.settled([bob]) == []


def test_a_new_websocket_may_begin_with_any_message_from_before_its_101(talk: Talk) -> None:
    before = [talk.next(NEWS), talk.next(NEWS)]
    early, late = listen(talk, "early"), listen(talk, "late")
    hear(talk, early, before[1], third := talk.next(NEWS))
    hear(talk, late, third)
    assert not talk.violations


def test_a_message_published_after_the_101_must_arrive(talk: Talk) -> None:
    talk.next(NEWS)
    bob = listen(talk)
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.violations == {"missing messages": 1}
    assert "P's 3" in talk.shown[0]


def test_an_open_websocket_must_receive_the_first_message_of_another(talk: Talk) -> None:
    talk.next(NEWS, "old")
    bob = listen(talk)
    talk.next(NEWS, "new")
    hear(talk, bob, talk.next(NEWS, "old"))
    assert not talk.violations
    hear(talk, bob, talk.next(NEWS, "new"))
    assert talk.violations == {"missing messages": 1}


def test_a_single_missing_message_is_a_violation(talk: Talk) -> None:
    bob = listen(talk)
    hear(talk, bob, talk.next(NEWS))
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.violations == {"missing messages": 1}
    assert talk.shown == [f"missing messages: bob received P's 3 in {NEWS} after 1"]


@pytest.mark.parametrize(
    ("drops", "slow", "dropped"), [(True, True, 2), (True, False, 0), (False, True, 0)]
)
def test_an_overflow_policy_may_drop_messages_of_slow_readers_only(
    drops: bool, slow: bool, dropped: int
) -> None:
    talk = Talk(drops)
    bob = talk.opened("bob", [NEWS], False, slow)
    hear(talk, bob, talk.next(NEWS))
    talk.next(NEWS)
    talk.next(NEWS)
    hear(talk, bob, talk.next(NEWS))
    assert talk.dropped == dropped
    assert talk.violations == ({} if dropped else {"missing messages": 1})


def test_a_duplicated_or_reordered_message_is_a_violation(talk: Talk) -> None:
    bob = listen(talk)
    one, two = talk.next(NEWS), talk.next(NEWS)
    hear(talk, bob, one, two, two, one)
    assert talk.violations == {"duplicated or out of order": 2}


def test_a_message_of_another_channel_is_a_violation(talk: Talk) -> None:
    hear(talk, listen(talk), talk.next(ALICE))
    assert talk.violations == {"a message for other clients": 1}


@pytest.mark.parametrize(("echo", "violations"), [(True, {}), (False, {"an unwanted echo": 1})])
def test_an_echo_is_a_violation_unless_it_was_requested(
    talk: Talk, echo: bool, violations: dict[str, int]
) -> None:
    hear(talk, listen(talk, "alice", echo=echo), talk.next(NEWS, "alice"))
    assert talk.violations == violations


@pytest.mark.parametrize("text", ["hello", f"{NEWS} P x", ""])
def test_an_unknown_message_is_a_violation(talk: Talk, text: str) -> None:
    hear(talk, listen(talk), text)
    assert talk.violations == {"an unknown message": 1}


def test_a_message_that_was_not_sent_is_a_violation(talk: Talk) -> None:
    hear(talk, listen(talk), f"{NEWS} P 1")
    assert "a message that was not sent" in talk.violations


def test_a_missing_last_message_is_reported(talk: Talk) -> None:
    talk.next(NEWS)
    bob, carol = listen(talk), listen(talk, "carol", echo=True)
    assert talk.settled([bob, carol]) == []
    last, own = talk.next(NEWS), talk.next(NEWS, "carol")
    hear(talk, bob, last)
    hear(talk, carol, last)
    assert [line.split(" in ")[0] for line in talk.settled([bob, carol])] == [
        "bob has received carol's 0 of 1",
        "carol has received carol's 0 of 1",
    ]
    hear(talk, bob, own)
    hear(talk, carol, own)
    assert talk.settled([bob, carol]) == []


def test_messages_of_closed_websockets_are_not_missed(talk: Talk) -> None:
    bob = listen(talk)
    talk.next(NEWS, "carol")
    assert talk.settled([bob]) == []


def test_all_violations_are_counted_and_few_are_described(talk: Talk) -> None:
    bob = listen(talk)
    message = talk.next(NEWS)
    hear(talk, bob, *[message] * 100)
    assert talk.violations == {"duplicated or out of order": 99}
    assert len(talk.shown) == 5
