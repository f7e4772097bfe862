"""One channel's listeners: who gets a message, who does not want it back, how it is encoded."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis import listeners as module
from wsredis.frames import encode_message
from wsredis.listeners import JOIN_AT_MOST, OVERHEAD, TURN, Frames, Listeners
from wsredis.message import Message

NEWS = "ws:broadcast:news"


class Socket:
    """Stand for a connection, of which a channel knows only what it agreed upon."""

    def __init__(self, window_bits: int = 0) -> None:
        self.window_bits = window_bits
        self.got: list[str] = []
        self.sent = 0


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


def test_messages_that_are_joined_are_not_encoded_again() -> None:
    one, two = Frames(said("one")), Frames(said("two"))
    one[0] = b"of one "
    joined = Frames.joined([one, two])
    assert joined.messages == said("one", "two")
    assert joined[0] == b"of one " + encode_message(b"two")
    assert joined.latest is two
    assert Frames.joined([one]) is one


def test_messages_that_were_joined_are_not_held_for_long() -> None:
    one, two = Frames(said("one")), Frames(said("two"))
    joined = Frames.joined([one, two])
    assert joined[0] == Frames(said("one", "two"))[0]
    assert not any(held is one for held in joined._each)
    assert joined[15] == Frames(said("one", "two"))[15]
    assert joined.latest is two


def test_the_latest_is_the_newest_alone_and_is_made_once() -> None:
    frames = Frames(said("one", "two"))
    latest = frames.latest
    assert latest[0] == encode_message(b"two")
    assert latest is frames.latest
    assert latest.latest is latest


# Coming and going


def texts_of(frames: Frames) -> list[str]:
    return [message.payload.decode() for message in frames.messages]


def serve(listeners: Listeners) -> Any:
    """Serve one row: what it gets, its kind, who gets it, and who gets what else."""
    frames, bits, sockets, apart = listeners.serve()
    others = {who: ([texts_of(one)[0] for one in each], own) for who, (each, own) in apart.items()}
    return texts_of(frames), bits, list(sockets), others


def come(listeners: Listeners, *texts: str, gaps: int = 0) -> Any:
    """Let messages come and serve all with them; return what `serve` does for each row."""
    listeners.wait(said(*texts), gaps)
    served = []
    while listeners.waiting:
        served.append(serve(listeners))
    assert listeners.size == 0
    return served


def listening(*sockets: Any) -> Listeners:
    listeners = Listeners()
    for socket in sockets:
        listeners.add(socket)
    return listeners


def test_everybody_who_is_there_gets_what_comes() -> None:
    listeners, (alice, bob) = Listeners(), (Socket(), Socket())
    assert listeners.add(alice) == 0
    assert come(listeners, "one") == [(["one"], 0, [alice], {})]
    assert listeners.add(bob) == 1
    assert come(listeners, "two", "three") == [(["two", "three"], 0, [alice, bob], {})]
    assert listeners.remove(alice) == 3
    assert come(listeners, "four") == [(["four"], 0, [bob], {})]
    assert listeners.remove(bob) == 4
    assert not listeners.members


def test_who_leaves_during_a_delivery_does_not_disturb_it() -> None:
    first, *others = [Socket() for _ in range(5)]
    listeners = listening(first, *others)
    listeners.wait(said("hello"), 0)
    _, _, sockets, _ = listeners.serve()
    assert tuple(sockets) == (first, *others)  # they are written to before anybody can leave
    assert listeners.remove(first) == 1
    assert come(listeners, "again") == [(["again"], 0, others, {})]


def test_those_who_get_the_same_frames_stand_together() -> None:
    plain, packed, small = [Socket() for _ in range(3)], [Socket(15), Socket(15)], Socket(9)
    listeners = listening(plain[0], packed[0], plain[1], small, packed[1], plain[2])
    assert come(listeners, "hello") == [
        (["hello"], 0, plain, {}),
        (["hello"], 15, packed, {}),
        (["hello"], 9, [small], {}),
    ]


def test_no_row_is_longer_than_a_turn() -> None:
    sockets = [Socket() for _ in range(TURN * 2 + 1)]
    served = come(listening(*sockets), "hello")
    assert [len(row[2]) for row in served] == [TURN, TURN, 1]
    assert [socket for row in served for socket in row[2]] == sockets


def test_rows_that_have_thinned_out_are_joined() -> None:
    sockets = [Socket() for _ in range(TURN * 4)]
    listeners = listening(*sockets)
    for socket in sockets[::2]:
        listeners.remove(socket)
    come(listeners, "hello")
    served = come(listeners, "again")
    assert [len(row[2]) for row in served] == [TURN, TURN]
    assert [socket for row in served for socket in row[2]] == sockets[1::2]


def test_what_comes_while_one_joins_is_told_once_it_has_joined() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice)
    come(listeners, "one")
    listeners.add(bob)
    come(listeners, "two")
    assert listeners.joined(bob) == said("two")
    come(listeners, "three")
    assert listeners.joined(alice) == said("one", "two", "three")
    assert not listeners.joined(alice)


def test_what_waited_before_one_came_is_not_for_it() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice)
    listeners.wait(said("one"), 0)
    assert listeners.add(bob) == 1
    assert come(listeners, "two") == [
        (["one", "two"], 0, [alice], {}),
        (["two"], 0, [bob], {}),
    ]
    assert listeners.joined(bob) == said("two")
    assert come(listeners, "three") == [(["three"], 0, [alice, bob], {})]


def test_who_leaves_before_the_first_message_got_none() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice)
    listeners.wait(said("one"), 0)
    assert listeners.add(bob) == listeners.remove(bob) == 1
    assert come(listeners, "two") == [(["one", "two"], 0, [alice], {})]
    assert not listeners.joined(bob)


def test_what_only_those_who_left_were_waiting_for_waits_no_longer() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice)
    listeners.wait(said("one"), 0)
    listeners.add(bob)
    assert listeners.remove(alice) == 0
    assert not listeners.waiting
    assert listeners.size == 0


# Travelling together


def test_what_comes_while_others_are_on_their_way_travels_with_them() -> None:
    rows = [[Socket() for _ in range(TURN)] for _ in range(3)]
    listeners = listening(*rows[0], *rows[1], *rows[2])
    listeners.wait(said("one"), 0)
    assert serve(listeners) == (["one"], 0, rows[0], {})
    listeners.wait(said("two"), 0)
    assert serve(listeners) == (["one", "two"], 0, rows[1], {})
    listeners.wait(said("three"), 0)
    assert come(listeners, "four") == [
        (["one", "two", "three", "four"], 0, rows[2], {}),
        (["two", "three", "four"], 0, rows[0], {}),
        (["three", "four"], 0, rows[1], {}),
    ]


def test_a_message_is_encoded_once_wherever_others_join_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[bytes] = []

    def encode(payload: bytes, binary: bool, bits: int) -> bytes:
        encoded.append(payload)
        return encode_message(payload, binary, bits)

    monkeypatch.setattr(module, "encode_message", encode)
    listeners = listening(*(Socket(15) for _ in range(TURN * 4)))
    for text in ("one", "two", "three"):
        listeners.wait(said(text), 0)
        frames, bits, _, _ = listeners.serve()
        assert frames[bits]
    while listeners.waiting:
        frames, bits, _, _ = listeners.serve()
        assert frames[bits]
    assert encoded == [b"one", b"two", b"three"]


def test_rows_that_get_the_same_get_one_piece() -> None:
    listeners = listening(*(Socket() for _ in range(TURN * 2)))
    listeners.wait(said("one", "two"), 0)
    assert listeners.serve()[0] is listeners.serve()[0]


def test_the_size_is_that_of_what_waits() -> None:
    listeners = listening(Socket())
    assert listeners.size == 0
    large = "x" * (JOIN_AT_MOST + 1)
    listeners.wait(said(large), 0)
    assert listeners.size == JOIN_AT_MOST + 1 + OVERHEAD
    listeners.wait(said("12345", "678"), 0)
    assert listeners.size == JOIN_AT_MOST + 9 + 3 * OVERHEAD
    assert serve(listeners)[0] == [large]
    assert listeners.size == 8 + 2 * OVERHEAD
    assert serve(listeners)[0] == ["12345", "678"]
    assert listeners.size == 0


def test_what_waits_is_joined_up_to_a_size() -> None:
    alice = Socket()
    listeners = listening(alice)
    half = "x" * (JOIN_AT_MOST // 2)
    for text in ("", half, half, "end"):
        listeners.wait(said(text), 0)
    assert [serve(listeners)[0] for _ in range(2)] == [["", half, half], ["end"]]
    assert listeners.remove(alice) == 4


def test_a_single_message_may_be_larger() -> None:
    listeners, large = listening(Socket()), "x" * (JOIN_AT_MOST + 1)
    served = [row[0] for row in come(listeners, "a", large, large, "z")]
    assert served == [["a"], [large], [large], ["z"]]


# Ahead of a row


def ahead(listeners: Listeners, who: Any) -> list[str]:
    theirs, own = listeners.ahead(who)
    assert own == 0
    return [texts_of(one)[0] for one in theirs]


def test_who_has_had_what_waits_gets_only_the_rest() -> None:
    alice, bob, carol = Socket(), Socket(), Socket()
    listeners = listening(alice, bob)
    listeners.wait(said("one", "two"), 0)
    assert ahead(listeners, alice) == ["one", "two"]
    assert ahead(listeners, alice) == []
    assert ahead(listeners, carol) == []
    assert come(listeners, "three") == [
        (["one", "two", "three"], 0, [bob], {alice: (["three"], 0)})
    ]
    assert come(listeners, "four") == [(["four"], 0, [alice, bob], {})]


def test_who_has_had_more_than_its_row_takes_gets_nothing_twice() -> None:
    alice, bob = Socket(), Socket()
    listeners, large = listening(alice, bob), "x" * JOIN_AT_MOST
    listeners.wait(said(large, large), 0)
    assert ahead(listeners, alice) == [large, large]
    assert come(listeners, "end") == [
        ([large], 0, [bob], {alice: ([], 0)}),
        ([large], 0, [bob], {alice: ([], 0)}),
        (["end"], 0, [alice, bob], {}),
    ]


def test_who_was_given_something_and_leaves_had_it() -> None:
    alice = Socket()
    listeners = listening(alice)
    listeners.wait(said("one", "two"), 0)
    assert ahead(listeners, alice) == ["one", "two"]
    assert listeners.remove(alice) == 2


# One's own


def echo(listeners: Listeners, sender: Any, text: str, gaps: int = 0) -> None:
    """Expect that what a member has published comes back."""
    listeners.echoes.append((said(text)[0], sender, gaps))


def test_a_sender_misses_its_own_messages_only() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice, bob)
    echo(listeners, alice, "a1")
    echo(listeners, bob, "b1")
    echo(listeners, alice, "a2")
    all_of_it = ["other", "a1", "b1", "more", "a2", "end"]
    assert come(listeners, *all_of_it) == [
        (
            all_of_it,
            0,
            [],
            {
                alice: (["other", "b1", "more", "end"], 2),
                bob: (["other", "a1", "more", "a2", "end"], 1),
            },
        )
    ]
    assert not listeners.echoes


def test_ones_own_is_missed_where_it_was_joined_with_others() -> None:
    alice = Socket()
    listeners, large = listening(alice), "x" * JOIN_AT_MOST
    echo(listeners, alice, "mine")
    listeners.wait(said(large), 0)
    assert come(listeners, "mine", "end") == [
        ([large], 0, [alice], {}),
        (["mine", "end"], 0, [], {alice: (["end"], 1)}),
    ]


def test_who_gets_something_ahead_misses_its_own() -> None:
    alice = Socket()
    listeners = listening(alice)
    echo(listeners, alice, "mine")
    listeners.wait(said("one", "mine"), 0)
    theirs, own = listeners.ahead(alice)
    assert ([texts_of(one) for one in theirs], own) == ([["one"]], 1)
    assert come(listeners, "end") == [(["one", "mine", "end"], 0, [], {alice: (["end"], 0)})]


def test_an_equal_message_of_somebody_else_after_ones_own_is_not_missed() -> None:
    alice = Socket()
    listeners = listening(alice)
    echo(listeners, alice, "same")
    served = come(listeners, "same", "same")
    assert served == [(["same", "same"], 0, [], {alice: (["same"], 1)})]


def test_who_has_left_meanwhile_is_no_exception() -> None:
    alice, bob = Socket(), Socket()
    listeners = listening(alice, bob)
    echo(listeners, alice, "mine")
    listeners.remove(alice)
    assert come(listeners, "mine") == [(["mine"], 0, [bob], {})]
    assert not listeners.echoes


def test_where_nobody_has_sent_anything_nobody_is_an_exception() -> None:
    alice = Socket()
    listeners = listening(alice)
    echo(listeners, alice, "not back yet")
    assert come(listeners, "one") == [(["one"], 0, [alice], {})]
    assert len(listeners.echoes) == 1


def test_a_gap_ends_the_expectations_from_before_it() -> None:
    alice = Socket()
    listeners = listening(alice)
    echo(listeners, alice, "lost", 0)
    echo(listeners, alice, "mine", 1)
    served = come(listeners, "lost", "mine", gaps=1)
    assert served == [(["lost", "mine"], 0, [], {alice: (["lost"], 1)})]
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
