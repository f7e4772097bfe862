"""One channel's listeners: who gets a message, who does not want it back, how it is encoded."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.frames import encode_message
from wsredis.listeners import JOIN_AT_MOST, Frames, Listeners, parts
from wsredis.message import Message

NEWS = "ws:broadcast:news"


class Socket:
    """Stand for a connection, of which a channel knows only what it agreed upon."""

    def __init__(self, window_bits: int = 0) -> None:
        self.window_bits = window_bits


def said(*texts: str) -> list[Message]:
    return [Message(NEWS, text.encode()) for text in texts]


# Frames


def test_a_message_is_encoded_once_for_each_form_that_is_wanted() -> None:
    frames = Frames(said("x" * 200))
    plain, packed = frames[0], frames[15]
    assert plain == encode_message(b"x" * 200)
    assert packed == encode_message(b"x" * 200, False, 15) != plain
    assert frames[0] is plain
    assert frames[15] is packed
    assert set(frames) == {0, 15}


def test_several_messages_are_one_piece() -> None:
    frames = Frames([*said("one", "two"), Message(NEWS, b"\xff", True)])
    assert frames[0] == b"".join(
        [encode_message(b"one"), encode_message(b"two"), encode_message(b"\xff", True)]
    )


def test_the_latest_is_the_newest_alone_and_is_made_once() -> None:
    frames = Frames(said("one", "two"))
    latest = frames.latest
    assert latest[0] == encode_message(b"two")
    assert latest is frames.latest
    assert latest.latest is latest


# Parts


@given(st.lists(st.sampled_from([0, 1, 100, JOIN_AT_MOST // 2, JOIN_AT_MOST, JOIN_AT_MOST + 1])))
def test_pieces_hold_everything_in_order_and_are_small_or_single(sizes: list[int]) -> None:
    messages = [Message(NEWS, bytes(size)) for size in sizes]
    split = list(parts(messages))
    assert [message for part in split for message in part] == messages
    for part in split:
        assert len(part) <= 1 or sum(len(m.payload) for m in part) <= JOIN_AT_MOST
    for one, other in itertools.pairwise(split):
        assert sum(len(m.payload) for m in [*one, other[0]]) > JOIN_AT_MOST


# Coming and going


def come(listeners: Listeners, *texts: str, gaps: int = 0) -> Any:
    """Let messages come and take them at once."""
    listeners.wait(said(*texts), gaps)
    messages, groups, apart = listeners.take()
    assert messages == said(*texts)
    assert not listeners.waiting
    return groups if not apart else (groups, apart)


def test_everybody_who_is_there_gets_what_comes() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    assert come(listeners, "nobody") == ()
    listeners.add(alice)
    assert come(listeners, "one") == ((0, (alice,)),)
    listeners.add(bob)
    assert come(listeners, "two", "three") == ((0, (alice, bob)),)
    assert listeners.remove(alice) == 3
    assert come(listeners, "four") == ((0, (bob,)),)
    assert listeners.remove(bob) == 3
    assert come(listeners, "five") == ()
    assert listeners.count == 6


def test_who_leaves_during_a_delivery_does_not_disturb_it() -> None:
    listeners, sockets = Listeners(), [Socket() for _ in range(5)]
    for socket in sockets:
        listeners.add(socket)
    taken = come(listeners, "hello")
    listeners.remove(sockets[0])
    assert taken == ((0, tuple(sockets)),)


def test_those_who_get_the_same_frames_stand_together() -> None:
    listeners = Listeners()
    plain, packed, small = [Socket() for _ in range(3)], [Socket(15), Socket(15)], Socket(9)
    for socket in (plain[0], packed[0], plain[1], small, packed[1], plain[2]):
        listeners.add(socket)
    assert come(listeners, "hello") == ((0, tuple(plain)), (15, tuple(packed)), (9, (small,)))


def test_what_comes_while_one_joins_is_told_once_it_has_joined() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    come(listeners, "one")
    listeners.add(bob)
    come(listeners, "two")
    assert listeners.joined(bob) == said("two")
    come(listeners, "three")
    assert listeners.joined(alice) == said("one", "two", "three")
    assert listeners.joined(alice) == []
    assert not listeners.joining


def test_what_waited_before_one_came_is_not_for_it() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    listeners.wait(said("one"), 0)
    listeners.add(bob)
    listeners.wait(said("two"), 0)
    assert listeners.joined(alice) == said("one", "two")
    assert listeners.take() == (said("one", "two"), ((0, (alice,)),), {bob: (said("two"), 0)})
    assert listeners.joined(bob) == said("two")
    assert come(listeners, "three") == ((0, (alice, bob)),)
    assert listeners.remove(bob) == 2


def test_who_leaves_before_the_first_message_got_none() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    listeners.wait(said("one"), 0)
    listeners.add(bob)
    assert listeners.joined(bob) == []
    assert listeners.remove(bob) == 0
    assert come_on(listeners, "two") == (((0, (alice,)),), {})


# Waiting


def test_what_waits_is_joined_up_to_a_size() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    half = "x" * (JOIN_AT_MOST // 2)
    for text in ("", half, half, "end"):
        listeners.wait(said(text), 0)
    assert [listeners.take()[0] for _ in range(2)] == [said("", half, half), said("end")]
    assert listeners.remove(alice) == 4


def test_who_has_had_what_waits_gets_only_the_rest() -> None:
    listeners, (alice, bob, carol) = Listeners(), (Socket(), Socket(), Socket())
    listeners.add(alice)
    listeners.add(bob)
    listeners.wait(said("one", "two"), 0)
    assert listeners.ahead(alice) == said("one", "two")
    assert listeners.ahead(alice) == []
    assert listeners.ahead(carol) == []
    assert come_on(listeners, "three") == (((0, (bob,)),), {alice: (said("three"), 0)})
    assert come(listeners, "four") == ((0, (alice, bob)),)


def come_on(listeners: Listeners, text: str) -> Any:
    """Let one more message come and take all that wait."""
    listeners.wait(said(text), 0)
    return listeners.take()[1:]


def test_who_has_had_more_than_is_taken_gets_nothing_twice() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    listeners.add(bob)
    large = "x" * JOIN_AT_MOST
    listeners.wait(said(large, large), 0)
    assert listeners.ahead(alice) == said(large, large)
    listeners.wait(said("end"), 0)
    assert listeners.take() == (said(large), ((0, (bob,)),), {alice: ([], 0)})
    assert listeners.take() == (said(large), ((0, (bob,)),), {alice: ([], 0)})
    assert listeners.take() == (said("end"), ((0, (alice, bob)),), {})


# One's own


def echo(listeners: Listeners, sender: Any, text: str, gaps: int = 0) -> None:
    """Expect that what a member has published comes back."""
    listeners.echoes.append((said(text)[0], sender, gaps))


def test_a_sender_misses_its_own_messages_only() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    listeners.add(bob)
    echo(listeners, alice, "a1")
    echo(listeners, bob, "b1")
    echo(listeners, alice, "a2")
    assert come(listeners, "other", "a1", "b1", "more", "a2", "end") == (
        ((0, ()),),
        {
            alice: (said("other", "b1", "more", "end"), 2),
            bob: (said("other", "a1", "more", "a2", "end"), 1),
        },
    )
    assert not listeners.echoes


def test_ones_own_is_missed_where_it_was_joined_with_others() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "mine")
    large = "x" * JOIN_AT_MOST
    listeners.wait(said(large), 0)
    listeners.wait(said("mine", "end"), 0)
    assert listeners.take() == (said(large), ((0, (alice,)),), {})
    assert listeners.take() == (said("mine", "end"), ((0, ()),), {alice: (said("end"), 1)})


def test_who_gets_something_ahead_misses_its_own() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "mine")
    listeners.wait(said("one", "mine"), 0)
    assert listeners.ahead(alice) == said("one")
    assert come_on(listeners, "end") == (((0, ()),), {alice: (said("end"), 1)})


def test_an_equal_message_of_somebody_else_after_ones_own_is_not_missed() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "same")
    assert come(listeners, "same", "same") == (((0, ()),), {alice: (said("same"), 1)})


def test_who_has_left_meanwhile_is_no_exception() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "mine")
    listeners.remove(alice)
    assert come(listeners, "mine") == ()
    assert not listeners.echoes


def test_where_nobody_has_sent_anything_nobody_is_an_exception() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "not back yet")
    assert come(listeners, "one") == ((0, (alice,)),)
    assert len(listeners.echoes) == 1


def test_a_gap_ends_the_expectations_from_before_it() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "lost", 0)
    echo(listeners, alice, "mine", 1)
    assert come(listeners, "lost", "mine", gaps=1) == (((0, ()),), {alice: (said("lost"), 1)})
    assert not listeners.echoes


@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_could_not_be_published_is_expected_no_longer(position: int) -> None:
    listeners, alice = Listeners(), Socket()
    for text in ("one", "two", "three"):
        echo(listeners, alice, text)
    listeners.lost(said("one", "two", "three")[position], alice)
    left = [message for message, _, _ in listeners.echoes]
    assert len(left) == 2
    assert said("one", "two", "three")[position] not in left


def test_the_loss_of_what_nobody_expects_changes_nothing() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    echo(listeners, alice, "mine")
    listeners.lost(said("mine")[0], bob)
    listeners.lost(said("else")[0], alice)
    assert len(listeners.echoes) == 1
