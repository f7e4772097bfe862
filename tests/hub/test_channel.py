"""A channel's subscribers: which get a message, in which batch, and which do not want an echo."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.hub.channel import BATCH_SIZE, JOIN_AT_MOST, OVERHEAD, Channel
from wsredis.hub.encoding import Encoded
from wsredis.message import Message
from wsredis.protocol.frames import FRAME_ENCODINGS, FrameEncoding

NEWS = "ws:broadcast:news"


class Socket:
    """A stand-in for a subscriber, of which a channel needs only the encoding."""

    def __init__(self, window_bits: int = 0) -> None:
        self.encoding = FRAME_ENCODINGS[window_bits]
        self.got: list[str] = []
        self.sent = 0


def said(*texts: str) -> list[Message]:
    return [Message(NEWS, text.encode()) for text in texts]


def texts_of(encoded: Encoded) -> list[str]:
    return [message.payload.decode() for message in encoded.messages]


def serve(channel: Channel) -> Any:
    """Serve one batch: what it gets, its window, who gets it, and who gets what else."""
    chunk, encoding, sockets, exceptions = channel.serve()
    others = {
        who: ([texts_of(one)[0] for one in each], own) for who, (each, own) in exceptions.items()
    }
    assert isinstance(encoding, FrameEncoding)
    return texts_of(chunk), encoding.window_bits, list(sockets), others


def come(channel: Channel, *texts: str, gaps: int = 0) -> Any:
    """Let messages come and serve all with them; return what `serve` does for each batch."""
    channel.wait(said(*texts), gaps)
    served = []
    while channel.waiting:
        served.append(serve(channel))
    assert channel.size == 0
    return served


def join(channel: Channel, socket: Any) -> list[Encoded]:
    """Subscribe somebody at once; return where what comes meanwhile would have been put."""
    recent: list[Encoded] = []
    channel.prepare(socket, recent)
    channel.add(socket)
    return recent


def collected(recent: list[Encoded]) -> list[Message]:
    return [one.messages[0] for one in recent]


def channel_of(*sockets: Any) -> Channel:
    channel = Channel()
    for socket in sockets:
        join(channel, socket)
    return channel


# Coming and going


def test_everybody_who_is_there_gets_what_comes() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice)
    assert alice.sent == 0
    assert come(channel, "one") == [(["one"], 0, [alice], {})]
    join(channel, bob)
    assert bob.sent == -1  # what it gets is counted from there
    assert come(channel, "two", "three") == [(["two", "three"], 0, [alice, bob], {})]
    assert channel.remove(alice)
    assert alice.sent == 3
    assert come(channel, "four") == [(["four"], 0, [bob], {})]
    assert channel.remove(bob)
    assert bob.sent == 3
    assert not channel.members
    assert channel.is_empty


def test_a_channel_is_empty_only_where_nobody_is_about_to_come_either() -> None:
    channel, alice = Channel(), Socket()
    assert channel.is_empty
    channel.prepare(alice, [])
    assert not channel.is_empty
    channel.add(alice)
    assert not channel.is_empty
    assert channel.remove(alice)
    assert channel.is_empty


def test_who_was_never_there_can_not_leave() -> None:
    channel, alice = channel_of(Socket()), Socket()
    assert not channel.remove(alice)
    assert alice.sent == 0


def test_who_leaves_during_a_delivery_does_not_disturb_it() -> None:
    first, *others = [Socket() for _ in range(5)]
    channel = channel_of(first, *others)
    channel.wait(said("hello"), 0)
    _, _, sockets, _ = channel.serve()
    assert tuple(sockets) == (first, *others)  # they are written to before anybody can leave
    channel.remove(first)
    assert first.sent == 1
    assert come(channel, "again") == [(["again"], 0, others, {})]


def test_those_who_get_the_same_frames_stand_together() -> None:
    plain, packed, small = [Socket() for _ in range(3)], [Socket(15), Socket(15)], Socket(9)
    channel = channel_of(plain[0], packed[0], plain[1], small, packed[1], plain[2])
    assert come(channel, "hello") == [
        (["hello"], 0, plain, {}),
        (["hello"], 15, packed, {}),
        (["hello"], 9, [small], {}),
    ]


def test_no_batch_is_larger_than_its_size() -> None:
    sockets = [Socket() for _ in range(BATCH_SIZE * 2 + 1)]
    served = come(channel_of(*sockets), "hello")
    assert [len(batch[2]) for batch in served] == [BATCH_SIZE, BATCH_SIZE, 1]
    assert [socket for batch in served for socket in batch[2]] == sockets


def test_batches_that_have_thinned_out_are_joined() -> None:
    sockets = [Socket() for _ in range(BATCH_SIZE * 4)]
    channel = channel_of(*sockets)
    for socket in sockets[::2]:
        channel.remove(socket)
    come(channel, "hello")
    served = come(channel, "again")
    assert [len(batch[2]) for batch in served] == [BATCH_SIZE, BATCH_SIZE]
    assert [socket for batch in served for socket in batch[2]] == sockets[1::2]


def test_what_only_those_who_left_were_waiting_for_waits_no_longer() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice)
    channel.wait(said("one"), 0)
    join(channel, bob)
    channel.remove(alice)
    assert alice.sent == 0
    assert not channel.waiting
    assert channel.size == 0


# Joining


def test_what_comes_while_one_joins_is_collected_and_is_in_no_batch() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice)
    come(channel, "one")
    recent: list[Encoded] = []
    channel.prepare(bob, recent)
    assert come(channel, "two") == [(["two"], 0, [alice], {})]
    assert collected(recent) == said("two")
    channel.add(bob)
    assert come(channel, "three") == [(["three"], 0, [alice, bob], {})]
    assert collected(recent) == said("two")
    assert not channel.joining
    assert (alice.sent, bob.sent) == (0, -2)


def test_what_waited_before_one_came_is_not_for_it() -> None:
    alice, bob, recent = Socket(), Socket(), list[Encoded]()
    channel = channel_of(alice)
    channel.wait(said("one"), 0)
    channel.prepare(bob, recent)
    channel.wait(said("two"), 0)
    channel.add(bob)
    assert bob.sent == -2
    assert come(channel, "three") == [
        (["one", "two", "three"], 0, [alice], {}),
        (["three"], 0, [bob], {}),
    ]
    assert collected(recent) == said("two")
    assert come(channel, "four") == [(["four"], 0, [alice, bob], {})]


def test_who_leaves_before_the_first_message_got_none() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice)
    channel.wait(said("one"), 0)
    recent = join(channel, bob)
    assert bob.sent == -1
    channel.remove(bob)
    assert bob.sent == 0
    assert come(channel, "two") == [(["one", "two"], 0, [alice], {})]
    assert not recent


def test_who_leaves_while_it_joins_is_not_added_any_more() -> None:
    channel, alice, recent = Channel(), Socket(), list[Encoded]()
    channel.prepare(alice, recent)
    assert channel.remove(alice)
    channel.add(alice)
    assert come(channel, "one") == []
    assert channel.is_empty
    assert (recent, alice.sent) == ([], 0)


def test_what_comes_where_all_are_joining_waits_for_nobody() -> None:
    channel, recent = Channel(), list[Encoded]()
    alice, bob = Socket(), Socket()
    for socket in (alice, bob):
        channel.prepare(socket, recent)
    channel.wait(said("one"), 0)
    assert not channel.waiting
    assert channel.size == 0
    assert collected(recent) == said("one", "one")
    channel.add(alice)
    assert come(channel, "two") == [(["two"], 0, [alice], {})]
    channel.remove(alice)
    assert alice.sent == 1


def test_ones_own_is_not_collected_while_one_joins() -> None:
    alice, bob, carol = Socket(), Socket(), Socket()
    of_alice, of_bob = list[Encoded](), list[Encoded]()
    channel = channel_of(carol)
    channel.prepare(alice, of_alice)
    channel.prepare(bob, of_bob)
    echo(channel, alice, "same")
    assert come(channel, "one", "same", "same") == [(["one", "same", "same"], 0, [carol], {})]
    assert collected(of_alice) == said("one", "same")
    assert collected(of_bob) == said("one", "same", "same")
    assert not channel.echoes
    assert not channel._own


def test_ones_own_that_comes_back_where_all_are_joining_is_forgotten() -> None:
    channel, alice, recent = Channel(), Socket(), list[Encoded]()
    channel.prepare(alice, recent)
    echo(channel, alice, "mine")
    channel.wait(said("mine"), 0)
    assert not recent
    assert not channel._own
    channel.add(alice)
    assert come(channel, "mine") == [(["mine"], 0, [alice], {})]


# Travelling together


def test_what_comes_while_others_are_on_their_way_travels_with_them() -> None:
    batches = [[Socket() for _ in range(BATCH_SIZE)] for _ in range(3)]
    channel = channel_of(*batches[0], *batches[1], *batches[2])
    channel.wait(said("one"), 0)
    assert serve(channel) == (["one"], 0, batches[0], {})
    channel.wait(said("two"), 0)
    assert serve(channel) == (["one", "two"], 0, batches[1], {})
    channel.wait(said("three"), 0)
    assert come(channel, "four") == [
        (["one", "two", "three", "four"], 0, batches[2], {}),
        (["two", "three", "four"], 0, batches[0], {}),
        (["three", "four"], 0, batches[1], {}),
    ]


def test_a_message_is_encoded_once_wherever_others_join_it() -> None:
    encoded: list[bytes] = []

    class Noting(FrameEncoding):
        def encode(self, message: Message) -> bytes:
            encoded.append(message.payload)
            return super().encode(message)

    sockets, noting = [Socket() for _ in range(BATCH_SIZE * 4)], Noting(15)
    for socket in sockets:
        socket.encoding = noting
    channel = channel_of(*sockets)
    for text in ("one", "two", "three"):
        channel.wait(said(text), 0)
        chunk, encoding, _, _ = channel.serve()
        assert chunk[encoding]
    while channel.waiting:
        chunk, encoding, _, _ = channel.serve()
        assert chunk[encoding]
    assert encoded == [b"one", b"two", b"three"]


def test_batches_that_get_the_same_get_one_chunk() -> None:
    channel = channel_of(*(Socket() for _ in range(BATCH_SIZE * 2)))
    channel.wait(said("one", "two"), 0)
    assert channel.serve()[0] is channel.serve()[0]


def test_the_size_is_that_of_what_waits() -> None:
    channel = channel_of(Socket())
    assert channel.size == 0
    large = "x" * (JOIN_AT_MOST + 1)
    channel.wait(said(large), 0)
    assert channel.size == JOIN_AT_MOST + 1 + OVERHEAD
    channel.wait(said("12345", "678"), 0)
    assert channel.size == JOIN_AT_MOST + 9 + 3 * OVERHEAD
    assert serve(channel)[0] == [large]
    assert channel.size == 8 + 2 * OVERHEAD
    assert serve(channel)[0] == ["12345", "678"]
    assert channel.size == 0


def test_what_waits_is_joined_up_to_a_size() -> None:
    alice = Socket()
    channel = channel_of(alice)
    half = "x" * (JOIN_AT_MOST // 2)
    for text in ("", half, half, "end"):
        channel.wait(said(text), 0)
    assert [serve(channel)[0] for _ in range(2)] == [["", half, half], ["end"]]
    channel.remove(alice)
    assert alice.sent == 4


def test_a_single_message_may_be_larger() -> None:
    channel, large = channel_of(Socket()), "x" * (JOIN_AT_MOST + 1)
    served = [batch[0] for batch in come(channel, "a", large, large, "z")]
    assert served == [["a"], [large], [large], ["z"]]


# Ahead of a batch


def take_backlog(channel: Channel, who: Any) -> list[str]:
    others, own_skipped = channel.take_backlog(who)
    assert own_skipped == 0
    return [texts_of(one)[0] for one in others]


def test_who_has_had_what_waits_gets_only_the_rest() -> None:
    alice, bob, carol = Socket(), Socket(), Socket()
    channel = channel_of(alice, bob)
    channel.wait(said("one", "two"), 0)
    assert take_backlog(channel, alice) == ["one", "two"]
    assert take_backlog(channel, alice) == []
    assert take_backlog(channel, carol) == []
    assert come(channel, "three") == [(["one", "two", "three"], 0, [bob], {alice: (["three"], 0)})]
    assert come(channel, "four") == [(["four"], 0, [alice, bob], {})]


def test_who_has_had_more_than_its_batch_takes_gets_nothing_twice() -> None:
    alice, bob = Socket(), Socket()
    channel, large = channel_of(alice, bob), "x" * JOIN_AT_MOST
    channel.wait(said(large, large), 0)
    assert take_backlog(channel, alice) == [large, large]
    assert come(channel, "end") == [
        ([large], 0, [bob], {alice: ([], 0)}),
        ([large], 0, [bob], {alice: ([], 0)}),
        (["end"], 0, [alice, bob], {}),
    ]


def test_who_was_given_something_and_leaves_had_it() -> None:
    alice = Socket()
    channel = channel_of(alice)
    channel.wait(said("one", "two"), 0)
    assert take_backlog(channel, alice) == ["one", "two"]
    channel.remove(alice)
    assert alice.sent == 2


def test_who_is_joining_has_no_backlog() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice)
    channel.prepare(bob, [])
    channel.wait(said("one"), 0)
    assert take_backlog(channel, bob) == []
    channel.add(bob)
    assert take_backlog(channel, bob) == []


# One's own


def echo(channel: Channel, sender: Any, text: str, gaps: int = 0) -> None:
    """Expect that what a member has published comes back."""
    channel.echoes.append((said(text)[0], sender, gaps))


def test_a_sender_misses_its_own_messages_only() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice, bob)
    echo(channel, alice, "a1")
    echo(channel, bob, "b1")
    echo(channel, alice, "a2")
    all_of_it = ["other", "a1", "b1", "more", "a2", "end"]
    assert come(channel, *all_of_it) == [
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
    assert not channel.echoes


def test_ones_own_is_missed_where_it_was_joined_with_others() -> None:
    alice = Socket()
    channel, large = channel_of(alice), "x" * JOIN_AT_MOST
    echo(channel, alice, "mine")
    channel.wait(said(large), 0)
    assert come(channel, "mine", "end") == [
        ([large], 0, [alice], {}),
        (["mine", "end"], 0, [], {alice: (["end"], 1)}),
    ]


def test_who_gets_something_ahead_misses_its_own() -> None:
    alice = Socket()
    channel = channel_of(alice)
    echo(channel, alice, "mine")
    channel.wait(said("one", "mine"), 0)
    others, own_skipped = channel.take_backlog(alice)
    assert ([texts_of(one) for one in others], own_skipped) == ([["one"]], 1)
    assert come(channel, "end") == [(["one", "mine", "end"], 0, [], {alice: (["end"], 0)})]


def test_an_equal_message_of_somebody_else_after_ones_own_is_not_missed() -> None:
    alice = Socket()
    channel = channel_of(alice)
    echo(channel, alice, "same")
    served = come(channel, "same", "same")
    assert served == [(["same", "same"], 0, [], {alice: (["same"], 1)})]


def test_who_has_left_meanwhile_is_no_exception() -> None:
    alice, bob = Socket(), Socket()
    channel = channel_of(alice, bob)
    echo(channel, alice, "mine")
    channel.remove(alice)
    assert come(channel, "mine") == [(["mine"], 0, [bob], {})]
    assert not channel.echoes


def test_where_nobody_has_sent_anything_nobody_is_an_exception() -> None:
    alice = Socket()
    channel = channel_of(alice)
    echo(channel, alice, "not back yet")
    assert come(channel, "one") == [(["one"], 0, [alice], {})]
    assert len(channel.echoes) == 1


def test_a_gap_ends_the_expectations_from_before_it() -> None:
    alice = Socket()
    channel = channel_of(alice)
    echo(channel, alice, "lost", 0)
    echo(channel, alice, "mine", 1)
    served = come(channel, "lost", "mine", gaps=1)
    assert served == [(["lost", "mine"], 0, [], {alice: (["lost"], 1)})]
    assert not channel.echoes


@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_could_not_be_published_is_expected_no_longer(position: int) -> None:
    channel, alice = Channel(), Socket()
    for text in ("one", "two", "three"):
        echo(channel, alice, text)
    channel.lost(said("one", "two", "three")[position], alice)
    left = [message for message, _, _ in channel.echoes]
    assert len(left) == 2
    assert said("one", "two", "three")[position] not in left


def test_the_loss_of_what_nobody_expects_changes_nothing() -> None:
    channel, (alice, bob) = Channel(), (Socket(), Socket())
    echo(channel, alice, "mine")
    channel.lost(said("mine")[0], bob)
    channel.lost(said("else")[0], alice)
    assert len(channel.echoes) == 1
