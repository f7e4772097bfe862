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


def test_everybody_who_is_there_gets_what_comes() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    assert listeners.take(said("nobody")) == ()
    listeners.add(alice)
    assert listeners.take(said("one")) == ((0, (alice,)),)
    listeners.add(bob)
    assert listeners.take(said("two", "three")) == ((0, (alice, bob)),)
    assert listeners.remove(alice) == 3
    assert listeners.take(said("four")) == ((0, (bob,)),)
    assert listeners.remove(bob) == 3
    assert listeners.take(said("five")) == ()
    assert listeners.count == 6


def test_who_leaves_during_a_delivery_does_not_disturb_it() -> None:
    listeners, sockets = Listeners(), [Socket() for _ in range(5)]
    for socket in sockets:
        listeners.add(socket)
    taken = listeners.take(said("hello"))
    listeners.remove(sockets[0])
    assert taken == ((0, tuple(sockets)),)


def test_those_who_get_the_same_frames_stand_together() -> None:
    listeners = Listeners()
    plain, packed, small = [Socket() for _ in range(3)], [Socket(15), Socket(15)], Socket(9)
    for socket in (plain[0], packed[0], plain[1], small, packed[1], plain[2]):
        listeners.add(socket)
    assert listeners.take(said("hello")) == ((0, tuple(plain)), (15, tuple(packed)), (9, (small,)))


def test_what_comes_while_one_joins_is_told_once_it_has_joined() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    listeners.add(alice)
    listeners.take(said("one"))
    listeners.add(bob)
    listeners.take(said("two"))
    assert listeners.joined(bob) == said("two")
    listeners.take(said("three"))
    assert listeners.joined(alice) == said("one", "two", "three")
    assert listeners.joined(alice) == []
    assert not listeners.joining


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
    arrived = said("other", "a1", "b1", "more", "a2", "end")
    assert listeners.without_own(arrived, 0) == {
        alice: said("other", "b1", "more", "end"),
        bob: said("other", "a1", "more", "a2", "end"),
    }
    assert not listeners.echoes


def test_an_equal_message_of_somebody_else_after_ones_own_is_not_missed() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "same")
    assert listeners.without_own(said("same", "same"), 0) == {alice: said("same")}


def test_who_has_left_meanwhile_is_no_exception() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "mine")
    listeners.remove(alice)
    assert listeners.without_own(said("mine"), 0) == {}
    assert not listeners.echoes


def test_where_nobody_has_sent_anything_nobody_is_an_exception() -> None:
    listeners, alice = Listeners(), Socket()
    assert listeners.without_own(said("one"), 0) == {}
    echo(listeners, alice, "not back yet")
    assert listeners.without_own(said("one"), 0) == {}
    assert len(listeners.echoes) == 1


def test_a_gap_ends_the_expectations_from_before_it() -> None:
    listeners, alice = Listeners(), Socket()
    listeners.add(alice)
    echo(listeners, alice, "lost", 0)
    echo(listeners, alice, "mine", 1)
    assert listeners.without_own(said("lost", "mine"), 1) == {alice: said("lost")}
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
