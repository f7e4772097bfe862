"""A channel's subscribers that come, go and publish randomly: each gets all messages in order."""

from __future__ import annotations

import random

import pytest

from wsredis.hub import channel as module
from wsredis.hub.channel import Channel
from wsredis.hub.encoding import Encoded

from .test_channel import Socket, echo, said, serve, texts_of


class Crowd:
    """Random actions on a channel, and the messages that each socket should have received."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.channel = Channel()
        self.expected: dict[Socket, list[str]] = {}
        self.joining: dict[Socket, list[Encoded]] = {}
        self.number = 0

    def come(self) -> None:
        socket = Socket(self.chance.choice([0, 0, 0, 15, 9]))
        self.expected[socket] = []
        self.joining[socket] = []
        self.channel.prepare(socket, self.joining[socket])
        if self.chance.random() < 0.7:
            self.add(socket)

    def arrive(self) -> None:
        if self.joining:
            self.add(self.chance.choice(list(self.joining)))

    def add(self, socket: Socket) -> None:
        recent = self.joining.pop(socket)
        self.channel.add(socket)
        socket.got += [text for one in recent for text in texts_of(one)]
        socket.sent += len(recent)
        assert socket.got == self.expected[socket]

    def go(self) -> None:
        if self.expected:
            socket = self.chance.choice(list(self.expected))
            self.channel.remove(socket)
            assert socket.sent == len(socket.got)
            due = self.expected.pop(socket)
            assert due[: len(socket.got)] == socket.got
            if socket in self.joining:
                recent = self.joining.pop(socket)
                assert [text for one in recent for text in texts_of(one)] == due

    def say(self) -> None:
        texts = [f"{self.number + more}" for more in range(self.chance.randint(1, 4))]
        self.number += len(texts)
        senders = [self.chance.choice([*self.expected, *[None] * 20]) for _ in texts]
        for text, sender in zip(texts, senders, strict=True):
            if sender is not None:
                echo(self.channel, sender, text)
            for socket, due in self.expected.items():
                if socket is not sender:
                    due.append(text)
        if self.expected:
            self.channel.wait(said(*texts), 0)

    def send_backlog(self) -> None:
        there = [socket for socket in self.expected if socket not in self.joining]
        if there:
            socket = self.chance.choice(there)
            others, own_skipped = self.channel.take_backlog(socket)
            socket.got += [texts_of(one)[0] for one in others]
            socket.sent -= own_skipped
            assert socket.got == self.expected[socket]

    def serve(self) -> None:
        if self.channel.waiting:
            texts, bits, sockets, exceptions = serve(self.channel)
            assert len(sockets) + len(exceptions) <= module.BATCH_SIZE
            served = (*sockets, *exceptions)
            assert {socket.encoding.window_bits for socket in served} == {bits}
            for socket in sockets:
                socket.got += texts
            for socket, (others, own_skipped) in exceptions.items():
                socket.got += others
                socket.sent -= own_skipped


@pytest.mark.parametrize("seed", range(40))
def test_each_gets_all_in_order_whatever_happens(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 5)
    monkeypatch.setattr(module, "JOIN_AT_MOST", 12)
    crowd = Crowd(seed)
    steps = [crowd.come] * 4 + [crowd.arrive] * 2 + [crowd.go] * 3 + [crowd.say] * 3
    steps += [crowd.send_backlog] + [crowd.serve] * 8
    for _ in range(600):
        crowd.chance.choice(steps)()
    for socket in list(crowd.joining):
        crowd.add(socket)
    while crowd.channel.waiting:
        crowd.serve()
    assert all(socket.got == due for socket, due in crowd.expected.items())
    channel = crowd.channel
    left = (channel.size, channel._own, channel._cursors, channel._chunk, channel.joining)
    assert left == (0, {}, {}, None, {})
    batches = channel._batches
    assert {socket: batch for batch in batches for socket in batch.subscribers} == channel.members
    assert all(batch.subscribers and batch.cursor == channel.tail for batch in batches)
